#include <berth/server/sessions/mcp_servers.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>

#include <optional>
#include <utility>

namespace berth::server {

namespace {

bool holds_values(std::string_view member) {
  return member == "env" || member == "headers";
}

/// The name that a value refers to; nothing when it is a text.
std::optional<std::string_view> secret_in(const JsonView& variable) {
  return variable.get_string("value.secret");
}

}  // namespace

Result<void> check_mcp_servers(std::string_view json, const SecretNames& secrets) {
  const Result<JsonDoc> doc = JsonDoc::parse(json.empty() ? std::string_view("[]") : json);
  if (!doc.has_value() || !doc->root().is_array()) {
    return fail(ErrorKind::invalid, "bad_field", "mcp_servers: must be an array");
  }
  std::size_t index = 0;
  for (const JsonView& server : doc->root().elements()) {
    const std::string at = "mcp_servers[" + std::to_string(index++) + "]";
    if (server.get_string("name").value_or("").empty()) {
      return fail(ErrorKind::invalid, "bad_field", at + ".name: must be a string");
    }
    for (const auto& [name, values] : server.members()) {
      if (!holds_values(name)) continue;
      for (const JsonView& variable : values.elements()) {
        const JsonView value = variable.find("value");
        const std::string place = at + "." + std::string(name);
        if (!value.as_string() && !secret_in(variable)) {
          return fail(ErrorKind::invalid, "bad_field",
                      place + ": a value must be a string or {\"secret\": NAME}");
        }
        if (secret_in(variable) && !secrets.contains(*secret_in(variable))) {
          return fail(ErrorKind::invalid, "bad_field",
                      place + ": the configuration lists no secret \"" +
                          std::string(*secret_in(variable)) + "\"");
        }
      }
    }
  }
  return {};
}

namespace {

/// One server with its secrets; nothing when one is missing, whose name is in `missing` then.
std::optional<std::string> resolved(const JsonView& server, const SecretNames& secrets,
                                    const io::Environment& environment, std::string& missing) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  for (const auto& [name, values] : server.members()) {
    if (!holds_values(name) || !values.is_array()) {
      writer.member_raw(name, values.raw());
      continue;
    }
    writer.key(name).begin_array();
    for (const JsonView& variable : values.elements()) {
      const auto secret = secret_in(variable);
      if (!secret.has_value()) {
        writer.raw(variable.raw());
        continue;
      }
      const auto known = secrets.find(*secret);
      const std::optional<std::string> value =
          known == secrets.end() ? std::nullopt : environment.get(known->second);
      if (!value.has_value()) missing = *secret;
      writer.begin_object()
          .member("name", variable.get_string("name").value_or(""))
          .member("value", value.value_or(""))
          .end_object();
    }
    writer.end_array();
  }
  writer.end_object();
  return missing.empty() ? std::optional(std::move(out)) : std::nullopt;
}

}  // namespace

McpServers resolve_mcp_servers(std::string_view json, const SecretNames& secrets,
                               const io::Environment& environment) {
  McpServers out;
  const Result<JsonDoc> doc = JsonDoc::parse(json.empty() ? std::string_view("[]") : json);
  if (!doc.has_value() || doc->root().elements().empty()) return out;
  JsonWriter writer(out.json);
  writer.begin_array();
  for (const JsonView& server : doc->root().elements()) {
    std::string missing;
    const std::optional<std::string> whole = resolved(server, secrets, environment, missing);
    if (whole.has_value()) {
      writer.raw(*whole);
    } else {
      out.left_out.push_back("mcp_servers." + std::string(server.get_string("name").value_or("?")) +
                             ": berth does not have the secret " + missing);
    }
  }
  writer.end_array();
  return out;
}

}  // namespace berth::server
