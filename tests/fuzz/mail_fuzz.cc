// Whatever words and names it is made of, a mail has berth's headers and no others, and `git am`
// finds in it the patch of the change and no other. Read here as git's mailsplit and mailinfo do.
#include <berth/git/mail.h>

#include <cctype>
#include <string>
#include <vector>

#include "fuzz.h"

namespace {

using namespace berth;

constexpr std::string_view kPatch =
    "diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-one\n+two\n";
constexpr std::string_view kEnd = "-- \nberth\n\n";

/// Up to the next empty byte.
std::string next_part(std::string_view& rest) {
  const std::string_view part = rest.substr(0, rest.find('\0'));
  rest.remove_prefix(std::min(rest.size(), part.size() + 1));
  return std::string(part);
}

/// mailsplit also takes "\r" off the end of a line.
std::string_view next_line(std::string_view& rest) {
  std::string_view line = rest.substr(0, rest.find('\n'));
  FUZZ_CHECK(line.size() < rest.size());
  rest.remove_prefix(line.size() + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

bool is_space(std::string_view text, std::size_t at) {
  return at >= text.size() || std::isspace(static_cast<unsigned char>(text[at])) != 0;
}

bool starts_without_case(std::string_view line, std::string_view name) {
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (i == line.size() || std::tolower(static_cast<unsigned char>(line[i])) != name[i])
      return false;
  }
  return true;
}

/// git's mailinfo.c, patchbreak().
bool breaks(std::string_view line) {
  if (line.starts_with("diff -") || line.starts_with("Index: ")) return true;
  if (!line.starts_with("---")) return false;
  if (line.size() > 4 && line[3] == ' ' && !is_space(line, 4)) return true;
  for (std::size_t i = 3; i < line.size(); ++i) {
    if (!is_space(line, i)) return false;
  }
  return true;
}

/// git's mailinfo.c, check_inbody_header().
bool is_header(std::string_view line) {
  for (const std::string_view name : {"from:", "date:", "subject:"}) {
    if (starts_without_case(line, name) && is_space(line, name.size())) return true;
  }
  return (line.starts_with(">From") && is_space(line, 5)) ||
         (line.starts_with("[PATCH]") && is_space(line, 7));
}

void check_headers(std::string_view& rest) {
  FUZZ_CHECK(next_line(rest).starts_with("From 0000"));
  for (const std::string_view name : {"From: ", "Date: ", "Subject: [PATCH] ", "MIME-Version: ",
                                      "Content-Type: ", "Content-Transfer-Encoding: "}) {
    const std::string_view line = next_line(rest);
    FUZZ_CHECK(line.starts_with(name));
    FUZZ_CHECK(name != "From: " || rest.starts_with(' ') || line.ends_with('>'));
    while (rest.starts_with(' ')) FUZZ_CHECK(next_line(rest).size() <= 998);
  }
  FUZZ_CHECK(next_line(rest).empty());
}

void check_mail(std::string_view rest, const git::Change& change, const git::CommitText& text) {
  check_headers(rest);
  std::vector<std::string_view> body;
  while (true) {
    const std::string_view line = next_line(rest);
    if (breaks(line)) break;
    FUZZ_CHECK(!line.starts_with("From "));
    if (body.empty() && line.empty()) continue;
    if (body.empty()) FUZZ_CHECK(!is_header(line));
    body.push_back(line);
  }
  FUZZ_CHECK(body.size() >= text.trailers.size());
  for (const git::FileChange& file : change.files) {
    FUZZ_CHECK(rest.starts_with(' '));
    FUZZ_CHECK(next_line(rest).ends_with(" | +" + std::to_string(file.additions) + " -0"));
  }
  FUZZ_CHECK(next_line(rest).empty());
  FUZZ_CHECK(rest == std::string(kPatch).append(kEnd));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const std::uint8_t flags = input.byte();
  std::string_view rest = input.rest();
  git::CommitText text;
  text.time_s = 1'700'000'000 + flags;
  text.author_name = next_part(rest);
  text.author_email = next_part(rest);
  text.message = next_part(rest);
  git::Change change;
  change.files.push_back({.path = next_part(rest), .additions = 7});
  if ((flags & 1) != 0) change.files.push_back({.path = next_part(rest)});
  change.files.back().patch = kPatch;
  if ((flags & 2) != 0) text.trailers.emplace_back("Session", next_part(rest));
  if ((flags & 4) != 0) text.trailers.emplace_back("From", next_part(rest));
  check_mail(git::as_mail(text, change), change, text);
  return 0;
}
