#include <berth/server/agents/launch.h>

#include <algorithm>
#include <array>
#include <utility>

namespace berth::server {

namespace {

using Texts = std::vector<std::string>;

/// What every program writes to. /dev itself is hidden: root could read the disks there.
constexpr std::array kDevices = {"/dev/null",    "/dev/zero", "/dev/full", "/dev/random",
                                 "/dev/urandom", "/dev/tty",  "/dev/ptmx", "/dev/pts"};

std::string value_in(const io::LaunchSpec& launch, std::string_view name) {
  for (const auto& [known, value] : launch.environment) {
    if (known == name) return value;
  }
  return {};
}

/// `~/x` and `$XDG_DATA_HOME/x` (and its three sisters) as the agent will read them; empty when
/// there is no home.
std::string expanded(const std::string& path, const io::LaunchSpec& launch) {
  static constexpr std::pair<std::string_view, std::string_view> kFolders[] = {
      {"$XDG_DATA_HOME", "/.local/share"},
      {"$XDG_STATE_HOME", "/.local/state"},
      {"$XDG_CONFIG_HOME", "/.config"},
      {"$XDG_CACHE_HOME", "/.cache"},
  };
  const std::string home = value_in(launch, "HOME");
  if (path.starts_with("~/")) return home.empty() ? std::string() : home + path.substr(1);
  for (const auto& [variable, usual] : kFolders) {
    if (!path.starts_with(variable) || path.size() <= variable.size()) continue;
    std::string folder = value_in(launch, variable.substr(1));
    if (folder.empty() && !home.empty()) folder = home + std::string(usual);
    return folder.empty() ? folder : folder + path.substr(variable.size());
  }
  return path;
}

void add_expanded(Texts& to, const Texts& paths, const io::LaunchSpec& launch) {
  for (const std::string& path : paths) {
    std::string absolute = expanded(path, launch);
    if (absolute.starts_with('/')) to.push_back(std::move(absolute));
  }
}

void set_variable(io::LaunchSpec& launch, const std::string& name, std::string value) {
  std::erase_if(launch.environment, [&](const auto& entry) { return entry.first == name; });
  launch.environment.emplace_back(name, std::move(value));
}

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

LaunchPolicy::LaunchPolicy(LaunchSettings settings, const io::Environment& own,
                           std::string state_directory)
    : settings_(std::move(settings)), own_(own), state_directory_(std::move(state_directory)) {}

Result<LaunchChoice> LaunchPolicy::choose(const AgentProfile& profile, LaunchMode least) const {
  const std::optional<LaunchMode> set = profile.launch ? profile.launch : settings_.mode;
  if (!set && least == LaunchMode::none) {
    if (serves_many(profile)) {
      return LaunchChoice{LaunchMode::none, "its process serves many sessions"};
    }
    return LaunchChoice{support_.restricted ? LaunchMode::restricted : LaunchMode::none,
                        support_.restricted_reason};
  }
  const LaunchMode mode = std::max(set.value_or(LaunchMode::none), least);
  switch (mode) {
    case LaunchMode::none:
      return LaunchChoice{mode, "asked for"};
    case LaunchMode::restricted:
      if (support_.restricted) return LaunchChoice{mode, support_.restricted_reason};
      break;
  }
  return fail(ErrorKind::unsupported, "launch_unsupported",
              "launch = \"" + std::string(to_string(mode)) +
                  "\" cannot be had here: " + support_.restricted_reason);
}

/// A client names folders: none of them is another session's, or berth's.
Result<void> LaunchPolicy::check_folder(const std::string& folder, const std::string& key) const {
  const bool reaches_in = (folder + "/").starts_with(state_directory_ + "/");
  if (!reaches_in) return {};
  for (const char* own : {"/worktrees/", "/workspaces/"}) {
    if ((folder + "/").starts_with(state_directory_ + own + key + "/")) return {};
  }
  return fail(ErrorKind::denied, "launch_folder",
              folder + " is part of berth's state and not of this session");
}

io::Confinement LaunchPolicy::restricted(const AgentProfile& profile, const LaunchOrder& order,
                                         const io::LaunchSpec& launch) const {
  io::Confinement confinement;
  confinement.kind = io::Confinement::Kind::landlock;
  confinement.readable = {"/"};
  // A profile may give its agent another home; the user's is no stranger's.
  for (const std::string& home : {value_in(launch, "HOME"), own_.get("HOME").value_or("")}) {
    if (home.starts_with('/')) confinement.readable.push_back(home);
  }
  // Where what it is told of the past is to be read; a folder, for files in it are replaced.
  confinement.readable.push_back(state_directory_ + "/transcripts/" + order.key + "/");
  confinement.hidden = {"/dev", "/home", "/root", state_directory_};
  confinement.writable.assign(kDevices.begin(), kDevices.end());
  confinement.writable.push_back(scratch() + "/" + order.key + "/");
  for (const Texts* folders : {&order.folders, &order.granted}) {
    confinement.writable.insert(confinement.writable.end(), folders->begin(), folders->end());
  }
  if (serves_many(profile)) {
    confinement.writable.push_back(state_directory_ + "/worktrees");
    confinement.writable.push_back(state_directory_ + "/workspaces");
  }
  add_expanded(confinement.writable, settings_.writable, launch);
  add_expanded(confinement.writable, profile.writable, launch);
  add_expanded(confinement.readable, settings_.readable, launch);
  add_expanded(confinement.readable, profile.readable, launch);
  add_expanded(confinement.hidden, settings_.hidden, launch);
  add_expanded(confinement.hidden, profile.hidden, launch);
  return confinement;
}

Result<io::LaunchSpec> LaunchPolicy::spec(const AgentProfile& profile,
                                          const LaunchOrder& order) const {
  Result<LaunchChoice> choice = choose(profile, order.least);
  if (!choice.has_value()) return fail(std::move(choice.error()));
  io::LaunchSpec launch = launch_of(profile, own_, order.directory, order.tag);
  if (choice->mode == LaunchMode::none) return launch;
  for (const std::string& folder : order.folders) {
    Result<void> checked = check_folder(folder, order.key);
    if (!checked.has_value()) return fail(std::move(checked.error()));
  }
  launch.limits = settings_.limits;
  launch.confinement = restricted(profile, order, launch);
  const bool has_own = std::any_of(profile.environment.begin(), profile.environment.end(),
                                   [](const auto& entry) { return entry.first == "TMPDIR"; });
  if (!has_own) set_variable(launch, "TMPDIR", scratch() + "/" + order.key);
  // Nothing is to be had in berth's own folder, where unconfined shared processes run.
  if (launch.working_directory == state_directory_) {
    launch.working_directory = scratch() + "/" + order.key;
  }
  return launch;
}

}  // namespace berth::server
