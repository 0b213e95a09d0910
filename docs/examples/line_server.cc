#include "line_server.h"

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/io/sse_stream.h>

#include <charconv>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

using berth::JsonDoc;
using berth::JsonWriter;
using berth::Result;
using berth::StopToken;
using berth::Task;
namespace io = berth::io;

namespace {

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

std::size_t number_of(std::string_view text) {
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
  io::SseStream stream(reactor_, *exchange);
  std::size_t next = number_of(stream.last_event_id());
  const StopToken gone = exchange->gone();  // the client, or the server that is to end
  WakeAll on_gone(news_);
  gone.listen(on_gone);
  Result<void> sent = co_await stream.start();
  while (sent.has_value() && !gone.stop_requested()) {
    if (next >= lines_.size()) {
      co_await news_.wait();
      continue;
    }
    const std::string line = lines_[next++];  // the log may grow, and move, meanwhile
    const std::string id = std::to_string(next);
    const berth::SseMessage message{.id = id, .type = "line", .data = line};
    sent = co_await stream.send(message);
  }
  co_await stream.close();
}
// [follower]
