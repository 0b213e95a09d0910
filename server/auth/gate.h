// server/auth/gate.h — the door of the API: whom it lets in, as whom, how often, and who notes it.
#pragma once

#include <berth/io/http_server.h>
#include <berth/server/auth/audit.h>
#include <berth/server/auth/caller.h>
#include <berth/server/auth/client.h>
#include <berth/server/auth/rate.h>
#include <berth/server/auth/tickets.h>
#include <berth/server/auth/tokens.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

struct GateConfig {
  std::vector<std::string> allowed_hosts;    ///< Names of this server beside localhost.
  std::vector<std::string> allowed_origins;  ///< Pages that may ask: CORS.
  TrustedProxies trusted_proxies;            ///< Whose word about clients is taken.
  ProxyHeader proxy_header = ProxyHeader::x_forwarded;
  /// Failed authentications of one address in a minute; good ones are not counted.
  std::size_t auth_failures_max = 60;
  /// Requests of one token of the store in a second, twice as many at once; those of the file's
  /// token are not counted.
  std::size_t token_requests_max = 500;
  std::size_t tokens_max = 1000;  ///< In the store, those that ended included.
  Tickets::Limits tickets;
  AuditLimits audit;
};

struct GateStats {
  std::uint64_t auth_failures = 0;
  std::uint64_t auth_failures_refused = 0;   ///< By the rate: 429.
  std::uint64_t token_requests_refused = 0;  ///< By the rate: 429.
  std::uint64_t hosts_refused = 0;
  std::uint64_t origins_refused = 0;
};

/// Single-threaded. What it is given outlives it.
class AuthGate {
 public:
  AuthGate(SessionContext& context, GateConfig config, std::string file_token);

  /// Errors: `denied` ("forbidden_host", "forbidden_origin").
  Result<void> check_page(const io::HttpRequest& request, const Client& client);
  /// Whether an answer to it may be read by the page that asks, which is not ours.
  bool cors(const io::HttpRequest& request, const Client& client) const;

  /// By `Authorization`, else by a ticket, which is good for this path and used up unless `early`.
  /// Errors: `denied` ("unauthorized", "forbidden_project"), `invalid` ("bad_field"), `overloaded`
  /// naming auth_failures_max or token_requests_max.
  Result<Caller> authenticate(const io::HttpRequest& request, const Client& client,
                              std::string_view path, std::string_view ticket, bool early);

  Tokens& tokens() { return tokens_; }
  Tickets& tickets() { return tickets_; }
  Audit& audit() { return audit_; }
  const GateConfig& config() const { return config_; }
  const GateStats& stats() const { return stats_; }

  /// Ends what runs by expired tokens and writes the audit log, until `stop`.
  Task<void> run(StopToken stop);

 private:
  std::optional<Caller> identify(const io::HttpRequest& request, std::string_view path,
                                 std::string_view ticket, bool early);
  Result<Caller> in_project(Caller caller, const io::HttpRequest& request) const;
  Error turned_away(std::string_view peer);
  Task<void> watch_expiry(StopToken stop);

  SessionContext& context_;
  GateConfig config_;
  std::string file_token_;
  Tokens tokens_;
  Tickets tickets_;
  RateLimiter failures_;
  RateLimiter requests_;
  Audit audit_;
  GateStats stats_;
};

}  // namespace berth::server
