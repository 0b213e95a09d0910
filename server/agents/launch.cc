#include <berth/server/agents/launch.h>

#include <utility>

namespace berth::server {

namespace {

std::vector<std::pair<std::string, std::string>> environment_of(const AgentProfile& profile,
                                                                const io::Environment& own) {
  std::vector<std::pair<std::string, std::string>> environment;
  for (const std::string& name : passed_environment()) {
    if (auto value = own.get(name)) environment.emplace_back(name, *value);
  }
  const auto set = [&](const std::string& name, const std::string& value) {
    std::erase_if(environment, [&](const auto& entry) { return entry.first == name; });
    environment.emplace_back(name, value);
  };
  for (const auto& [name, own_name] : profile.environment_from) {
    if (auto value = own.get(own_name)) set(name, *value);
  }
  for (const auto& [name, value] : profile.environment) set(name, value);
  return environment;
}

}  // namespace

io::LaunchSpec launch_of(const AgentProfile& profile, const io::Environment& own,
                         std::string directory, std::string tag) {
  io::LaunchSpec launch;
  launch.command = profile.command;
  launch.arguments = profile.arguments;
  launch.environment = environment_of(profile, own);
  launch.working_directory =
      profile.working_directory.empty() ? std::move(directory) : profile.working_directory;
  launch.tag = std::move(tag);
  return launch;
}

}  // namespace berth::server
