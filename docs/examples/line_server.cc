#include "line_server.h"

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/core/sse.h>

#include <sys/uio.h>
#include <charconv>
#include <coroutine>
#include <cstddef>
#include <string_view>
#include <utility>

using berth::JsonDoc;
using berth::JsonWriter;
using berth::Result;
using berth::StopToken;
using berth::Task;
namespace io = berth::io;

namespace {

// [awaitable]
/// `co_await Written(...)` -> errno: an operation of the reactor as something to await. It lives in
/// the frame of whoever awaits it, which stays until the last callback: that is all it takes.
class Written final : private io::WriteOp, private berth::StopListener {
 public:
  Written(io::Reactor& reactor, io::Handle to, std::string_view bytes, StopToken stop)
      : reactor_(reactor), part_{const_cast<char*>(bytes.data()), bytes.size()}, stop_(stop) {
    handle = to;
    parts = {&part_, 1};
  }

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    waiting_ = waiting;
    reactor_.start(*this);
    stop_.listen(*this);
  }
  int await_resume() const noexcept { return error_; }

 private:
  // A request only: on_written() follows, with what the kernel took until then.
  void on_stop() override { reactor_.cancel(*this); }
  void on_written(int error) override {
    StopListener::unlink();
    error_ = error;
    resume_.arm(reactor_, waiting_);  // later in this turn, not inside of the reactor's callback
  }

  io::Reactor& reactor_;
  iovec part_;
  StopToken stop_;
  std::coroutine_handle<> waiting_;
  berth::ResumeLater resume_;
  int error_ = 0;
};
// [awaitable]

/// A wait for news ends when its client is gone, too: everybody looks again.
class WakeAll final : public berth::StopListener {
 public:
  explicit WakeAll(berth::Event& news) : news_(news) {}
  void on_stop() override {
    news_.set();
    news_.reset();
  }

 private:
  berth::Event& news_;
};

io::HttpResponse problem(int status, std::string_view detail) {
  io::HttpResponse response;
  response.status = status;
  response.content_type = "application/problem+json";
  JsonWriter(response.body)
      .begin_object()
      .member_int64("status", status)
      .member("detail", detail)
      .end_object();
  return response;
}

std::size_t last_event_id(const io::HttpRequest& request) {
  const std::string_view text = request.header("last-event-id");
  std::size_t id = 0;
  std::from_chars(text.data(), text.data() + text.size(), id);
  return id;
}

}  // namespace

io::HttpResponse LineServer::refuse(int status, const berth::Error& error) {
  return problem(status, error.message);
}

// [handler]
Task<void> LineServer::handle(io::HttpExchange& exchange) {
  const io::HttpRequest& request = exchange.request();
  if (request.target != "/lines") {
    const Result<void> sent = co_await exchange.respond(problem(404, "there is /lines only"));
    static_cast<void>(sent);  // the client is gone: nobody to tell
  } else if (request.method == "GET") {
    co_await follow(&exchange);
  } else {
    const Result<void> sent = co_await exchange.respond(append(request));
    static_cast<void>(sent);
  }
}

io::HttpResponse LineServer::append(const io::HttpRequest& request) {
  const Result<JsonDoc> body = JsonDoc::parse(request.body);
  if (!body.has_value()) return problem(400, body.error().message);
  const auto text = body->root().get_string("text");
  if (!text.has_value()) return problem(400, "text is missing");
  lines_.emplace_back();
  JsonWriter(lines_.back()).string(*text);
  news_.set();  // wakes all who wait now
  news_.reset();
  io::HttpResponse created;
  created.status = 201;
  JsonWriter(created.body).begin_object().member_uint64("seq", lines_.size()).end_object();
  return created;
}
// [handler]

// [follower]
/// A follower is a place in the log, not a queue: a slow one costs nothing but its place.
Task<void> LineServer::follow(io::HttpExchange* exchange) {
  std::size_t next = last_event_id(exchange->request());
  io::HttpResponse head;
  head.content_type = "text/event-stream";
  const Result<void> started = co_await exchange->start_stream(std::move(head));
  if (!started.has_value()) co_return;
  const StopToken gone = exchange->gone();  // the client, or the server that is to end
  WakeAll on_gone(news_);
  gone.listen(on_gone);
  while (!gone.stop_requested()) {
    std::string frames;
    for (; next < lines_.size(); ++next) {
      berth::append_sse_event(frames, next + 1, "line", lines_[next]);
    }
    if (frames.empty()) {
      co_await news_.wait();
      continue;
    }
    const int error = co_await Written(reactor_, exchange->handle(), frames, gone);
    if (error != 0) co_return;
  }
}
// [follower]
