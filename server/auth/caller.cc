#include <berth/server/auth/caller.h>

#include <algorithm>

namespace berth::server {

namespace {

constexpr std::size_t kProjectNameMax = 64;

}  // namespace

std::string_view to_string(AuthScope scope) {
  switch (scope) {
    case AuthScope::none:
      return "none";
    case AuthScope::sessions_view:
      return "sessions:view";
    case AuthScope::sessions_edit:
      return "sessions:edit";
    case AuthScope::sessions_run:
      return "sessions:run";
    case AuthScope::admin:
      return "admin";
  }
  return "none";
}

std::optional<AuthScope> parse_auth_scope(std::string_view name) {
  for (const AuthScope scope : {AuthScope::sessions_view, AuthScope::sessions_edit,
                                AuthScope::sessions_run, AuthScope::admin}) {
    if (name == to_string(scope)) return scope;
  }
  return std::nullopt;
}

bool is_project_name(std::string_view name) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !name.empty() && name.size() <= kProjectNameMax && plain(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [&plain](char c) { return plain(c) || c == '.' || c == '_' || c == '-'; });
}

}  // namespace berth::server
