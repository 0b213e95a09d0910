// server/auth/guarded_exchange.h — an exchange whose every answer has the headers of the door, and
// which ends with its caller's token.
#pragma once

#include <berth/core/stop.h>
#include <berth/io/http_server.h>
#include <berth/server/api/problem.h>

#include <functional>
#include <utility>

namespace berth::server {

/// Stands between a route and `inner`, which outlives it. Used like it.
class GuardedExchange final : public io::HttpExchange, private StopListener {
 public:
  explicit GuardedExchange(io::HttpExchange& inner) : inner_(inner), gone_(inner.gone()) {}

  /// gone() stops when `token` does, too.
  void end_with(StopToken token) { token.listen(*this); }
  void add_headers(HttpHeaders headers) { added_ = std::move(headers); }
  /// `add` completes every problem document before it is answered.
  void on_problem(std::function<void(io::HttpResponse&)> add) { on_problem_ = std::move(add); }
  /// Of the answer that was given; 0 before.
  int status() const { return status_; }

  const io::HttpRequest& request() const override { return inner_.request(); }
  Task<Result<void>> respond(io::HttpResponse response) override {
    return inner_.respond(with_headers(std::move(response)));
  }
  Task<Result<void>> begin_body(io::HttpResponse head) override {
    return inner_.begin_body(with_headers(std::move(head)));
  }
  Task<Result<void>> write_body(std::string_view piece) override {
    return inner_.write_body(piece);
  }
  Task<Result<void>> start_stream(io::HttpResponse head) override {
    return inner_.start_stream(with_headers(std::move(head)));
  }
  io::Outlet& outlet() override { return inner_.outlet(); }
  StopToken gone() override { return gone_.token(); }

 private:
  void on_stop() override { gone_.request_stop(); }
  io::HttpResponse with_headers(io::HttpResponse response) {
    status_ = response.status;
    if (on_problem_ && response.content_type == kProblemType) on_problem_(response);
    response.headers.insert(response.headers.end(), added_.begin(), added_.end());
    return response;
  }

  io::HttpExchange& inner_;
  StopSource gone_;
  HttpHeaders added_;
  std::function<void(io::HttpResponse&)> on_problem_;
  int status_ = 0;
};

}  // namespace berth::server
