#include <berth/server/agents/probe.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_rpc.h>
#include <berth/core/json_writer.h>
#include <berth/server/agents/acp2_messages.h>
#include <berth/server/agents/rpc_connection.h>

#include <utility>

namespace berth::server {

namespace {

/// A probe listens to nothing but the answer.
class DeafPeer final : public RpcPeer {
 public:
  RpcConnection* connection = nullptr;
  void on_notification(const RoutedLine&) override {}
  void on_request(const RoutedLine& line) override {
    connection->reply_error(line.id.json, kRpcMethodNotFound, "berth is only probing");
  }
  void on_junk(const char*, std::uint64_t, std::string_view) override {}
  bool wants_more() override { return true; }
  void on_gone() override {}
};

/// Ends the agent when nobody waits for its answer any more.
class Ender final : public StopListener {
 public:
  explicit Ender(RpcConnection& connection) : connection_(connection) {}
  void on_stop() override { connection_.end(true); }

 private:
  RpcConnection& connection_;
};

std::string report_of(const AgentProfile& profile, const JsonView& result, std::int64_t ms) {
  std::string out;
  const bool v2 = result.get_int64("protocolVersion") == acp2::kProtocolVersion;
  const auto raw_or_null = [&](std::string_view field) {
    std::string raw = result.find(field).present() ? result.find(field).raw() : std::string("null");
    return raw;
  };
  JsonWriter(out)
      .begin_object()
      .member("agent", profile.name)
      .member_bool("ok", true)
      .member_int64("protocol_version", result.get_int64("protocolVersion").value_or(0))
      .member_raw("agent_info", raw_or_null(v2 ? "info" : "agentInfo"))
      .member_raw("capabilities", raw_or_null(v2 ? "capabilities" : "agentCapabilities"))
      .member_raw("auth_methods", raw_or_null("authMethods"))
      .member_bool("proved", profile.proved)
      .member_int64("ms", ms)
      .end_object();
  return out;
}

}  // namespace

Task<ProbeResult> probe_agent_profile(io::Platform& platform, const LaunchPolicy& launches,
                                      const AgentProfile& profile, std::string directory,
                                      StopToken gone) {
  ProbeResult probe;
  if (profile.driver != Driver::acp) {
    probe.error = make_error(ErrorKind::unsupported, "probe_unsupported",
                             profile.name + " cannot be asked what it can do: its driver is " +
                                 std::string(to_string(profile.driver)));
    co_return probe;
  }
  LaunchOrder order;
  order.directory = std::move(directory);
  order.key = "probe";
  order.tag = "berth-probe";
  const Result<AgentLaunch> launch = launches.launch(profile, order);
  if (!launch.has_value()) {
    probe.error = launch.error();
    co_return probe;
  }
  const TimePoint started = platform.reactor().clock().now();
  DeafPeer peer;
  JsonScanner scanner;
  RpcConnection connection(platform, scanner, peer, {});
  peer.connection = &connection;
  connection.start(launch->spec, launch->door);
  Ender ender(connection);
  gone.listen(ender);
  std::string hello = profile.acp_v2 ? acp2::initialize_params() : acp::initialize_params();
  RpcReply reply =
      co_await connection.call("initialize", std::move(hello), profile.timeouts.initialize);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                      platform.reactor().clock().now() - started)
                      .count();
  connection.end(!reply.ok());
  co_await connection.closed().wait();
  probe.stderr_tail = connection.stderr_tail();
  if (!reply.error.empty()) {
    probe.error =
        make_error(ErrorKind::invalid, "agent_error", "initialize was refused: " + reply.error);
  } else if (!reply.ok()) {
    probe.error = std::move(reply.failure);
  } else if (const Result<JsonDoc> result = JsonDoc::parse(reply.result); result.has_value()) {
    probe.report = report_of(profile, result->root(), ms);
  }
  co_return probe;
}

}  // namespace berth::server
