#include <berth/server/auth/audit.h>

#include <berth/core/json_writer.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {

constexpr unsigned kOwnerOnly = 0600;
/// Longer ids are not ours; an attacker shall not fill the file with one.
constexpr std::size_t kArgumentMax = 128;

std::string aside(const std::string& path, std::size_t number) {
  return path + "." + std::to_string(number);
}

Result<std::uint64_t> size_of(io::Files& files, const std::string& path) {
  const std::size_t slash = path.rfind('/');
  Result<std::vector<io::FolderEntry>> entries = files.list(path.substr(0, slash));
  if (!entries.has_value()) return fail(std::move(entries.error()));
  for (const io::FolderEntry& entry : *entries) {
    if (entry.name == path.substr(slash + 1)) return entry.bytes;
  }
  return std::uint64_t{0};
}

/// audit.jsonl to audit.jsonl.1, .1 to .2 and so on; the last one goes.
Result<void> put_aside(io::Files& files, const std::string& path, std::size_t files_max) {
  for (std::size_t number = files_max; number-- > 1;) {
    const std::string from = number == 1 ? path : aside(path, number - 1);
    if (!files.exists(from)) continue;
    if (Result<void> moved = files.rename(from, aside(path, number)); !moved) return moved;
  }
  return files.remove_if_exists(path);  // only when it is the only one
}

/// Bytes of whole lines that the file has room for; an empty one has for any one line.
std::size_t fitting(std::string_view lines, std::uint64_t size, std::size_t bytes_max) {
  const std::size_t room = size < bytes_max ? bytes_max - size : 0;
  if (lines.size() <= room) return lines.size();
  const std::size_t end = room == 0 ? std::string_view::npos : lines.rfind('\n', room - 1);
  if (end != std::string_view::npos) return end + 1;
  return size == 0 ? lines.find('\n') + 1 : 0;
}

/// The file's size then; `known` is its size now, if that is known.
Result<std::uint64_t> write_lines(io::Files& files, const std::string& path,
                                  const std::string& lines, const AuditLimits& limits,
                                  std::optional<std::uint64_t> known) {
  Result<std::uint64_t> size = known ? Result<std::uint64_t>(*known) : size_of(files, path);
  if (!size.has_value()) return size;
  Result<void> done;
  for (std::string_view rest = lines; done.has_value() && !rest.empty();) {
    const std::size_t cut = fitting(rest, *size, limits.audit_bytes_max);
    if (cut == 0) {
      done = put_aside(files, path, limits.audit_files_max);
      *size = 0;
      continue;
    }
    done = files.append(path, rest.substr(0, cut), kOwnerOnly);
    *size += cut;
    rest.remove_prefix(cut);
  }
  if (!done.has_value()) return fail(std::move(done.error()));
  return size;
}

}  // namespace

std::string audit_line(const AuditEntry& entry, WallTime now) {
  std::string time;
  append_rfc3339(time, now);
  std::string line;
  JsonWriter writer(line);
  writer.begin_object().member("time", time);
  if (entry.caller != nullptr && !entry.caller->token_id.empty()) {
    writer.member("token", entry.caller->token_id)
        .member("name", entry.caller->name)
        .member("project", entry.caller->project);
  }
  writer.member("peer", entry.peer).member("method", entry.method);
  if (!entry.route.empty()) writer.member("route", entry.route);
  if (entry.arguments != nullptr && !entry.arguments->empty()) {
    writer.key("arguments").begin_array();
    for (const std::string& argument : *entry.arguments) {
      writer.string(std::string_view(argument).substr(0, kArgumentMax));
    }
    writer.end_array();
  }
  writer.member_int64("status", entry.status);
  if (!entry.code.empty()) writer.member("code", entry.code);
  if (!entry.trace_id.empty()) writer.member("trace_id", entry.trace_id);
  writer.end_object();
  line += '\n';
  return line;
}

void Audit::add(const AuditEntry& entry) {
  std::string line = audit_line(entry, platform_.reactor().clock().wall());
  if (pending_.size() + line.size() > limits_.audit_pending_max) {
    ++stats_.dropped;
    return;
  }
  pending_ += line;
  ++pending_lines_;
  wake_.set();
}

Task<void> Audit::run(StopToken stop) {
  while (co_await wake_.wait(stop)) {
    wake_.reset();
    co_await write_pending();
  }
}

Task<void> Audit::flush() {
  if (!pending_.empty()) co_await write_pending();
}

Task<void> Audit::write_pending() {
  const std::string lines = std::exchange(pending_, {});
  const std::uint64_t count = std::exchange(pending_lines_, 0);
  // Whoever writes meanwhile looks for itself, and so does everybody after a failure.
  const std::optional<std::uint64_t> known = std::exchange(size_, std::nullopt);
  io::Files* const files = &platform_.files();
  const Result<std::uint64_t> done = co_await platform_.offload().run(
      io::Lane::files, platform_.reactor(), [files, &lines, path = path_, limits = limits_, known] {
        return write_lines(*files, path, lines, limits, known);
      });
  if (done.has_value()) size_ = *done;
  (done.has_value() ? stats_.written : stats_.dropped) += count;
  if (!done.has_value() && !failing_) {
    log_.write(LogLevel::error, "audit", "lines are lost: " + done.error().message);
  }
  failing_ = !done.has_value();
}

}  // namespace berth::server
