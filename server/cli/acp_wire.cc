#include <berth/server/cli/acp_wire.h>

#include <berth/core/json_writer.h>

#include <utility>

namespace berth::server {

namespace {

class StopReading final : public StopListener {
 public:
  StopReading(io::ByteStream& stream, StopToken stop) : stream_(stream) { stop.listen(*this); }

 private:
  void on_stop() override {
    stream_.cancel_read();
    stream_.cancel_write();
  }
  io::ByteStream& stream_;
};

}  // namespace

Task<void> AcpWire::serve(AcpHandler* handler, StopToken stop) {
  handler_ = handler;
  Scope scope(reactor_);
  {
    const StopReading stop_reading(*stream_, stop);
    scope.spawn(write());
    LineFramer framer(*this);
    for (;;) {
      const Result<std::string_view> piece = co_await stream_->read();
      if (!piece.has_value() || piece->empty()) break;
      framer.feed(*piece);
    }
    framer.finish();
    deaf_ = true;
    for (const auto& [id, asked] : asked_) asked->answer.give(std::nullopt);
    co_await handler->on_end();
    finishing_ = true;
    wake_.set();
    co_await scope.join();
  }
  co_await stream_->close();
}

/// Writes what is there in one piece, then what came meanwhile.
Task<void> AcpWire::write() {
  for (;;) {
    co_await wake_.wait();
    wake_.reset();
    while (!out_.empty()) {
      const std::string bytes = std::exchange(out_, {});
      if (broken_) continue;
      const Result<void> wrote = co_await stream_->write(bytes);
      broken_ = !wrote.has_value();
      if (!congested()) relieved_.set();
    }
    relieved_.set();
    if (finishing_) co_return;
  }
}

void AcpWire::send(std::string_view line) {
  out_ += line;
  out_ += '\n';
  if (congested()) relieved_.reset();
  wake_.set();
}

void AcpWire::on_line(Line& line) {
  Result<JsonDoc> message = JsonDoc::parse(line.text());
  if (!message.has_value()) return refuse("null", kRpcParseError, message.error().message);
  take(std::move(*message));
}

void AcpWire::on_overlong(std::uint64_t total_bytes, std::string_view) {
  refuse("null", kRpcInvalidRequest,
         "a message of " + std::to_string(total_bytes) + " bytes is too long");
}

void AcpWire::take(JsonDoc message) {
  const JsonView root = message.root();
  const JsonView id = root.find("id");
  const std::optional<std::string_view> method = root.get_string("method");
  if (method) {
    if (!id.present()) return handler_->on_notification(*method, root.find("params"));
    return handler_->on_request(id.raw(), *method, root.find("params"));
  }
  if (!root.is_object()) return refuse("null", kRpcInvalidRequest, "is no JSON-RPC message");
  const std::optional<std::int64_t> number = id.as_int64();
  const auto asked = number ? asked_.find(*number) : asked_.end();
  // An answer to nothing: late, after $/cancel_request.
  if (asked == asked_.end()) return;
  asked->second->answer.give(std::move(message));
}

void AcpWire::answer(std::string_view id, std::string_view result) {
  send(rpc_result(id, result));
}

void AcpWire::refuse(std::string_view id, int code, std::string_view message) {
  send(rpc_error(id, code, message));
}

void AcpWire::notify(std::string_view method, std::string_view params) {
  send(rpc_notification(method, params));
}

Task<Result<JsonDoc>> AcpWire::ask(std::string method, std::string params, StopToken stop) {
  if (deaf_) co_return fail(ErrorKind::cancelled, "cancelled", "the client is gone");
  const std::int64_t id = next_id_++;
  Asked asked(reactor_);
  asked_.emplace(id, &asked);
  send(rpc_request(id, method, params));
  const bool answered = co_await asked.answer.wait(stop);
  asked_.erase(id);
  if (!answered) {
    notify("$/cancel_request", "{\"requestId\":" + std::to_string(id) + "}");
    co_return fail(ErrorKind::cancelled, "cancelled", "nobody waits any more");
  }
  std::optional<JsonDoc> answer = asked.answer.take();
  if (!answer) co_return fail(ErrorKind::cancelled, "cancelled", "the client is gone");
  co_return std::move(*answer);
}

std::string with_session(const JsonView& params, std::string_view session) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().member("sessionId", session);
  for (const auto& [name, value] : params.members()) {
    // A request of the agent's own that it asks for is nothing to our client.
    if (name != "sessionId" && name != "requestId") writer.member_raw(name, value.raw());
  }
  writer.end_object();
  return out;
}

}  // namespace berth::server
