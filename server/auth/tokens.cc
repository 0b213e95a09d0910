#include <berth/server/auth/tokens.h>

#include <berth/server/auth/secret.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {

/// How coarse the time of the last use is: a commit for each request would be too much.
constexpr std::int64_t kUseStepMs = 10 * 60 * 1000;

constexpr AuthScope kScopes[] = {AuthScope::sessions_view, AuthScope::sessions_edit,
                                 AuthScope::sessions_run, AuthScope::admin};

}  // namespace

std::string write_scopes(AuthScopes scopes) {
  std::string text;
  for (const AuthScope scope : kScopes) {
    if (!scopes.has(scope)) continue;
    if (!text.empty()) text += ' ';
    text += to_string(scope);
  }
  return text;
}

AuthScopes read_scopes(std::string_view text) {
  AuthScopes scopes;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (const auto scope = parse_auth_scope(word)) scopes.add(*scope);
  }
  return scopes;
}

Task<Result<void>> Tokens::load() {
  Result<std::vector<TokenRow>> rows =
      co_await context_.read([](Store& store) { return store.list_tokens(); });
  if (!rows.has_value()) co_return fail(std::move(rows.error()));
  for (TokenRow& row : *rows) {
    Entry& entry = entries_[row.id];
    entry.scopes = read_scopes(row.scopes);
    entry.row = std::move(row);
  }
  co_return Result<void>();
}

bool Tokens::good(const TokenRow& row) const {
  return row.revoked_ms == 0 && (row.expires_ms == 0 || context_.now_ms() < row.expires_ms);
}

bool Tokens::good(std::string_view id) const {
  if (id == kFileToken) return true;
  const auto found = entries_.find(id);
  return found != entries_.end() && good(found->second.row);
}

/// The oldest that ended goes.
bool Tokens::make_room() {
  if (entries_.size() < tokens_max_) return true;
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (good(entry->second.row)) continue;
    entry->second.uses->request_stop();
    context_.journal.add(TokenErasure{entry->first});
    entries_.erase(entry);
    return true;
  }
  return false;
}

Result<Tokens::Made> Tokens::create(const TokenRequest& request) {
  if (!make_room()) {
    return fail(ErrorKind::overloaded, "overloaded",
                "tokens_max: there are " + std::to_string(tokens_max_) + " tokens already");
  }
  const std::string secret = make_secret(context_.platform.random());
  Entry entry;
  TokenRow& row = entry.row;
  row.id = make_ulid(context_.now_ms(), context_.platform.random());
  row.name = request.name;
  row.project = request.scopes.has(AuthScope::admin) ? std::string() : request.project;
  row.scopes = write_scopes(request.scopes);
  row.hash = sha256_hex(secret);
  row.created_ms = context_.now_ms();
  if (request.lifetime > Duration::zero()) {
    row.expires_ms =
        row.created_ms +
        std::chrono::duration_cast<std::chrono::milliseconds>(request.lifetime).count();
  }
  entry.scopes = request.scopes;
  context_.journal.add(row);
  Made made = {row, write_token(row.id, secret)};
  entries_.insert_or_assign(made.row.id, std::move(entry));
  return made;
}

Result<void> Tokens::revoke(const std::string& id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) {
    return fail(ErrorKind::not_found, "token_not_found", "no token of that id");
  }
  Entry& entry = found->second;
  if (entry.row.revoked_ms == 0) {
    entry.row.revoked_ms = context_.now_ms();
    context_.journal.add(entry.row);
  }
  entry.uses->request_stop();
  return {};
}

std::optional<Caller> Tokens::find(std::string_view text) {
  const auto parts = parse_token(text);
  if (!parts.has_value()) return std::nullopt;
  const auto found = entries_.find(parts->id);
  if (found == entries_.end()) return std::nullopt;
  TokenRow& row = found->second.row;
  if (!equal_in_constant_time(sha256_hex(parts->secret), row.hash) || !good(row)) {
    return std::nullopt;
  }
  const std::int64_t now = context_.now_ms();
  if (now - row.last_used_ms >= kUseStepMs && !context_.journal.failing()) {
    row.last_used_ms = now;
    context_.journal.add(row);
  }
  Caller caller;
  caller.token_id = row.id;
  caller.name = row.name;
  caller.scopes = found->second.scopes;
  if (!row.project.empty()) caller.project = row.project;
  caller.every_project = row.project.empty();
  return caller;
}

StopToken Tokens::ended(std::string_view id) {
  const auto found = entries_.find(id);
  return found == entries_.end() ? StopToken() : found->second.uses->token();
}

void Tokens::end_expired() {
  for (auto& [id, entry] : entries_) {
    if (!good(entry.row)) entry.uses->request_stop();
  }
}

}  // namespace berth::server
