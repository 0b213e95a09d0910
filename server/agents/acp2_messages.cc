#include <berth/server/agents/acp2_messages.h>

#include <berth/core/version.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace berth::server::acp2 {

namespace {

/// `object` with members renamed; `value_of` may give another value (raw), empty = its own.
template <typename ValueOf>
void copy_renamed(JsonWriter& writer, const JsonView& object, std::string_view from,
                  std::string_view to, ValueOf value_of) {
  writer.begin_object();
  for (const auto& [name, value] : object.members()) {
    const std::string other = value_of(name, value);
    writer.member_raw(name == from ? to : name, other.empty() ? value.raw() : other);
  }
  writer.end_object();
}

std::string no_other(std::string_view, const JsonView&) {
  return {};
}

}  // namespace

// --- initialize ---

std::string initialize_params() {
  std::string info;
  JsonWriter(info).begin_object().member("name", "berth").member("version", kVersion).end_object();
  std::string out;
  JsonWriter(out)
      .begin_object()
      .member_int64("protocolVersion", kProtocolVersion)
      .member_raw("info", info)
      .member_raw("capabilities", R"({"auth":{"terminal":{}},"elicitation":{"form":{},"url":{}}})")
      .member_raw("clientInfo", info)
      .member_raw("clientCapabilities", acp::client_capabilities())
      .end_object();
  return out;
}

acp::Capabilities read_capabilities(const JsonView& initialized) {
  const JsonView caps = initialized.find("capabilities");
  const auto marker = [&](std::string_view path) { return caps.is_object(path); };
  acp::Capabilities out;
  out.resume = marker("session");
  out.close = marker("session");
  out.additional_directories = marker("session.additionalDirectories");
  out.mcp_http = marker("session.mcp.http");
  out.image = marker("session.prompt.image");
  out.audio = marker("session.prompt.audio");
  out.embedded_context = marker("session.prompt.embeddedContext");
  out.steering = initialized.get_bool("_meta.steering.supported").value_or(false) ||
                 caps.get_bool("_meta.steering.supported").value_or(false);
  return out;
}

std::string auth_methods(const JsonView& initialized) {
  const std::vector<JsonView> methods = initialized.elements("authMethods");
  if (methods.empty()) return {};
  std::string out;
  JsonWriter writer(out);
  writer.begin_array();
  for (const JsonView& method : methods) {
    copy_renamed(writer, method, "methodId", "id",
                 [](std::string_view name, const JsonView& value) -> std::string {
                   if (name != "env" || !value.is_array()) return {};
                   std::string env;
                   JsonWriter variables(env);
                   variables.begin_object();
                   for (const JsonView& variable : value.elements()) {
                     variables.member(variable.get_string("name").value_or("?"),
                                      variable.get_string("value").value_or(""));
                   }
                   variables.end_object();
                   return env;
                 });
  }
  writer.end_array();
  return out;
}

// --- sessions ---

std::string open_params(const acp::OpenParams& open) {
  if (open.mcp_servers.empty()) return acp::open_params(open);
  const Result<JsonDoc> servers = JsonDoc::parse(open.mcp_servers);
  acp::OpenParams typed = open;
  typed.mcp_servers.clear();
  JsonWriter writer(typed.mcp_servers);
  writer.begin_array();
  for (const JsonView& server :
       servers.has_value() ? servers->root().elements() : std::vector<JsonView>()) {
    writer.begin_object();
    if (!server.get_string("type")) writer.member("type", "stdio");  // which v1 leaves out
    for (const auto& [name, value] : server.members()) writer.member_raw(name, value.raw());
    writer.end_object();
  }
  writer.end_array();
  return acp::open_params(typed);
}

std::string set_config_params(std::string_view native_session_id, std::string_view id,
                              std::string_view json_value) {
  const bool boolean = json_value == "true" || json_value == "false";
  std::string out;
  JsonWriter(out)
      .begin_object()
      .member("sessionId", native_session_id)
      .member("configId", id)
      .member("type", boolean ? "boolean" : "id")
      .member_raw("value", json_value)
      .end_object();
  return out;
}

std::string config_options(const JsonView& options) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_array();
  for (const JsonView& option : options.elements()) {
    copy_renamed(writer, option, "configId", "id",
                 [](std::string_view name, const JsonView& value) -> std::string {
                   if (name != "options" || !value.is_array()) return {};
                   std::string groups;
                   JsonWriter each(groups);
                   each.begin_array();
                   for (const JsonView& choice : value.elements()) {
                     copy_renamed(each, choice, "groupId", "group", no_other);
                   }
                   each.end_array();
                   return groups;
                 });
  }
  writer.end_array();
  return out;
}

// --- tool calls ---

namespace {

/// v1 has no other words for these.
std::string_view status_in_v1(std::string_view status) {
  if (status == "paused") return "in_progress";
  return status == "cancelled" ? "failed" : status;
}

void append_paths(std::vector<std::string>& paths, const JsonView& content) {
  for (const JsonView& part : content.elements()) {
    for (const JsonView& change : part.elements("changes")) {
      for (const char* name : {"oldPath", "path"}) {
        const std::string path(change.get_string(name).value_or(""));
        if (!path.empty() && std::find(paths.begin(), paths.end(), path) == paths.end())
          paths.push_back(path);
      }
    }
  }
}

/// Where the call works: what it says, and every file that its diffs change.
void write_locations(JsonWriter& writer, const JsonView& call) {
  std::vector<std::string> paths;
  append_paths(paths, call.find("content"));
  const std::vector<JsonView> said = call.elements("locations");
  if (paths.empty() && !call.find("locations").is_array()) return;
  writer.key("locations").begin_array();
  for (const JsonView& location : said) {
    std::erase(paths, std::string(location.get_string("path").value_or("")));
    writer.raw(location.raw());
  }
  for (const std::string& path : paths) {
    writer.begin_object().member("path", path).end_object();
  }
  writer.end_array();
}

}  // namespace

std::string tool_content(const JsonView& content) {
  if (content.get_string("type").value_or("") != "diff") return content.raw();
  // v1's diff is both texts of one file; v2's is a patch of several.
  std::string text(content.get_string("patch.text").value_or(""));
  if (text.empty()) {
    for (const JsonView& change : content.elements("changes")) {
      text += std::string(change.get_string("operation").value_or("change")) + " " +
              std::string(change.get_string("path").value_or("?")) + "\n";
    }
  }
  std::string out;
  JsonWriter(out)
      .begin_object()
      .member("type", "content")
      .key("content")
      .begin_object()
      .member("type", "text")
      .member("text", "```diff\n" + text + "```")
      .end_object()
      .key("_meta")
      .begin_object()
      .member_raw("berth/diff", content.raw())
      .end_object()
      .end_object();
  return out;
}

void write_tool_call(JsonWriter& writer, const JsonView& call) {
  for (const auto& [name, value] : call.members()) {
    if (name == "sessionUpdate" || name == "locations") continue;
    if (name == "title" && value.is_null()) continue;
    if (name == "status" && value.as_string()) {
      writer.member("status", status_in_v1(*value.as_string()));
    } else if (name != "content") {
      writer.member_raw(name, value.raw());
    } else {
      writer.key("content").begin_array();
      for (const JsonView& part : value.elements()) writer.raw(tool_content(part));
      writer.end_array();
    }
  }
  write_locations(writer, call);
}

std::string permission_params(const JsonView& params) {
  const JsonView subject = params.find("subject");
  const JsonView call = subject.find("toolCall");
  const std::string_view title = params.get_string("title").value_or("");
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  for (const auto& [name, value] : params.members()) {
    if (name != "subject") writer.member_raw(name, value.raw());
  }
  writer.key("toolCall").begin_object();
  if (call.is_object()) {
    write_tool_call(writer, call);
    if (!call.get_string("title")) writer.member("title", title);
  } else {
    writer.member("toolCallId", subject.get_string("toolCallId").value_or(""))
        .member("title", title);
    if (subject.get_string("command")) {
      writer.member("kind", "execute").key("rawInput").begin_object();
      writer.member("command", *subject.get_string("command"));
      writer.member("cwd", subject.get_string("cwd").value_or("")).end_object();
    }
  }
  writer.end_object().end_object();
  return out;
}

}  // namespace berth::server::acp2
