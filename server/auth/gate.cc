#include <berth/server/auth/gate.h>

#include <berth/core/scope.h>
#include <berth/io/awaitables.h>
#include <berth/server/auth/browser.h>
#include <berth/server/auth/secret.h>

#include <fmt/format.h>

#include <utility>

namespace berth::server {

namespace {

constexpr std::string_view kBearer = "Bearer ";
constexpr std::string_view kProjectHeader = "berth-project";
constexpr std::string_view kUnixPeer = "unix:";
constexpr Duration kExpiryLook = std::chrono::seconds(5);

Rate per_minute(std::size_t count) {
  return {.per_second = static_cast<double>(count) / 60, .burst = static_cast<double>(count)};
}
Rate per_second(std::size_t count) {
  return {.per_second = static_cast<double>(count), .burst = static_cast<double>(count) * 2};
}

}  // namespace

AuthGate::AuthGate(SessionContext& context, GateConfig config, std::string file_token)
    : context_(context),
      config_(std::move(config)),
      file_token_(std::move(file_token)),
      tokens_(context, config_.tokens_max),
      tickets_(context.platform.random(), context.reactor().clock(), config_.tickets),
      failures_(per_minute(config_.auth_failures_max)),
      requests_(per_second(config_.token_requests_max), config_.tokens_max),
      audit_(context.platform, context.log, context.state_directory + "/audit.jsonl",
             config_.audit) {}

// A page cannot connect to a UNIX socket, and this very program is no page.
Result<void> AuthGate::check_page(const io::HttpRequest& request, const Client& client) {
  const std::string& peer = client.address;
  const bool reachable = !peer.empty() && !peer.starts_with(kUnixPeer);
  const std::string_view host = client.host;
  if (reachable && !host.empty() && !is_own_host(host, config_.allowed_hosts)) {
    ++stats_.hosts_refused;
    return fail(ErrorKind::denied, "forbidden_host",
                "Host: is not a name of this server; allowed_hosts lists them");
  }
  const std::string_view origin = request.header("origin");
  if (judge_origin(origin, host, config_.allowed_origins) == OriginVerdict::foreign) {
    ++stats_.origins_refused;
    return fail(ErrorKind::denied, "forbidden_origin",
                "Origin: pages from there may not ask; allowed_origins lists those that may");
  }
  return {};
}

bool AuthGate::cors(const io::HttpRequest& request, const Client& client) const {
  return judge_origin(request.header("origin"), client.host, config_.allowed_origins) ==
         OriginVerdict::listed;
}

std::optional<Caller> AuthGate::identify(const io::HttpRequest& request, std::string_view path,
                                         std::string_view ticket, bool early) {
  const std::string_view header = request.header("authorization");
  if (header.starts_with(kBearer)) {
    const std::string_view token = header.substr(kBearer.size());
    if (!equal_in_constant_time(token, file_token_)) return tokens_.find(token);
    Caller caller;
    caller.token_id = caller.name = kFileToken;
    caller.every_project = true;
    caller.scopes = {AuthScope::admin};
    return caller;
  }
  if (ticket.empty() || !header.empty()) return std::nullopt;
  std::optional<Caller> caller = early ? tickets_.look(ticket, path) : tickets_.take(ticket, path);
  return caller.has_value() && tokens_.good(caller->token_id) ? caller : std::nullopt;
}

Error AuthGate::turned_away(std::string_view peer) {
  ++stats_.auth_failures;
  if (failures_.take(peer_key(peer), context_.reactor().clock().now())) {
    return make_error(ErrorKind::denied, "unauthorized",
                      "Authorization: Bearer <token> is missing or wrong");
  }
  ++stats_.auth_failures_refused;
  return make_error(ErrorKind::overloaded, "overloaded",
                    "auth_failures_max: too many wrong tokens from this address");
}

Result<Caller> AuthGate::in_project(Caller caller, const io::HttpRequest& request) const {
  if (!request.has_header(kProjectHeader)) return caller;
  std::string wanted(request.header(kProjectHeader));
  if (!is_project_name(wanted)) {
    return fail(ErrorKind::invalid, "bad_field",
                "Berth-Project: must match [a-z0-9][a-z0-9._-]{0,63}");
  }
  // In the same words whether there is such a project or not.
  if (!caller.every_project && wanted != caller.project) {
    return fail(ErrorKind::denied, "forbidden_project",
                "Berth-Project: the token is for another project");
  }
  caller.project = std::move(wanted);
  return caller;
}

Result<Caller> AuthGate::authenticate(const io::HttpRequest& request, const Client& client,
                                      std::string_view path, std::string_view ticket, bool early) {
  std::optional<Caller> caller = identify(request, path, ticket, early);
  if (!caller.has_value()) return fail(turned_away(client.address));
  if (!early && caller->token_id != kFileToken &&
      !requests_.take(caller->token_id, context_.reactor().clock().now())) {
    ++stats_.token_requests_refused;
    return fail(ErrorKind::overloaded, "overloaded",
                fmt::format("token_requests_max: more than {} requests a second by this token",
                            config_.token_requests_max));
  }
  return in_project(std::move(*caller), request);
}

Task<void> AuthGate::watch_expiry(StopToken stop) {
  while (co_await io::Sleep(context_.reactor(), context_.reactor().clock().now() + kExpiryLook,
                            stop)) {
    tokens_.end_expired();
  }
}

Task<void> AuthGate::run(StopToken stop) {
  Scope scope(context_.reactor(), stop);
  scope.spawn(watch_expiry(scope.stop_token()));
  scope.spawn(audit_.run(scope.stop_token()));
  co_await scope.join();
}

}  // namespace berth::server
