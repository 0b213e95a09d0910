#include <berth/server/agents/opencode/requests.h>

#include <berth/core/json_writer.h>

namespace berth::server::opencode {

namespace {

void write_text(JsonWriter& writer, std::string_view text) {
  writer.begin_object().member("type", "text").member("text", text).end_object();
}

void write_file(JsonWriter& writer, std::string_view mime, std::string_view url,
                std::string_view name) {
  writer.begin_object().member("type", "file").member("mime", mime).member("url", url);
  if (!name.empty()) writer.member("filename", name);
  writer.end_object();
}

std::string data_url(std::string_view mime, std::string_view base64) {
  return "data:" + std::string(mime) + ";base64," + std::string(base64);
}

void write_block(JsonWriter& writer, JsonView block) {
  const std::string_view type = block.get_string("type").value_or("");
  const std::string_view mime = block.get_string("mimeType").value_or("");
  if (type == "image" || type == "audio") {
    write_file(writer, mime, data_url(mime, block.get_string("data").value_or("")), {});
  } else if (type == "resource_link") {
    write_file(writer, mime.empty() ? "text/plain" : mime, block.get_string("uri").value_or(""),
               block.get_string("name").value_or(""));
  } else if (type == "resource") {
    const JsonView resource = block.find("resource");
    const std::string_view uri = resource.get_string("uri").value_or("");
    if (const auto text = resource.get_string("text")) {
      write_text(writer, std::string(uri) + ":\n" + std::string(*text));
    } else {
      const std::string_view its = resource.get_string("mimeType").value_or("text/plain");
      write_file(writer, its, data_url(its, resource.get_string("blob").value_or("")), uri);
    }
  } else {
    write_text(writer, block.get_string("text").value_or(""));
  }
}

}  // namespace

std::string prompt_body(std::string_view message_id, const PromptChoice& choice, JsonView blocks) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().member("messageID", message_id);
  if (!choice.agent.empty()) writer.member("agent", choice.agent);
  if (!choice.provider.empty() && !choice.model.empty()) {
    writer.key("model")
        .begin_object()
        .member("providerID", choice.provider)
        .member("modelID", choice.model)
        .end_object();
  }
  if (!choice.variant.empty()) writer.member("variant", choice.variant);
  writer.key("parts").begin_array();
  for (const JsonView& block : blocks.elements()) write_block(writer, block);
  writer.end_array().end_object();
  return out;
}

std::string session_body(const std::vector<std::string>& directories) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  if (!directories.empty()) {
    writer.key("permission").begin_array();
    for (const std::string& directory : directories) {
      writer.begin_object()
          .member("permission", "external_directory")
          .member("pattern", directory + "/*")
          .member("action", "allow")
          .end_object();
    }
    writer.end_array();
  }
  writer.end_object();
  return out;
}

std::string permission_reply(std::string_view option_id) {
  const bool allowed = option_id == "once" || option_id == "always";
  std::string out;
  JsonWriter(out)
      .begin_object()
      .member("reply", allowed ? option_id : std::string_view("reject"))
      .end_object();
  return out;
}

std::string mcp_body(JsonView server) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .member("name", server.get_string("name").value_or(""))
      .key("config")
      .begin_object();
  if (const auto url = server.get_string("url")) {
    writer.member("type", "remote").member("url", *url).key("headers").begin_object();
    for (const JsonView& header : server.elements("headers")) {
      writer.member(header.get_string("name").value_or(""),
                    header.get_string("value").value_or(""));
    }
    writer.end_object();
  } else {
    writer.member("type", "local").key("command").begin_array();
    writer.string(server.get_string("command").value_or(""));
    for (const JsonView& argument : server.elements("args")) {
      writer.string(argument.as_string().value_or(""));
    }
    writer.end_array().key("environment").begin_object();
    for (const JsonView& variable : server.elements("env")) {
      writer.member(variable.get_string("name").value_or(""),
                    variable.get_string("value").value_or(""));
    }
    writer.end_object();
  }
  writer.member_bool("enabled", true).end_object().end_object();
  return out;
}

}  // namespace berth::server::opencode
