#include <berth/server/agents/acp_errors.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_rpc.h>

#include <algorithm>
#include <cctype>
#include <utility>
#include <vector>

namespace berth::server::acp {

namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

/// -32002 is ACP's own; opencode and codex say -32603 or -32602 with "not found" in the text; pi
/// and kimi -32602; gemini -32603 with "Invalid session identifier" or "No previous sessions".
const std::vector<ErrorShape>& unknown_session_shapes() {
  static const std::vector<ErrorShape> shapes = {
      {-32002, ""},
      {-32602, "not found"},
      {-32602, "unknown session"},
      {-32602, "no such session"},
      {-32602, "session not"},
      {-32602, "unknown sessionid"},
      {-32602, "invalid session"},
      {-32603, "notfound"},
      {-32603, "not found"},
      {-32603, "unknown session"},
      {-32603, "no conversation found"},
      {-32603, "no rollout found"},
      {-32603, "no previous sessions"},
      {-32603, "invalid session"},
      {-32000, "invalid session"},
      {-32000, "session not found"},
  };
  return shapes;
}

/// gemini gives the HTTP status of its model server as the code of JSON-RPC.
const std::vector<ErrorShape>& transient_shapes() {
  static const std::vector<ErrorShape> shapes = {
      {429, ""},
      {502, ""},
      {503, ""},
      {504, ""},
      {-32603, "timed out"},
      {-32603, "timeout"},
      {-32603, "econnre"},  // ECONNRESET, ECONNREFUSED
      {-32603, "eagain"},
      {-32603, "ebusy"},
      {-32603, "is locked"},
      {-32603, "temporarily"},
      {-32603, "try again"},
      {-32603, "overloaded"},
  };
  return shapes;
}

bool matches_any(const std::vector<ErrorShape>& shapes, std::int64_t code,
                 const std::string& text) {
  return std::any_of(shapes.begin(), shapes.end(), [&](const ErrorShape& shape) {
    return shape.code == code && text.find(lower(shape.text_contains)) != std::string::npos;
  });
}

std::int64_t code_of(std::string_view error) {
  const Result<JsonDoc> parsed = JsonDoc::parse(error);
  return parsed.has_value() ? parsed->root().get_int64("code").value_or(0) : 0;
}

/// A word for a shell that a person pastes it into.
std::string quoted(std::string_view word) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '_' || c == '/' || c == '.' || c == '=' || c == ':';
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return std::string(word);
  std::string out = "'";
  for (const char c : word) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

/// The command of a terminal login: the agent's own command with the method's arguments appended
/// and its environment laid over.
std::string terminal_login(const AgentProfile& profile, const JsonView& method,
                           std::string_view details) {
  std::string command;
  const std::string prefix = details.empty() ? std::string() : std::string(details) + ".";
  for (const auto& [name, value] : method.find(prefix + "env").members()) {
    command += std::string(name) + "=" + quoted(value.as_string().value_or("")) + " ";
  }
  command += quoted(profile.command);
  for (const std::string& argument : profile.arguments) command += " " + quoted(argument);
  for (const JsonView& argument : method.elements(prefix + "args")) {
    command += " " + quoted(argument.as_string().value_or(""));
  }
  return command;
}

}  // namespace

Failure classify(std::string_view error, const AgentProfile& profile) {
  const std::int64_t code = code_of(error);
  const std::string text = lower(error);
  if (matches_any(profile.transient, code, text)) return Failure::transient;
  if (matches_any(profile.unknown_session, code, text)) return Failure::unknown_session;
  if (matches_any(unknown_session_shapes(), code, text)) return Failure::unknown_session;
  if (matches_any(transient_shapes(), code, text)) return Failure::transient;
  if (code == kRpcMethodNotFound) return Failure::method_missing;
  if (code == -32000) return Failure::needs_login;
  if (code == kRpcInvalidParams) return Failure::bad_params;
  return Failure::other;
}

bool is_login_error(std::string_view error) {
  return code_of(error) == -32000;
}

std::string login_instructions(const AgentProfile& profile, std::string_view auth_methods) {
  std::string out = "the agent " + profile.name + " wants a login";
  const Result<JsonDoc> doc =
      JsonDoc::parse(auth_methods.empty() ? std::string_view("[]") : auth_methods);
  const char* separator = ": ";
  for (const JsonView& method :
       doc.has_value() ? doc->root().elements() : std::vector<JsonView>()) {
    out += std::exchange(separator, "; or ");
    out += method.get_string("name").value_or(method.get_string("id").value_or("(unnamed)"));
    // The terminal type of the protocol, and the same in `_meta`, as qwen says it.
    if (method.get_string("type").value_or("") == "terminal") {
      out += ", in a terminal: " + terminal_login(profile, method, {});
    } else if (method.get_string("_meta.type").value_or("") == "terminal") {
      out += ", in a terminal: " + terminal_login(profile, method, "_meta");
    } else if (const auto text = method.get_string("description"); text && !text->empty()) {
      out += " (" + std::string(*text) + ")";
    }
  }
  return out;
}

}  // namespace berth::server::acp
