// server/auth/tokens.h — the tokens that are in the store, and who holds one.
#pragma once

#include <berth/core/stop.h>
#include <berth/server/auth/caller.h>
#include <berth/server/sessions/context.h>
#include <berth/server/store/records.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace berth::server {

struct TokenRequest {
  std::string name;
  std::string project = kDefaultProject;  ///< Of no meaning with admin, which has all.
  AuthScopes scopes;
  Duration lifetime{};  ///< Zero: until it is revoked.
};

/// Knows all tokens of the store; what changes is in the journal, which the caller awaits.
/// Single-threaded. `context` outlives it.
class Tokens {
 public:
  Tokens(SessionContext& context, std::size_t tokens_max)
      : context_(context), tokens_max_(tokens_max) {}

  /// Before anything is served.
  Task<Result<void>> load();

  struct Made {
    TokenRow row;
    std::string text;  ///< What its holder sends; nobody can tell it again.
  };
  /// Error `overloaded` ("overloaded") naming tokens_max; one that ended makes room.
  Result<Made> create(const TokenRequest& request);
  /// Ends it, and what runs by it; once more is fine. Error `not_found` ("token_not_found").
  Result<void> revoke(const std::string& id);

  /// Who holds this token, or nothing for one that is wrong, expired or revoked. Notes its use.
  std::optional<Caller> find(std::string_view text);
  /// Whether the token of that id may still be used; of the file's always.
  bool good(std::string_view id) const;
  /// Stops when the token of that id ends; never for others. To be listened to at once: it is not
  /// valid for longer than the token is known.
  StopToken ended(std::string_view id);
  /// Stops what runs by tokens that have expired; for every few seconds.
  void end_expired();

  /// By id, which is by time of making.
  template <typename Fn>
  void for_each(Fn fn) const {
    for (const auto& [id, entry] : entries_) fn(entry.row);
  }

 private:
  struct Entry {
    TokenRow row;
    AuthScopes scopes;
    std::unique_ptr<StopSource> uses = std::make_unique<StopSource>();
  };
  bool good(const TokenRow& row) const;
  bool make_room();

  SessionContext& context_;
  std::size_t tokens_max_;
  std::map<std::string, Entry, std::less<>> entries_;
};

/// "sessions:view sessions:run" and back; unknown words are left out.
std::string write_scopes(AuthScopes scopes);
AuthScopes read_scopes(std::string_view text);

}  // namespace berth::server
