#include <berth/core/sync.h>
#include <berth/io/dial.h>
#include <berth/io/net.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <utility>

namespace berth::inline v0::io {

namespace {

Error connection_error(int error, const Address& address) {
  Error result = errno_error(error, "connecting to " + address.text);
  if (result.kind != ErrorKind::invalid) result.kind = ErrorKind::unavailable;
  result.code = result.kind == ErrorKind::invalid ? "bad_address" : "connection_failed";
  return result;
}

/// One call of dial_addresses(): attempts that began, and those that did not.
class Race final : private TimerOp, private StopListener {
 public:
  Race(Reactor& reactor, std::vector<Address> addresses, TimePoint deadline)
      : reactor_(reactor),
        addresses_(std::move(addresses)),
        deadline_(deadline),
        changed_(reactor) {}

  Task<Result<Handle>> run(StopToken stop);

 private:
  class Attempt final : public ConnectOp {
   public:
    explicit Attempt(Race& race) : race_(race) {}
    void on_connected(Handle connection, int error) override {
      race_.ended(*this, connection, error);
    }

   private:
    Race& race_;
  };

  void on_timer() override;
  void on_stop() override {
    if (over_) return;
    give_up(make_error(ErrorKind::cancelled, "cancelled", "the connection was given up"));
  }
  void begin_next();
  void ended(Attempt& attempt, Handle connection, int error);
  void give_up(Error error);
  void cancel_all();

  Reactor& reactor_;
  std::vector<Address> addresses_;
  std::size_t next_ = 0;
  TimePoint deadline_;
  std::deque<Attempt> attempts_;  // in place until all have ended
  std::size_t running_ = 0;
  bool over_ = false;  // no further attempt begins
  Handle winner_ = kNoHandle;
  Error error_;
  Event changed_;
};

Task<Result<Handle>> Race::run(StopToken stop) {
  if (addresses_.empty()) {
    co_return fail(ErrorKind::not_found, "no_such_host", "there is no address to connect to");
  }
  // First: what is asked already shall not begin anything.
  stop.listen(*this);
  if (!over_) begin_next();
  while (!over_ || running_ > 0) {
    changed_.reset();
    co_await changed_.wait();
  }
  StopListener::unlink();
  reactor_.disarm(*this);
  if (winner_ == kNoHandle) co_return fail(std::move(error_));
  co_return winner_;
}

void Race::begin_next() {
  Attempt& attempt = attempts_.emplace_back(*this);
  attempt.address = std::move(addresses_[next_++]);
  ++running_;
  reactor_.start(attempt);
  const bool more = next_ < addresses_.size();
  const TimePoint next = more ? reactor_.clock().now() + kNextAttemptDelay : TimePoint::max();
  const TimePoint when = std::min(next, deadline_);
  reactor_.disarm(*this);
  if (when != TimePoint::max()) reactor_.arm(*this, when);
}

void Race::on_timer() {
  if (over_) return;
  if (reactor_.clock().now() < deadline_) return begin_next();
  give_up(make_error(ErrorKind::timed_out, "deadline",
                     "no connection in time to " + attempts_.back().address.text));
}

void Race::ended(Attempt& attempt, Handle connection, int error) {
  --running_;
  changed_.set();
  if (over_) {
    // The second to win, or too late: nobody wants it.
    if (connection != kNoHandle) reactor_.close(connection);
    return;
  }
  if (error == 0) {
    over_ = true;
    winner_ = connection;
    cancel_all();
    return;
  }
  error_ = connection_error(error, attempt.address);
  if (next_ < addresses_.size()) {
    begin_next();
  } else if (running_ == 0) {
    over_ = true;
  }
}

void Race::give_up(Error error) {
  over_ = true;
  error_ = std::move(error);
  cancel_all();
  changed_.set();
}

void Race::cancel_all() {
  for (Attempt& attempt : attempts_) {
    if (attempt.started()) reactor_.cancel(attempt);
  }
}

}  // namespace

std::vector<Address> interleave_families(std::vector<Address> addresses) {
  std::vector<Address> first;
  std::vector<Address> second;
  const auto family = [](const Address& address) { return address.text.starts_with('['); };
  for (Address& address : addresses) {
    const bool like_first = first.empty() || family(address) == family(first.front());
    (like_first ? first : second).push_back(std::move(address));
  }
  std::vector<Address> mixed;
  for (std::size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
    if (i < first.size()) mixed.push_back(std::move(first[i]));
    if (i < second.size()) mixed.push_back(std::move(second[i]));
  }
  return mixed;
}

bool is_address(std::string_view host_and_port) {
  return net::parse(host_and_port).has_value();
}

Task<Result<Handle>> dial_addresses(Reactor* reactor, std::vector<Address> addresses,
                                    TimePoint deadline, StopToken stop) {
  Race race(*reactor, std::move(addresses), deadline);
  Result<Handle> winner = co_await race.run(stop);
  co_return winner;
}

Task<Result<Handle>> dial(Reactor* reactor, NameLookup names, std::string host_and_port,
                          TimePoint deadline, StopToken stop) {
  std::vector<Address> addresses;
  if (is_address(host_and_port)) {
    addresses.push_back({host_and_port});
  } else if (names.resolver == nullptr || names.offload == nullptr) {
    co_return fail(ErrorKind::unsupported, "no_resolver",
                   "'" + host_and_port + "' is no address, and there is nobody to ask for names");
  } else {
    Resolver* resolver = names.resolver;
    const std::string* name = &host_and_port;
    Result<std::vector<Address>> found = co_await names.offload->run(
        names.lane, *reactor, [resolver, name] { return resolver->resolve(*name); });
    if (!found.has_value()) co_return fail(std::move(found.error()));
    addresses = interleave_families(std::move(*found));
  }
  Result<Handle> winner = co_await dial_addresses(reactor, std::move(addresses), deadline, stop);
  co_return winner;
}

}  // namespace berth::inline v0::io
