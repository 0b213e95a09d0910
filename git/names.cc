#include <berth/git/names.h>

#include <algorithm>

namespace berth::git {
namespace {

bool is_lower_or_digit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
}

std::string joined(std::string_view prefix, std::string_view key, std::string_view name) {
  std::string out(prefix);
  out.append(key).append("/").append(name);
  return out;
}

}  // namespace

bool is_key(std::string_view text) {
  return text.size() == 26 && std::all_of(text.begin(), text.end(), is_lower_or_digit);
}

bool is_ref_name(std::string_view text) {
  return !text.empty() && text.size() <= 64 && text != "base" && text.front() != '-' &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return is_lower_or_digit(c) || c == '-'; });
}

bool is_object_id(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string branch_of(std::string_view key) {
  return "berth/" + std::string(key);
}
std::string branch_ref_of(std::string_view key) {
  return "refs/heads/berth/" + std::string(key);
}
std::string base_ref_of(std::string_view key) {
  return joined("refs/berth/s/", key, "base");
}
std::string snapshot_ref_of(std::string_view key, std::string_view name) {
  return joined("refs/berth/s/", key, name);
}
std::string salvage_ref_of(std::string_view key, std::string_view name) {
  return joined("refs/berth/x/", key, name);
}

Result<void> check_key(std::string_view key) {
  if (is_key(key)) return {};
  return fail(ErrorKind::invalid, "bad_key", "key: not 26 characters of [0-9a-z]");
}

}  // namespace berth::git
