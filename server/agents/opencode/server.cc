#include <berth/server/agents/opencode/server.h>

#include <berth/io/awaitables.h>
#include <berth/server/auth/secret.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace berth::server::opencode {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kCallTimeout = seconds(20);
/// opencode sends a heartbeat every 10 s; a machine under load is late, not dead.
constexpr Duration kSilenceMax = seconds(35);
constexpr Duration kRetryFirst = milliseconds(50);
constexpr Duration kRetryMax = seconds(2);
/// A process that lives and gives no stream for so long serves nobody.
constexpr Duration kDeafMax = seconds(120);
/// From the end of the process until its last bytes are read; the end of the stream comes sooner,
/// unless somebody else holds the socket.
constexpr Duration kLastBytes = seconds(1);
constexpr int kSpawnsMax = 3;
constexpr std::size_t kHeldMax = std::size_t{16} << 20;
constexpr std::size_t kParentsMax = 65536;
constexpr std::string_view kReady = "listening on ";

}  // namespace

Server::Server(io::Platform& platform, const LaunchPolicy& launches, const AgentProfile& profile,
               std::string directory, std::string tag)
    : platform_(platform),
      launches_(launches),
      reactor_(platform.reactor()),
      profile_(profile),
      directory_(std::move(directory)),
      tag_(std::move(tag)),
      password_(make_secret(platform.random())),
      process_(make_process()),
      scope_(reactor_),
      announced_(reactor_),
      started_(reactor_),
      connected_event_(reactor_),
      spoke_(reactor_),
      room_(reactor_),
      ended_(reactor_) {
  room_.set();
}

Server::~Server() {
  BERTH_ASSERT(clients_.empty());
}

// --- the process ---

Result<AgentLaunch> Server::launch_spec(int port) const {
  LaunchOrder order;
  order.directory = directory_;
  order.key = "opencode";
  order.tag = tag_;
  Result<AgentLaunch> made = launches_.launch(profile_, order);
  if (!made.has_value()) return made;
  io::LaunchSpec& launch = made->spec;
  if (launch.arguments.empty()) launch.arguments.emplace_back("serve");
  for (const std::string& argument : {std::string("--hostname"), std::string("127.0.0.1"),
                                      std::string("--port"), std::to_string(port)}) {
    launch.arguments.push_back(argument);
  }
  std::erase_if(launch.environment, [](const auto& variable) {
    return variable.first == "OPENCODE_SERVER_PASSWORD" ||
           variable.first == "OPENCODE_SERVER_USERNAME";
  });
  launch.environment.emplace_back("OPENCODE_SERVER_PASSWORD", password_);
  return made;
}

/// opencode's own `--port 0` takes the well-known 4096 when it is free, where the user's own
/// opencode would be looked for.
Result<int> Server::free_port() {
  Result<io::Handle> listener = reactor_.listen({"127.0.0.1:0"});
  if (!listener.has_value()) return fail(std::move(listener.error()));
  const Result<io::Address> address = reactor_.local_address(*listener);
  reactor_.close(*listener);
  if (!address.has_value()) return fail(address.error());
  const std::string& text = address->text;
  return std::atoi(text.c_str() + text.rfind(':') + 1);
}

void Server::on_line(Line& line) {
  if (announced_.is_set()) return;
  // 1.x says `opencode server listening on http://127.0.0.1:PORT`, after a warning or two.
  const std::string_view text = line.text();
  const std::size_t at = text.find(kReady);
  if (at == std::string_view::npos) return;
  url_ = text.substr(at + kReady.size());
  while (!url_.empty() && (url_.back() == '\r' || url_.back() == ' ')) url_.pop_back();
  announced_.set();
}

void Server::on_gone() {
  gone_ = true;
  announced_.set();
}

void Server::kill() {
  expected_end_ = true;
  process_->end(true);
}

Task<void> Server::end_late(TimePoint when, StopToken stop) {
  const bool slept = co_await io::Sleep(reactor_, when, stop);
  if (slept) process_->end(true);
}

Task<void> Server::give_up_late(TimePoint when, StopToken stop) {
  const bool slept = co_await io::Sleep(reactor_, when, stop);
  if (slept) connected_event_.set();
}

std::unique_ptr<LineProcess> Server::make_process() {
  LinePeer& peer = *this;
  return std::make_unique<LineProcess>(platform_, peer, LineProcessLimits{});
}

Task<Result<void>> Server::spawn_once() {
  Result<int> port = free_port();
  if (!port.has_value()) co_return fail(std::move(port.error()));
  url_.clear();
  gone_ = false;
  announced_.reset();
  process_ = make_process();
  Result<AgentLaunch> launch = launch_spec(*port);
  if (!launch.has_value()) co_return fail(std::move(launch.error()));
  process_->start(launch->spec, launch->door);
  StopSource late;
  scope_.spawn(end_late(reactor_.clock().now() + profile_.timeouts.initialize, late.token()));
  co_await announced_.wait();
  late.request_stop();
  if (!url_.empty() && !gone_) co_return Result<void>();
  process_->end(true);
  co_await process_->closed().wait();
  co_await scope_.join();
  if (const Error* why = process_->start_failure()) co_return fail(Error(*why));
  co_return fail(ErrorKind::unavailable, "agent_ended",
                 "opencode serve did not start: " + io::describe(process_->exit_status()));
}

Task<Result<void>> Server::check_version() {
  Result<io::HttpOrigin> origin = io::HttpOrigin::parse(url_);
  if (!origin.has_value()) co_return fail(std::move(origin.error()));
  endpoint_ = {std::move(*origin), basic_authorization(password_)};
  Result<HttpAnswer> answer = co_await http_call(&reactor_, endpoint_, "GET", "/global/health", {},
                                                 kCallTimeout, stop_.token());
  if (!answer.has_value()) co_return fail(std::move(answer.error()));
  const Result<JsonDoc> health = answer->json();
  if (!health.has_value()) co_return fail(health.error());
  version_ = health->root().get_string("version").value_or("");
  if (!version_.starts_with("1.")) {
    co_return fail(ErrorKind::unsupported, "protocol_version",
                   "opencode " + version_ + ": berth speaks the server protocol of 1.x");
  }
  co_return Result<void>();
}

Task<Result<void>> Server::start() {
  Result<void> spawned = co_await spawn_once();
  // Somebody else may have taken the port between our look and its bind: exit code 1, at once.
  for (int spawns = 1; spawns < kSpawnsMax && !spawned.has_value(); ++spawns) {
    const io::ExitStatus status = process_->exit_status();
    const bool port_taken = status.kind == io::ExitStatus::Kind::exited && status.value == 1;
    if (!port_taken || expected_end_) break;
    spawned = co_await spawn_once();
  }
  if (!spawned.has_value()) co_return spawned;
  Result<void> right = co_await check_version();
  if (!right.has_value()) co_return right;
  scope_.spawn(follow());
  StopSource late;
  scope_.spawn(give_up_late(reactor_.clock().now() + profile_.timeouts.session, late.token()));
  co_await connected_event_.wait();
  late.request_stop();
  if (connected_) co_return Result<void>();
  co_return fail(ErrorKind::unavailable, "agent_silent", "opencode serve gives no event stream");
}

Task<void> Server::run() {
  Result<void> ready = co_await start();
  if (ready.has_value()) {
    state_ = State::live;
  } else {
    failure_ = std::move(ready.error());
    process_->end(true);
  }
  started_.set();
  co_await process_->closed().wait();
  // What it said before its death is still in the socket.
  if (ready.has_value()) {
    co_await io::Sleep(reactor_, reactor_.clock().now() + kLastBytes, stream_over_.token());
  }
  state_ = State::ended;
  stop_.request_stop();
  connected_event_.set();
  room_.set();
  co_await scope_.join();
  const AgentExit exit{process_->process_id(), process_->exit_status(), expected_end_,
                       process_->stderr_tail()};
  while (!clients_.empty()) {
    ServerClient* client = clients_.begin()->second;
    clients_.erase(clients_.begin());
    client->on_server_ended(exit);
  }
  spoke_.set();
  ended_.set();
}

// --- the stream ---

Task<void> Server::follow() {
  Duration delay = kRetryFirst;
  TimePoint last_heard = reactor_.clock().now();
  while (!stop_.stop_requested() && !gone_) {
    co_await follow_once();
    const TimePoint now = reactor_.clock().now();
    if (std::exchange(connected_, false)) {
      delay = kRetryFirst;
      last_heard = now;
      std::vector<ServerClient*> clients;
      for (const auto& entry : clients_) clients.push_back(entry.second);
      for (ServerClient* client : clients) client->on_stream_lost();
    } else if (now - last_heard > kDeafMax) {
      process_->end(true);
    }
    if (gone_) break;
    co_await io::Sleep(reactor_, now + delay, stop_.token());
    delay = std::min(delay * 2, kRetryMax);
  }
  stream_over_.request_stop();
}

Task<void> Server::follow_once() {
  const std::unique_ptr<io::HttpClient> client = io::make_http_client(reactor_, endpoint_.origin);
  io::HttpClientRequest request;
  request.target = "/global/event";
  request.headers.emplace_back("Authorization", endpoint_.authorization);
  request.headers.emplace_back("Accept", "text/event-stream");
  const auto deadline = [this] { return reactor_.clock().now() + kSilenceMax; };
  Result<io::HttpClientResponse> head =
      co_await client->begin(std::move(request), deadline(), stop_.token());
  if (head.has_value() && head->status == 200) {
    SseParser parser(*this);
    for (;;) {
      const bool room = co_await room_.wait(stop_.token());
      if (!room) break;
      const Result<std::string_view> piece = co_await client->read_body(deadline(), stop_.token());
      if (!piece.has_value() || piece->empty()) break;
      const Result<void> fed = parser.feed(*piece);
      if (!fed.has_value()) break;
    }
  }
  co_await client->close();
}

void Server::on_event(const SseEvent& event) {
  const std::optional<EventFrame> frame = EventFrame::parse(event.data);
  if (!frame) return;
  if (frame->type() == "server.connected") {
    connected_ = true;
    connected_event_.set();
    std::vector<ServerClient*> clients;
    for (const auto& entry : clients_) clients.push_back(entry.second);
    for (ServerClient* client : clients) client->on_stream_connected();
    return;
  }
  const std::string_view session = frame->session_id();
  if (session.empty()) return;
  spoke_.set();
  if (frame->type() == "session.created" || frame->type() == "session.updated") {
    learn_parent(session, frame->properties().get_string("info.parentID").value_or(""));
  }
  const std::string_view root = root_of(session);
  const auto found = clients_.find(root);
  if (found == clients_.end()) return;
  found->second->on_frame(*frame, event.data, root == session ? std::string_view() : session);
}

void Server::learn_parent(std::string_view child, std::string_view parent) {
  if (parents_.size() >= kParentsMax) parents_.clear();
  const auto known = parents_.find(child);
  if (known == parents_.end()) {
    parents_.emplace(child, parent);
  } else if (!parent.empty()) {
    known->second = parent;
  }
}

std::string_view Server::root_of(std::string_view session) const {
  constexpr int kDepthMax = 16;
  for (int depth = 0; depth < kDepthMax; ++depth) {
    const auto above = parents_.find(session);
    if (above == parents_.end() || above->second.empty()) break;
    session = above->second;
  }
  return session;
}

void Server::add(std::string session_id, ServerClient& client) {
  clients_[std::move(session_id)] = &client;
}

void Server::remove(ServerClient& client) {
  std::erase_if(clients_, [&](const auto& entry) { return entry.second == &client; });
}

void Server::add_held(std::ptrdiff_t bytes) {
  held_ = static_cast<std::size_t>(static_cast<std::ptrdiff_t>(held_) + bytes);
  if (held_ > kHeldMax) {
    if (state_ == State::live) room_.reset();
  } else {
    room_.set();
  }
}

}  // namespace berth::server::opencode
