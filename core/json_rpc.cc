#include <berth/core/json_rpc.h>

#include <berth/core/json_writer.h>

namespace berth::inline v0 {

namespace {

/// What every message begins with, with room for the rest.
JsonWriter begin_message(std::string& line, std::size_t bytes) {
  constexpr std::size_t kAllElse = 96;
  line.reserve(bytes + kAllElse);
  JsonWriter writer(line);
  writer.begin_object().member("jsonrpc", "2.0");
  return writer;
}

}  // namespace

std::string rpc_request(std::int64_t id, std::string_view method, std::string_view params) {
  std::string line;
  begin_message(line, method.size() + params.size())
      .member_int64("id", id)
      .member("method", method)
      .member_raw("params", params)
      .end_object();
  return line;
}

std::string rpc_notification(std::string_view method, std::string_view params) {
  std::string line;
  begin_message(line, method.size() + params.size())
      .member("method", method)
      .member_raw("params", params)
      .end_object();
  return line;
}

std::string rpc_result(std::string_view raw_id, std::string_view result) {
  std::string line;
  begin_message(line, raw_id.size() + result.size())
      .member_raw("id", raw_id)
      .member_raw("result", result)
      .end_object();
  return line;
}

std::string rpc_error(std::string_view raw_id, int code, std::string_view message,
                      std::string_view data) {
  std::string line;
  JsonWriter writer = begin_message(line, raw_id.size() + message.size() + data.size());
  writer.member_raw("id", raw_id).key("error").begin_object();
  writer.member_int64("code", code).member("message", message);
  if (!data.empty()) writer.member_raw("data", data);
  writer.end_object().end_object();
  return line;
}

}  // namespace berth::inline v0
