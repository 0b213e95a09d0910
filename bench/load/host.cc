#include "host.h"

#include <sys/stat.h>
#include <unistd.h>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace berth::bench {

namespace {

namespace fs = std::filesystem;

constexpr const char* kInstallPeers =
    " is not installed (tests/real_agents/install.sh bench/peers)";
constexpr const char* kSandboxAgent = "/node_modules/@sandbox-agent/cli-linux-x64";
constexpr const char* kSdk = "/node_modules/@agentclientprotocol/sdk";

/// What a command prints, up to its first line end.
std::string first_line_of(const std::string& command) {
  std::string line;
  if (FILE* pipe = ::popen(command.c_str(), "r"); pipe != nullptr) {
    for (int byte = std::fgetc(pipe); byte != EOF; byte = std::fgetc(pipe)) {
      if (line.find('\n') == std::string::npos) line += static_cast<char>(byte);
    }
    ::pclose(pipe);
  }
  while (!line.empty() && line.back() == '\n') line.pop_back();
  return line;
}

/// The version in a package's package.json.
std::string package_version(const std::string& folder) {
  std::ifstream file(folder + "/package.json");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const std::string key = "\"version\": \"";
  const std::size_t at = text.find(key);
  if (at == std::string::npos) return "?";
  const std::size_t begin = at + key.size();
  return text.substr(begin, text.find('"', begin) - begin);
}

std::string json_call(const std::string& method, const std::string& id, const std::string& params) {
  return R"({"jsonrpc":"2.0","id":)" + id + R"(,"method":")" + method + R"(","params":)" + params +
         "}";
}

std::string text_prompt(const std::string& text) {
  return R"({"prompt":")" + text + "\"}";
}

/// The event's name stands at the begin of a frame.
FrameKind kind_by_name(std::string_view frame, std::string_view update, std::string_view end) {
  const std::string_view head = frame.substr(0, 64);
  if (head.find(update) != std::string_view::npos) return FrameKind::update;
  return head.find(end) != std::string_view::npos ? FrameKind::turn_end : FrameKind::other;
}

/// berth, and with the same paths the bare loop.
class BerthHost : public Host {
 public:
  std::string_view name() const override { return "berth"; }
  std::string version(const Programs& programs) const override {
    return first_line_of("'" + programs.berth + "' version");
  }
  std::string missing(const Programs& programs) const override {
    return ::access(programs.berth.c_str(), X_OK) == 0 ? "" : programs.berth + " does not run";
  }
  ServerCommand command(const Programs& programs, const std::string& limits) const override {
    ServerCommand made;
    made.arguments = {programs.berth, "serve",       "--state",  "@/state",
                      "--listen",     "127.0.0.1:0", "--config", "@/config.toml"};
    made.config = "[agents.flood]\ncommand = \"" + programs.agent +
                  "\"\nwarm = true\n[limits]\nconnections_max = 16384\nagents_live_max = 16384\n" +
                  limits;
    if (!programs.engine.empty()) made.environment = {{"BERTH_ENGINE", programs.engine}};
    return made;
  }
  std::optional<Call> open_call(const std::string& session, int step) const override {
    if (step > 0) return std::nullopt;
    return Call{"POST", "/v1/sessions", R"({"id":")" + session + R"(","agent":"flood"})",
                "Prefer: wait=30\r\n"};
  }
  Call prompt_call(const std::string& session, const std::string& text) const override {
    return {"POST", "/v1/sessions/" + session + "/turns", text_prompt(text)};
  }
  std::string events_path(const std::string& session) const override {
    return "/v1/sessions/" + session + "/events";
  }
  FrameKind kind_of(std::string_view frame) const override {
    const FrameKind kind = kind_by_name(frame, "\nevent: update\n", "\nevent: turn.ended\n");
    if (kind != FrameKind::other) return kind;
    const bool change = frame.find("\nevent: change.recorded\n") < 64;
    return change ? FrameKind::change : FrameKind::other;
  }
  bool must_be_exact() const override { return true; }
  bool says_turns() const override { return true; }
};

/// berth on its other engine.
class BerthOnAsio final : public BerthHost {
 public:
  std::string_view name() const override { return "berth-asio"; }
  ServerCommand command(const Programs& programs, const std::string& limits) const override {
    ServerCommand made = BerthHost::command(programs, limits);
    made.environment = {{"BERTH_ENGINE", "asio"}};
    return made;
  }
};

class BareLoop final : public BerthHost {
 public:
  std::string_view name() const override { return "bare"; }
  std::string version(const Programs&) const override { return "epoll, berth's scanner, no log"; }
  std::string missing(const Programs& programs) const override {
    return ::access(programs.bare.c_str(), X_OK) == 0 ? "" : programs.bare + " does not run";
  }
  ServerCommand command(const Programs& programs, const std::string&) const override {
    ServerCommand made;
    made.arguments = {programs.bare, programs.agent};
    return made;
  }
  bool says_turns() const override { return false; }
};

class NodeHost final : public Host {
 public:
  explicit NodeHost(bool logs) : logs_(logs) {}

  std::string_view name() const override { return logs_ ? "node-jsonl" : "node"; }
  std::string version(const Programs& programs) const override {
    return "@agentclientprotocol/sdk " + package_version(programs.peers + kSdk) + ", node " +
           first_line_of("node --version") + (logs_ ? ", a line of JSON a file per event" : "");
  }
  std::string missing(const Programs& programs) const override {
    if (!fs::exists(programs.peers + kSdk))
      return "@agentclientprotocol/sdk" + std::string(kInstallPeers);
    if (first_line_of("command -v node").empty()) return "there is no node";
    return fs::exists(programs.node_host) ? "" : programs.node_host + " is missing";
  }
  ServerCommand command(const Programs& programs, const std::string&) const override {
    ServerCommand made;
    // Node looks for packages beside the script.
    made.copies = {{programs.node_host, "node_host.mjs"}};
    made.links = {{programs.peers + "/node_modules", "node_modules"}};
    made.arguments = {"/usr/bin/env", "node", "@/node_host.mjs", programs.agent};
    if (logs_) made.arguments.emplace_back("@/events.jsonl");
    return made;
  }
  std::optional<Call> open_call(const std::string& session, int step) const override {
    if (step > 0) return std::nullopt;
    return Call{"POST", "/sessions", R"({"id":")" + session + "\"}"};
  }
  Call prompt_call(const std::string& session, const std::string& text) const override {
    return {"POST", "/sessions/" + session + "/turns", text_prompt(text)};
  }
  std::string events_path(const std::string& session) const override {
    return "/sessions/" + session + "/events";
  }
  FrameKind kind_of(std::string_view frame) const override {
    return kind_by_name(frame, "\nevent: update\n", "\nevent: turn_ended\n");
  }

 private:
  bool logs_;
};

/// The packaged Rust host. It has no agent of ours: ours takes the place of its "mock".
class SandboxAgent final : public Host {
 public:
  std::string_view name() const override { return "sandbox-agent"; }
  std::string version(const Programs& programs) const override {
    return "sandbox-agent " + package_version(programs.peers + kSandboxAgent);
  }
  std::string missing(const Programs& programs) const override {
    return fs::exists(binary(programs)) ? "" : "sandbox-agent" + std::string(kInstallPeers);
  }
  ServerCommand command(const Programs& programs, const std::string&) const override {
    const std::string program = binary(programs);
    ::chmod(program.c_str(), 0755);  // npm's install scripts, which would do it, did not run
    ServerCommand made;
    made.links = {{programs.agent, "sandbox-agent/bin/agent_processes/mock-acp"}};
    made.environment = {{"XDG_DATA_HOME", "@"}};
    made.arguments = {program, "server", "-H",         "127.0.0.1",
                      "-p",    "%PORT",  "--no-token", "--no-telemetry"};
    return made;
  }
  std::optional<Call> open_call(const std::string& session, int step) const override {
    const std::string path = "/v1/acp/" + session;
    switch (step) {
      case 0:
        return Call{
            "POST", path + "?agent=mock",
            json_call("initialize", "1", R"({"protocolVersion":1,"clientCapabilities":{}})")};
      case 1:
        return Call{"POST", path,
                    json_call("session/new", "2", R"({"cwd":"/tmp","mcpServers":[]})")};
      default:
        return std::nullopt;
    }
  }
  Call prompt_call(const std::string& session, const std::string& text) const override {
    // Our agent asks for no name of its session; ids must be new for each call.
    static std::uint64_t last_id = 100;
    return {"POST", "/v1/acp/" + session,
            json_call("session/prompt", std::to_string(++last_id),
                      R"({"sessionId":"s","prompt":[{"type":"text","text":")" + text + "\"}]}")};
  }
  std::string events_path(const std::string& session) const override {
    return "/v1/acp/" + session;
  }
  FrameKind kind_of(std::string_view frame) const override {
    if (frame.find("\"sessionUpdate\"") != std::string_view::npos) return FrameKind::update;
    const bool ended = frame.find("\"stopReason\"") != std::string_view::npos ||
                       frame.find("agent_exited") != std::string_view::npos;
    return ended ? FrameKind::turn_end : FrameKind::other;
  }
  bool holds_prompts() const override { return true; }

 private:
  static std::string binary(const Programs& programs) {
    return programs.peers + kSandboxAgent + "/bin/sandbox-agent";
  }
};

}  // namespace

const std::vector<std::unique_ptr<Host>>& hosts() {
  static const std::vector<std::unique_ptr<Host>> all = [] {
    std::vector<std::unique_ptr<Host>> made;
    made.push_back(std::make_unique<BerthHost>());
    made.push_back(std::make_unique<BareLoop>());
    made.push_back(std::make_unique<BerthOnAsio>());
    made.push_back(std::make_unique<NodeHost>(false));
    made.push_back(std::make_unique<NodeHost>(true));
    made.push_back(std::make_unique<SandboxAgent>());
    return made;
  }();
  return all;
}

const Host* find_host(std::string_view name) {
  for (const auto& host : hosts()) {
    if (host->name() == name) return host.get();
  }
  return nullptr;
}

}  // namespace berth::bench
