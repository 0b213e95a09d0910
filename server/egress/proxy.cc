#include <berth/server/egress/proxy.h>

#include <berth/core/assert.h>
#include <berth/io/dial.h>
#include <berth/io/net.h>
#include <berth/io/stream.h>

#include <algorithm>
#include <set>
#include <utility>

namespace berth::server::egress {

namespace {

/// Targets that a door was denied and that were told of; further ones are only counted.
constexpr std::size_t kToldMax = 64;
constexpr std::size_t kReadAhead = 64 * 1024;

std::string answer(int status, std::string_view words, std::string_view text) {
  const std::string body = "berth: " + std::string(text) + "\n";
  return "HTTP/1.1 " + std::to_string(status) + " " + std::string(words) +
         "\r\nContent-Type: text/plain\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\nConnection: close\r\n\r\n" + body;
}

}  // namespace

/// What a door and its conversations share; it lives until the last of them has ended.
class Proxy::Listening final : public io::AcceptOp, public StopListener {
 public:
  Listening(Proxy& proxy, DoorSpec wanted)
      : spec(std::move(wanted)), over(proxy.reactor_), proxy_(proxy) {}

  void on_accept(io::Handle connection) override {
    if (auto self = self_.lock()) proxy_.take(connection, self);
  }
  void on_accept_end(int) override { over.set(); }
  void on_stop() override {
    if (started()) proxy_.reactor_.cancel(*this);
  }
  void know(const std::shared_ptr<Listening>& self) { self_ = self; }

  const DoorSpec spec;
  std::string path;
  StopSource stop;
  Event over;
  std::size_t connections = 0;
  std::set<std::string> told;

 private:
  Proxy& proxy_;
  std::weak_ptr<Listening> self_;
};

/// The holder's end of it.
class Proxy::OpenDoor final : public Door {
 public:
  explicit OpenDoor(std::shared_ptr<Listening> listening) : listening_(std::move(listening)) {}
  ~OpenDoor() override { listening_->stop.request_stop(); }
  const std::string& path() const override { return listening_->path; }

 private:
  std::shared_ptr<Listening> listening_;
};

/// One connection to the proxy: whatever ends it cancels both streams.
class Proxy::Conversation final : public io::TimerOp, public StopListener {
 public:
  Conversation(Proxy& proxy, io::Handle connection)
      : inside(io::make_stream(proxy.reactor_, connection, {.inbox_max = kReadAhead})),
        proxy_(proxy) {}

  std::unique_ptr<io::ByteStream> inside;
  std::unique_ptr<io::ByteStream> outside;  // null until it is reached

  void wait_no_longer_than(Duration patience) {
    patience_ = patience;
    moved();
    proxy_.reactor_.disarm(*this);
    proxy_.reactor_.arm(*this, moved_ + patience_);
  }
  void moved() { moved_ = proxy_.reactor_.clock().now(); }
  void end() {
    ended_ = true;
    for (const auto& stream : {inside.get(), outside.get()}) {
      if (stream == nullptr) continue;
      stream->cancel_read();
      stream->cancel_write();
    }
  }
  bool ended() const { return ended_; }

  void on_timer() override {
    if (proxy_.reactor_.clock().now() < moved_ + patience_) {
      proxy_.reactor_.arm(*this, moved_ + patience_);
    } else {
      end();
    }
  }
  void on_stop() override { end(); }

  Task<Result<Request>> read_request(std::string* behind) {
    std::string head;
    for (;;) {
      const Result<std::string_view> got = co_await inside->read();
      if (!got.has_value()) co_return fail(got.error());
      if (got->empty()) co_return fail(ErrorKind::unavailable, "hung_up", "it hung up");
      head.append(*got);
      const std::size_t end = head.find("\r\n\r\n");
      if (end != std::string::npos) {
        behind->assign(head, end + 4);
        head.resize(end + 4);
        co_return parse_request(head);
      }
      if (head.size() > proxy_.limits_.head_bytes_max) {
        co_return fail(ErrorKind::invalid, "bad_request", "the head is too large");
      }
    }
  }

  Task<void> pump(io::ByteStream* from, io::ByteStream* to, std::uint64_t* count) {
    for (;;) {
      const Result<std::string_view> got = co_await from->read();
      if (!got.has_value()) break;
      if (got->empty()) {
        to->shutdown_write();
        co_return;
      }
      moved();
      *count += got->size();
      const Result<void> written = co_await to->write(*got);
      if (!written.has_value()) break;
      moved();
    }
    end();
  }

  /// What the client still sends is read: closing before that would take the answer from it.
  Task<void> refuse(std::string text) {
    wait_no_longer_than(proxy_.limits_.head_timeout);
    const Result<void> written = co_await inside->write(text);
    if (!written.has_value()) co_return;
    inside->shutdown_write();
    for (;;) {
      const Result<std::string_view> got = co_await inside->read();
      if (!got.has_value() || got->empty()) break;
    }
  }

  Task<void> pass_on() {
    Scope scope(proxy_.reactor_);
    scope.spawn(pump(inside.get(), outside.get(), &proxy_.stats_.bytes_out));
    scope.spawn(pump(outside.get(), inside.get(), &proxy_.stats_.bytes_in));
    co_await scope.join();
  }

  Task<void> close() {
    proxy_.reactor_.disarm(*this);
    co_await inside->close();
    if (outside != nullptr) co_await outside->close();
  }

 private:
  Proxy& proxy_;
  TimePoint moved_{};
  Duration patience_{};
  bool ended_ = false;
};

Proxy::Proxy(io::Platform& platform, LogSink& log, std::string folder, Limits limits)
    : platform_(platform),
      reactor_(platform.reactor()),
      log_(log),
      folder_(std::move(folder)),
      limits_(limits),
      lookup_ended_(platform.reactor()),
      scope_(platform.reactor()) {}

Proxy::~Proxy() {
  BERTH_ASSERT(stats_.doors == 0);
}

Result<std::shared_ptr<Door>> Proxy::open(DoorSpec spec) {
  auto door = std::make_shared<Listening>(*this, std::move(spec));
  door->know(door);
  door->path = folder_ + "/" + std::to_string(next_number_++);
  Result<io::Handle> listener = reactor_.listen({"unix:" + door->path});
  if (!listener.has_value()) return fail(std::move(listener.error()).with_context("egress"));
  door->listener = *listener;
  ++stats_.doors;
  scope_.spawn(accept(door));
  return std::make_shared<OpenDoor>(std::move(door));
}

Task<void> Proxy::accept(std::shared_ptr<Listening> door) {
  reactor_.start(*door);
  door->stop.token().listen(*door);
  co_await door->over.wait();
  reactor_.close(door->listener);
  --stats_.doors;
  io::Files* const files = &platform_.files();
  const std::string path = door->path;
  static_cast<void>(co_await platform_.offload().run(
      io::Lane::files, reactor_, [files, path] { return files->remove_if_exists(path); }));
}

void Proxy::take(io::Handle connection, const std::shared_ptr<Listening>& door) {
  if (door->connections >= limits_.connections_max ||
      stats_.connections >= limits_.connections_total_max) {
    ++stats_.overloaded;
    return reactor_.close(connection);
  }
  ++door->connections;
  ++stats_.connections;
  scope_.spawn(serve(connection, door));
}

Task<void> Proxy::serve(io::Handle connection, std::shared_ptr<Listening> door) {
  Conversation talk(*this, connection);
  talk.wait_no_longer_than(limits_.head_timeout);
  StopToken stop = door->stop.token();
  stop.listen(talk);
  std::string behind;
  std::string refusal;
  const Result<Request> request = co_await talk.read_request(&behind);
  if (request.has_value()) {
    talk.wait_no_longer_than(limits_.connect_timeout + std::chrono::seconds(1));
    Result<io::Handle> outside = co_await reach(&*request, door.get(), stop);
    if (outside.has_value()) {
      talk.outside = io::make_stream(reactor_, *outside, {.inbox_max = kReadAhead});
      ++stats_.allowed;
    } else if (outside.error().kind == ErrorKind::denied) {
      ++stats_.denied;
      tell(*door, *request, outside.error().message);
      refusal = answer(403, "Forbidden", outside.error().message);
    } else {
      ++stats_.failed;
      refusal = answer(502, "Bad Gateway", outside.error().message);
    }
  } else if (request.error().kind == ErrorKind::invalid) {
    refusal = answer(400, "Bad Request", request.error().message);
  }
  if (talk.outside != nullptr && !talk.ended()) {
    talk.wait_no_longer_than(limits_.idle_timeout);
    static constexpr std::string_view kEstablished = "HTTP/1.1 200 Connection established\r\n\r\n";
    Result<void> said;
    if (request->tunnel) {
      said = co_await talk.inside->write(kEstablished);
    } else {
      said = co_await talk.outside->write(request->head);
    }
    if (said.has_value() && !behind.empty()) said = co_await talk.outside->write(behind);
    stats_.bytes_out += behind.size();
    if (said.has_value()) co_await talk.pass_on();
  } else if (!refusal.empty() && !talk.ended()) {
    co_await talk.refuse(std::move(refusal));
  }
  talk.StopListener::unlink();
  co_await talk.close();
  --door->connections;
  --stats_.connections;
}

Task<Result<std::vector<io::Address>>> Proxy::look_up(std::string target, StopToken stop) {
  while (lookups_ >= limits_.lookups_max) {
    lookup_ended_.reset();
    const bool room = co_await lookup_ended_.wait(stop);
    if (!room) co_return fail(ErrorKind::cancelled, "cancelled", "the door was closed");
  }
  ++lookups_;
  io::Resolver* const resolver = &platform_.resolver();
  Result<std::vector<io::Address>> found = co_await platform_.offload().run(
      io::Lane::files, reactor_, [resolver, target] { return resolver->resolve(target); }, stop);
  --lookups_;
  lookup_ended_.set();
  co_return found;
}

Task<Result<io::Handle>> Proxy::reach(const Request* request, const Listening* door,
                                      StopToken stop) {
  const std::string target = host_and_port(request->host, request->port);
  const Verdict verdict = judge(door->spec.allowed, request->host, request->port);
  if (verdict == Verdict::denied) {
    co_return fail(ErrorKind::denied, "egress_denied",
                   target + " is not in the list of hosts that this agent may reach");
  }
  std::vector<io::Address> addresses = {{target}};
  if (!io::is_address(target)) {
    Result<std::vector<io::Address>> found = co_await look_up(target, stop);
    if (!found.has_value()) co_return fail(std::move(found.error()));
    addresses = std::move(*found);
  }
  if (verdict != Verdict::allowed_anywhere) {
    std::erase_if(addresses,
                  [](const io::Address& address) { return !io::net::is_public(address.text); });
    if (addresses.empty()) {
      co_return fail(ErrorKind::denied, "egress_denied",
                     target + " is not a public address: list that very host with its port");
    }
  }
  const TimePoint deadline = reactor_.clock().now() + limits_.connect_timeout;
  co_return co_await io::dial_addresses(&reactor_, io::interleave_families(std::move(addresses)),
                                        deadline, stop);
}

void Proxy::tell(Listening& door, const Request& request, const std::string& reason) {
  Denial denial{door.spec.key, door.spec.agent, host_and_port(request.host, request.port), reason};
  if (door.told.size() >= kToldMax || !door.told.insert(denial.target).second) return;
  log_.write(LogLevel::warning, "egress",
             "session " + door.spec.key + ", agent " + door.spec.agent + ": " + reason);
  if (heard_) heard_(denial);
}

Task<void> Proxy::shutdown() {
  co_await scope_.join();
}

}  // namespace berth::server::egress
