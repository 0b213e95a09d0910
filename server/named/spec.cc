#include <berth/server/named/spec.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>

#include <array>
#include <utility>

namespace berth::server {

namespace {

using Field = std::pair<const char*, std::string NamedSpec::*>;

constexpr std::array<Field, 8> kOptions = {{
    {"profile", &NamedSpec::profile},
    {"provider", &NamedSpec::provider},
    {"model", &NamedSpec::model},
    {"directory", &NamedSpec::directory},
    {"repository", &NamedSpec::repository},
    {"base", &NamedSpec::base},
    {"workspace", &NamedSpec::workspace},
    {"permission", &NamedSpec::permission},
}};

constexpr std::array<const char*, 3> kLeaving = {"no", "removing", "purging"};

}  // namespace

std::string to_json(const NamedSpec& spec) {
  std::string json;
  JsonWriter writer(json);
  writer.begin_object().member("name", spec.name).member("session", spec.session);
  writer.member("project", spec.project);
  for (const auto& [key, field] : kOptions) writer.member(key, spec.*field);
  writer.key("args").begin_array();
  for (const std::string& argument : spec.arguments) writer.string(argument);
  writer.end_array()
      .member_bool("wanted", spec.wanted)
      .member("leaving", kLeaving[static_cast<std::size_t>(spec.leaving)])
      .end_object();
  return json;
}

Result<NamedSpec> parse_named_spec(std::string_view json) {
  const Result<JsonDoc> doc = JsonDoc::parse(json);
  NamedSpec spec;
  if (doc.has_value()) {
    const JsonView root = doc->root();
    spec.name = root.get_string("name").value_or("");
    spec.session = root.get_string("session").value_or("");
    spec.project = root.get_string("project").value_or(spec.project);
    for (const auto& [key, field] : kOptions) spec.*field = root.get_string(key).value_or("");
    for (const JsonView& argument : root.elements("args")) {
      spec.arguments.emplace_back(argument.as_string().value_or(""));
    }
    spec.wanted = root.get_bool("wanted").value_or(false);
    const std::string_view leaving = root.get_string("leaving").value_or("no");
    for (std::size_t i = 0; i < kLeaving.size(); ++i) {
      if (leaving == kLeaving[i]) spec.leaving = static_cast<NamedSpec::Leaving>(i);
    }
  }
  if (!is_profile_name(spec.name) || spec.profile.empty() || spec.session.empty()) {
    return fail(ErrorKind::invalid, "bad_agent_file", "it does not describe a named agent");
  }
  return spec;
}

Result<void> check_same_options(const NamedSpec& exists, const NamedSpec& asked) {
  const auto differs = [&](std::string_view what) {
    return fail(ErrorKind::conflict, "agent_conflict",
                std::string(what) + ": the agent " + exists.name + " exists with another one");
  };
  if (asked.project != exists.project) return differs("project");
  for (const auto& [key, field] : kOptions) {
    const std::string& wanted = asked.*field;
    if (!wanted.empty() && wanted != exists.*field) return differs(key);
  }
  if (!asked.arguments.empty() && asked.arguments != exists.arguments) return differs("args");
  return {};
}

AgentProfile derived_profile(const AgentProfile& base, const NamedSpec& spec) {
  AgentProfile profile = base;
  profile.name = spec.name;
  profile.project = spec.project;
  if (!spec.provider.empty()) profile.provider = spec.provider;
  if (!spec.model.empty()) profile.model = spec.model;
  profile.pinned = true;  // it shall run, whoever else wants its place
  profile.arguments.insert(profile.arguments.end(), spec.arguments.begin(), spec.arguments.end());
  return profile;
}

OpenRequest open_request(const NamedSpec& spec) {
  OpenRequest request;
  request.project = spec.project;
  request.id = spec.session;
  request.agent = spec.name;
  request.directory = spec.directory;
  request.repository = spec.repository;
  request.base = spec.base;
  request.workspace = spec.workspace;
  request.permission = spec.permission;
  request.title = "agent " + spec.name;
  return request;
}

}  // namespace berth::server
