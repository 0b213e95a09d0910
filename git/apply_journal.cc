#include <berth/core/text.h>
#include <berth/git/apply_journal.h>
#include <berth/git/files.h>
#include <berth/git/names.h>

#include <array>
#include <string_view>
#include <utility>

namespace berth::git::detail {
namespace {

constexpr std::string_view kFirstLine = "berth apply 1";

using Member = std::string ApplyJournal::*;
constexpr std::array<std::pair<std::string_view, Member>, 6> kFields = {{
    {"checkout", &ApplyJournal::checkout},
    {"from", &ApplyJournal::from},
    {"to", &ApplyJournal::to},
    {"branch", &ApplyJournal::branch_ref},
    {"old", &ApplyJournal::old_commit},
    {"new", &ApplyJournal::new_commit},
}};

}  // namespace

Result<void> write_journal(const std::string& path, const ApplyJournal& journal) {
  if (path.empty()) return {};
  std::string text(kFirstLine);
  for (const auto& [name, member] : kFields) {
    // A line break in a folder's name would end the field.
    if ((journal.*member).find('\n') != std::string::npos) {
      return fail(ErrorKind::invalid, "bad_path", "a line break in '" + journal.*member + "'");
    }
    text.append("\n").append(name).append(" ").append(journal.*member);
  }
  return write_file(path, text + "\nend\n");
}

Result<ApplyJournal> read_journal(const std::string& path) {
  Result<std::string> text = read_line_file(path);
  if (!text) return fail(std::move(text).error());
  std::string_view rest = *text;
  const auto bad = [&path] {
    return fail(ErrorKind::invalid, "bad_journal", path + ": is no journal of an apply");
  };
  if (take_line(rest) != kFirstLine) return bad();
  ApplyJournal journal;
  for (const auto& [name, member] : kFields) {
    const std::string_view line = take_line(rest);
    if (!line.starts_with(name) || line.substr(name.size(), 1) != " ") return bad();
    journal.*member = line.substr(name.size() + 1);
  }
  if (take_line(rest) != "end" || !is_object_id(journal.from) || !is_object_id(journal.to)) {
    return bad();
  }
  return journal;
}

}  // namespace berth::git::detail
