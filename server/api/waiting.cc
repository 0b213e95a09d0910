#include <berth/server/api/waiting.h>

#include <berth/core/sync.h>
#include <berth/server/api/body.h>

#include <utility>

namespace berth::server {

namespace {

constexpr std::uint64_t kWaitMax = 600;  // seconds

class Waiter final : public LogReader, public io::TimerOp, public StopListener {
 public:
  Waiter(const Session& session, std::function<bool(const Session&)> holds, Executor& executor)
      : over(executor), session_(session), holds_(std::move(holds)) {}

  void on_log_grew() override {
    if (holds_(session_)) over.set();
  }
  void on_timer() override { over.set(); }
  void on_stop() override { over.set(); }

  Event over;

 private:
  const Session& session_;
  const std::function<bool(const Session&)> holds_;
};

}  // namespace

Duration wait_of(const io::HttpRequest& request) {
  const std::string_view header = request.header("prefer");
  const std::size_t at = header.find("wait=");
  if (at == std::string_view::npos) return {};
  std::string_view digits = header.substr(at + 5);
  digits = digits.substr(0, digits.find_first_not_of("0123456789"));
  const auto seconds = number_of("wait", digits, 0, kWaitMax);
  return std::chrono::seconds(seconds.has_value() ? static_cast<long>(*seconds) : 0L);
}

Task<void> wait_until(io::Reactor& reactor, Session* session,
                      std::function<bool(const Session&)> holds, Duration time, StopToken gone) {
  Waiter waiter(*session, std::move(holds), reactor);
  waiter.on_log_grew();
  if (waiter.over.is_set()) co_return;
  session->add_reader(waiter);
  reactor.arm(waiter, reactor.clock().now() + time);
  gone.listen(waiter);
  co_await waiter.over.wait();
  reactor.disarm(waiter);
}

}  // namespace berth::server
