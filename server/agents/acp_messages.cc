#include <berth/server/agents/acp_messages.h>

#include <berth/core/json_writer.h>
#include <berth/core/version.h>

#include <utility>

namespace berth::server::acp {

std::string_view client_capabilities() {
  return R"({"fs":{"readTextFile":false,"writeTextFile":false},"terminal":false,)"
         R"("session":{"configOptions":{"boolean":{}},"notices":{},"compaction":{}},)"
         R"("auth":{"terminal":true},"elicitation":{"form":{},"url":{}}})";
}

std::string initialize_params() {
  std::string out;
  JsonWriter(out)
      .begin_object()
      .member_int64("protocolVersion", kProtocolVersion)
      .member_raw("clientCapabilities", client_capabilities())
      .key("clientInfo")
      .begin_object()
      .member("name", "berth")
      .member("version", kVersion)
      .end_object()
      .end_object();
  return out;
}

Capabilities read_capabilities(const JsonView& initialized) {
  const JsonView caps = initialized.find("agentCapabilities");
  const auto flag = [&](std::string_view path) { return caps.get_bool(path).value_or(false); };
  const auto marker = [&](std::string_view path) { return caps.is_object(path); };
  Capabilities out;
  out.load = flag("loadSession");
  out.resume = marker("sessionCapabilities.resume");
  out.close = marker("sessionCapabilities.close");
  out.additional_directories = marker("sessionCapabilities.additionalDirectories");
  out.mcp_http = flag("mcpCapabilities.http");
  out.mcp_sse = flag("mcpCapabilities.sse");
  out.image = flag("promptCapabilities.image");
  out.audio = flag("promptCapabilities.audio");
  out.embedded_context = flag("promptCapabilities.embeddedContext");
  out.steering = initialized.get_bool("_meta.steering.supported").value_or(false) ||
                 caps.get_bool("_meta.steering.supported").value_or(false);
  return out;
}

std::string open_params(const OpenParams& open) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  if (!open.native_session_id.empty()) writer.member("sessionId", open.native_session_id);
  writer.member("cwd", open.directory)
      .member_raw("mcpServers", open.mcp_servers.empty() ? "[]" : open.mcp_servers);
  if (!open.additional_directories.empty()) {
    writer.key("additionalDirectories").begin_array();
    for (const std::string& directory : open.additional_directories) writer.string(directory);
    writer.end_array();
  }
  writer.end_object();
  return out;
}

void keep_to_capabilities(OpenParams& open, const Capabilities& capabilities,
                          std::vector<std::string>& left_out) {
  if (!open.additional_directories.empty() && !capabilities.additional_directories) {
    left_out.emplace_back("additional_directories: the agent takes none");
    open.additional_directories.clear();
  }
  const Result<JsonDoc> servers =
      JsonDoc::parse(open.mcp_servers.empty() ? std::string_view("[]") : open.mcp_servers);
  std::string kept;
  JsonWriter writer(kept);
  writer.begin_array();
  if (!servers.has_value()) left_out.emplace_back("mcp_servers: no JSON");
  for (const JsonView& server :
       servers.has_value() ? servers->root().elements() : std::vector<JsonView>()) {
    const std::string_view type = server.get_string("type").value_or("stdio");
    if ((type == "http" && !capabilities.mcp_http) || (type == "sse" && !capabilities.mcp_sse)) {
      left_out.push_back("mcp_servers." + std::string(server.get_string("name").value_or("?")) +
                         ": the agent takes none of type " + std::string(type));
      continue;
    }
    writer.raw(server.raw());
  }
  writer.end_array();
  open.mcp_servers = kept == "[]" ? std::string() : std::move(kept);
}

bool drop_optional(OpenParams& open, std::string_view why, std::vector<std::string>& left_out) {
  const auto refused = [&](std::string_view what) {
    left_out.push_back(std::string(what) + ": the agent refused it: " + std::string(why));
    return true;
  };
  if (!open.additional_directories.empty()) {
    open.additional_directories.clear();
    return refused("additional_directories");
  }
  if (!open.mcp_servers.empty()) {
    open.mcp_servers.clear();
    return refused("mcp_servers");
  }
  return false;
}

namespace {

/// What the agent cannot be given, in words.
std::string told(const JsonView& block) {
  const std::string_view type = block.get_string("type").value_or("?");
  if (type == "resource") {
    const JsonView resource = block.find("resource");
    const std::string uri(resource.get_string("uri").value_or("?"));
    if (const auto text = resource.get_string("text")) {
      return "<resource uri=\"" + uri + "\">\n" + std::string(*text) + "\n</resource>";
    }
    return "[the resource " + uri + " is left out: this agent takes no embedded content]";
  }
  return "[" + std::string(type) + " of type " +
         std::string(block.get_string("mimeType").value_or("?")) +
         " is left out: this agent takes none]";
}

}  // namespace

std::string blocks_for(std::string_view blocks, const Capabilities& capabilities) {
  const Result<JsonDoc> doc = JsonDoc::parse(blocks);
  if (!doc.has_value()) return std::string(blocks);
  const auto taken = [&](std::string_view type) {
    if (type == "image") return capabilities.image;
    if (type == "audio") return capabilities.audio;
    if (type == "resource") return capabilities.embedded_context;
    return true;
  };
  bool all = true;
  std::string out;
  JsonWriter writer(out);
  writer.begin_array();
  for (const JsonView& block : doc->root().elements()) {
    if (taken(block.get_string("type").value_or(""))) {
      writer.raw(block.raw());
      continue;
    }
    all = false;
    writer.begin_object().member("type", "text").member("text", told(block)).end_object();
  }
  writer.end_array();
  return all ? std::string(blocks) : out;
}

std::string prompt_params(std::string_view native_session_id, std::string_view blocks,
                          std::string_view meta) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().member("sessionId", native_session_id).member_raw("prompt", blocks);
  if (!meta.empty()) writer.member_raw("_meta", meta);
  writer.end_object();
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

std::string steering_params(std::string_view native_session_id, std::string_view blocks) {
  std::string out;
  JsonWriter(out)
      .begin_object()
      .member("sessionId", native_session_id)
      .member_raw("prompt", blocks)
      .member_raw("_meta", R"({"steering":{"idleBehavior":"promptRequired"}})")
      .end_object();
  return out;
}

std::string permission_result(const AgentAnswer& answer) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().key("outcome").begin_object();
  if (answer.outcome == AgentAnswer::Outcome::selected && !answer.option_id.empty()) {
    writer.member("outcome", "selected").member("optionId", answer.option_id);
  } else {
    writer.member("outcome", "cancelled");
  }
  writer.end_object().end_object();
  return out;
}

std::string elicitation_result(const AgentAnswer& answer) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  switch (answer.outcome) {
    case AgentAnswer::Outcome::accepted:
      writer.member("action", "accept");
      if (!answer.content.empty()) writer.member_raw("content", answer.content);
      break;
    case AgentAnswer::Outcome::declined:
      writer.member("action", "decline");
      break;
    case AgentAnswer::Outcome::selected:
    case AgentAnswer::Outcome::cancelled:
      writer.member("action", "cancel");
      break;
  }
  writer.end_object();
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

}  // namespace berth::server::acp
