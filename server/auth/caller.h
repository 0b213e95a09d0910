// server/auth/caller.h — who asks, and what he may do: scopes, and which of them a route needs.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace berth::server {

/// What a route needs of its caller. docs/security.md has the table and why each route is where it
/// is; the names are those of the API.
enum class AuthScope : std::uint8_t {
  none,           ///< For everybody, without a token.
  sessions_view,  ///< Reads; changes nothing.
  sessions_edit,  ///< Changes what is there (titles, ends, files, changes); makes no agent work.
  sessions_run,   ///< Makes agents work or lets them go on: as good as a shell in the session.
  admin,          ///< The server itself, in every project.
};

std::string_view to_string(AuthScope scope);
/// "sessions:view" and so on; nothing for what is no scope that a token can have.
std::optional<AuthScope> parse_auth_scope(std::string_view name);

/// The scopes of a token. `admin` implies all; edit and run imply view, but neither the other.
class AuthScopes {
 public:
  constexpr AuthScopes() = default;
  constexpr AuthScopes(std::initializer_list<AuthScope> scopes) {
    for (const AuthScope scope : scopes) add(scope);
  }
  constexpr void add(AuthScope scope) { bits_ |= bit(scope); }
  /// As it was given: without what is implied.
  constexpr bool has(AuthScope scope) const { return (bits_ & bit(scope)) != 0; }
  constexpr bool allow(AuthScope wanted) const {
    if (wanted == AuthScope::none || has(AuthScope::admin)) return true;
    if (wanted == AuthScope::admin) return false;
    if (has(wanted)) return true;
    return wanted == AuthScope::sessions_view &&
           (has(AuthScope::sessions_edit) || has(AuthScope::sessions_run));
  }
  friend constexpr bool operator==(AuthScopes, AuthScopes) = default;

 private:
  static constexpr std::uint8_t bit(AuthScope scope) {
    return static_cast<std::uint8_t>(1U << static_cast<unsigned>(scope));
  }
  std::uint8_t bits_ = 0;
};

/// The project of who names none.
inline constexpr const char* kDefaultProject = "default";

/// True for [a-z0-9][a-z0-9._-]{0,63}.
bool is_project_name(std::string_view name);

/// The token in the state folder, in place of an id.
inline constexpr const char* kFileToken = "file";

struct Caller {
  std::string token_id;                   ///< Empty for nobody.
  std::string name;                       ///< The token's, for people.
  std::string project = kDefaultProject;  ///< All that the request sees is in it.
  bool every_project = false;             ///< He may name another one.
  AuthScopes scopes;
};

}  // namespace berth::server
