#include "acp_rig.h"

#include <berth/io/awaitables.h>

#include <algorithm>
#include <utility>

namespace berth::server {

int HeardSink::count(std::string_view what) const {
  return static_cast<int>(std::count_if(
      heard.begin(), heard.end(), [&](const std::string& line) { return line.starts_with(what); }));
}

void HeardSink::on_attached(std::int64_t, const Attached& what) {
  attached = what;
  ++attached_count;
  heard.emplace_back("attached");
}
void HeardSink::on_attach_failed(std::int64_t, AttachFailure what) {
  failure = std::move(what);
  ++failed_count;
  heard.emplace_back("failed " + std::string(failure.error.code));
}
void HeardSink::on_update(std::int64_t, const AgentUpdate& update) {
  heard.push_back("update " + std::string(update.kind) + " " + std::string(update.update));
  if (update.line != nullptr && update.line->owned()) ++offered_lines;
}
void HeardSink::on_question(std::int64_t, const AgentQuestion& question) {
  questions.push_back(question.reply_id);
  children.emplace_back(question.child);
  heard.push_back("question " + std::string(to_string(question.kind)));
}
void HeardSink::on_question_withdrawn(std::int64_t, std::uint64_t reply_id) {
  heard.push_back("withdrawn " + std::to_string(reply_id));
}
void HeardSink::on_foreign_message(std::int64_t, std::string_view method, std::string_view params) {
  heard.push_back("foreign " + std::string(method) + " " + std::string(params));
}
void HeardSink::on_junk(std::int64_t, const char* reason, std::uint64_t, std::string_view) {
  heard.push_back("junk " + std::string(reason));
}
void HeardSink::on_prompt_ended(std::int64_t, std::string_view turn, PromptEnd what) {
  end = std::move(what);
  ++ended_count;
  heard.push_back("ended " + std::string(turn) + " " + end.stop_reason);
}
void HeardSink::on_exited(std::int64_t, AgentExit what) {
  exit = std::move(what);
  ++exited_count;
  heard.emplace_back("exited");
}

AcpRig::AcpRig(std::uint64_t seed)
    : machine(seed), natives(machine.clock().wall().count() - 600'000) {
  profile.name = "peer";
  profile.command = "peer";
  for (const char* folder : {"/work", "/state"}) {
    static_cast<void>(machine.disk().make_directories(folder, 0700));
  }
  machine.add_program("peer", [this](io::SimProcess& process) { return peer(process); });
}

AcpRig::~AcpRig() {
  if (agent != nullptr) shut_down(*agent);
}

AcpRig::Answer AcpRig::plain(std::string capabilities, Answer other) {
  return [capabilities = std::move(capabilities), other = std::move(other)](
             const std::string& method, const JsonView& message) -> std::vector<std::string> {
    if (method == "initialize") {
      return {R"({"jsonrpc":"2.0","id":$ID,"result":{"protocolVersion":1,"agentCapabilities":{)" +
              capabilities + R"(},"agentInfo":{"name":"peer","version":"1.2.3"},)" +
              R"("_meta":{"steering":{"supported":true}}}})"};
    }
    if (other) {
      std::vector<std::string> lines = other(method, message);
      if (!lines.empty()) return lines;
    }
    if (method == "session/new") {
      return {R"({"jsonrpc":"2.0","id":$ID,"result":{"sessionId":"n1"}})"};
    }
    return {};
  };
}

AttachSpec AcpRig::spec() const {
  AttachSpec out;
  out.attach_epoch = 1;
  out.profile = "peer";
  out.session_key = "key";
  out.directory = "/work";
  return out;
}

void AcpRig::attach(AttachSpec spec, Answer answer) {
  answer_ = std::move(answer);
  if (agent == nullptr) agent = another(sink);
  agent->attach(std::move(spec));
}

std::unique_ptr<AcpAgent> AcpRig::another(AgentSink& other_sink) {
  if (processes == nullptr) {
    processes =
        std::make_unique<AcpProcesses>(platform, scanner, launches, profile, "/state", "tag");
  }
  return std::make_unique<AcpAgent>(platform, *processes, natives, profile, other_sink);
}

void AcpRig::settle(Duration limit) {
  machine.run_until([] { return false; }, limit);
}

std::vector<std::string> AcpRig::sent_of(std::string_view method) const {
  std::vector<std::string> out;
  for (const std::string& line : sent_) {
    const Result<JsonDoc> doc = JsonDoc::parse(line);
    if (doc.has_value() && doc->root().get_string("method").value_or("") == method)
      out.push_back(line);
  }
  return out;
}

Task<int> AcpRig::peer(io::SimProcess& process) {
  const std::unique_ptr<io::ByteStream> stream =
      io::make_duplex_stream(process.reactor(), process.stdin_handle, process.stdout_handle);
  std::string rest;
  while (true) {
    const Result<std::string_view> bytes = co_await stream->read();
    if (!bytes.has_value() || bytes->empty()) break;
    rest += *bytes;
    std::string out;
    for (std::size_t end = 0; (end = rest.find('\n')) != std::string::npos;
         rest.erase(0, end + 1)) {
      sent_.push_back(rest.substr(0, end));
      const Result<JsonDoc> doc = JsonDoc::parse(sent_.back());
      if (!doc.has_value()) continue;
      const std::string method(doc->root().get_string("method").value_or("(answer)"));
      for (std::string line : answer_(method, doc->root())) {
        const std::size_t id = line.find("$ID");
        if (id != std::string::npos) line.replace(id, 3, doc->root().raw("id"));
        if (line == kDie) process.exit(9);
        out += line + "\n";
      }
    }
    while (!out.empty()) {
      const std::string later = std::string(kLater) + "\n";
      const std::string now = out.substr(0, out.find(later));
      out.erase(0, now.size());
      const Result<void> written = co_await stream->write(now);
      if (!written.has_value()) break;
      if (out.empty()) continue;
      out.erase(0, later.size());
      co_await io::Sleep(process.reactor(),
                         process.reactor().clock().now() + std::chrono::seconds(1));
    }
  }
  co_await stream->close();
  co_return 0;
}

}  // namespace berth::server
