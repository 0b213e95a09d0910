#include <berth/server/agents/acp_messages.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/core/version.h>

#include <algorithm>
#include <cctype>

namespace berth::server::acp {

std::string initialize_params() {
  std::string out;
  JsonWriter(out)
      .begin_object()
      .member_int64("protocolVersion", kProtocolVersion)
      .key("clientCapabilities")
      .begin_object()
      .key("fs")
      .begin_object()
      .member_bool("readTextFile", false)
      .member_bool("writeTextFile", false)
      .end_object()
      .member_bool("terminal", false)
      .end_object()
      .key("clientInfo")
      .begin_object()
      .member("name", "berth")
      .member("version", kVersion)
      .end_object()
      .end_object();
  return out;
}

std::string new_session_params(std::string_view directory) {
  std::string out;
  JsonWriter(out)
      .begin_object()
      .member("cwd", directory)
      .member_raw("mcpServers", "[]")
      .end_object();
  return out;
}

std::string restore_params(std::string_view native_session_id, std::string_view directory) {
  std::string out;
  JsonWriter(out)
      .begin_object()
      .member("sessionId", native_session_id)
      .member("cwd", directory)
      .member_raw("mcpServers", "[]")
      .end_object();
  return out;
}

std::string prompt_params(std::string_view native_session_id, std::string_view blocks) {
  std::string out;
  JsonWriter(out)
      .begin_object()
      .member("sessionId", native_session_id)
      .member_raw("prompt", blocks)
      .end_object();
  return out;
}

std::string session_params(std::string_view native_session_id) {
  std::string out;
  JsonWriter(out).begin_object().member("sessionId", native_session_id).end_object();
  return out;
}

std::string set_mode_params(std::string_view native_session_id, std::string_view mode) {
  std::string out;
  JsonWriter(out)
      .begin_object()
      .member("sessionId", native_session_id)
      .member("modeId", mode)
      .end_object();
  return out;
}

std::string set_config_params(std::string_view native_session_id, std::string_view id,
                              std::string_view json_value) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().member("sessionId", native_session_id).member("configId", id);
  if (json_value == "true" || json_value == "false") writer.member("type", "boolean");
  writer.member_raw("value", json_value).end_object();
  return out;
}

std::string permission_result(std::string_view option_id) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().key("outcome").begin_object();
  if (option_id.empty()) {
    writer.member("outcome", "cancelled");
  } else {
    writer.member("outcome", "selected").member("optionId", option_id);
  }
  writer.end_object().end_object();
  return out;
}

std::string text_blocks(std::string_view text) {
  std::string out;
  JsonWriter(out)
      .begin_array()
      .begin_object()
      .member("type", "text")
      .member("text", text)
      .end_object()
      .end_array();
  return out;
}

namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

/// Shapes seen in real agents: -32002 is ACP's own; opencode and codex say -32603 or -32602 with
/// "not found" in the text; pi and kimi -32602; gemini "Invalid session identifier".
const std::vector<ErrorShape>& known_shapes() {
  static const std::vector<ErrorShape> shapes = {
      {-32002, ""},
      {-32602, "not found"},
      {-32602, "unknown session"},
      {-32602, "no such session"},
      {-32602, "session not"},
      {-32602, "invalid session"},
      {-32603, "notfound"},
      {-32603, "not found"},
      {-32603, "unknown session"},
      {-32603, "no conversation found"},
      {-32603, "no rollout found"},
      {-32603, "invalid session"},
      {-32000, "invalid session"},
      {-32000, "session not found"},
  };
  return shapes;
}

}  // namespace

RestoreFailure classify_restore_error(std::string_view error,
                                      const std::vector<ErrorShape>& shapes) {
  const Result<JsonDoc> parsed = JsonDoc::parse(error);
  if (!parsed.has_value()) return RestoreFailure::other;
  const std::int64_t code = parsed->root().get_int64("code").value_or(0);
  const std::string text = lower(error);
  const auto matches = [&](const ErrorShape& shape) {
    return shape.code == code && text.find(shape.text_contains) != std::string::npos;
  };
  if (std::any_of(shapes.begin(), shapes.end(), matches) ||
      std::any_of(known_shapes().begin(), known_shapes().end(), matches)) {
    return RestoreFailure::unknown_session;
  }
  if (code == -32601) return RestoreFailure::method_missing;
  if (code == -32000) return RestoreFailure::needs_login;
  return RestoreFailure::other;
}

}  // namespace berth::server::acp
