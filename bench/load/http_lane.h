// bench/load/http_lane.h — a kept-alive connection for control calls, one at a time.
#pragma once

#include "poller.h"

#include <cstdint>
#include <string>

namespace berth::bench {

/// A blocking connect to a loopback port; the socket is non-blocking afterwards.
int connect_to(std::uint16_t port, int receive_buffer = 0);
/// The same; -1 when nobody listens there.
int try_connect(std::uint16_t port, int receive_buffer = 0);
/// A loopback port that nobody has now.
std::uint16_t free_port();

/// Connects again when the server closed it between two calls.
class HttpLane final : private Poller::Handler {
 public:
  HttpLane(Poller& poller, std::uint16_t port, std::string token);
  ~HttpLane();
  HttpLane(const HttpLane&) = delete;
  HttpLane& operator=(const HttpLane&) = delete;

  /// Sends a request; allowed when !busy(). `headers` are whole lines with CR LF.
  void send(const std::string& method, const std::string& path, const std::string& body,
            const std::string& headers = {});
  bool busy() const { return busy_; }
  /// Of the last answer, when !busy().
  int status() const { return status_; }
  const std::string& body() const { return body_; }

  /// Runs the loop until the answer is here.
  void wait();

 private:
  void on_ready(std::uint32_t events) override;
  void open();

  Poller& poller_;
  std::uint16_t port_;
  std::string token_;
  int fd_ = -1;
  bool busy_ = false;
  int status_ = 0;
  std::string input_;
  std::string body_;
};

}  // namespace berth::bench
