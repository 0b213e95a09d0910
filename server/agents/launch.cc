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

/// The system, which a sandbox can read.
constexpr std::array kSystem = {"/usr",    "/bin", "/sbin", "/lib", "/lib32", "/lib64",
                                "/libx32", "/etc", "/opt",  "/nix", "/snap"};
/// Where the proxy is on the loopback device of a sandbox; every sandbox has its own.
constexpr std::uint16_t kProxyPort = 3128;

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

/// A profile that says what a variable is knows why.
void set_unless_given(const AgentProfile& profile, io::LaunchSpec& launch, std::string_view name,
                      std::string value) {
  const auto is_it = [&](const auto& entry) { return entry.first == name; };
  if (std::any_of(profile.environment.begin(), profile.environment.end(), is_it)) return;
  std::erase_if(launch.environment, is_it);
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
  std::string why_not = support_.restricted_reason;
  switch (mode) {
    case LaunchMode::none:
      return LaunchChoice{mode, "asked for"};
    case LaunchMode::restricted:
      if (support_.restricted) return LaunchChoice{mode, support_.restricted_reason};
      break;
    case LaunchMode::sandbox:
      why_not = support_.sandbox_reason;
      if (profile.driver == Driver::opencode) {
        why_not = "berth reaches opencode serve by the network";
      } else if (support_.sandbox) {
        return LaunchChoice{mode, support_.sandbox_reason};
      }
      break;
  }
  return fail(ErrorKind::unsupported, "launch_unsupported",
              "launch = \"" + std::string(to_string(mode)) + "\" cannot be had here: " + why_not);
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

void LaunchPolicy::add_workspaces(const AgentProfile& profile, const LaunchOrder& order,
                                  io::Confinement& confinement) const {
  for (const Texts* folders : {&order.folders, &order.granted, &order.git.written}) {
    confinement.writable.insert(confinement.writable.end(), folders->begin(), folders->end());
  }
  confinement.readable.insert(confinement.readable.end(), order.shown.begin(), order.shown.end());
  if (!order.git.read.empty()) confinement.readable.push_back(order.git.read);
  // Where what it is told of the past is to be read; a folder, for files in it are replaced.
  confinement.readable.push_back(state_directory_ + "/transcripts/" + order.key + "/");
  if (!serves_many(profile)) return;
  confinement.writable.push_back(state_directory_ + "/worktrees");
  confinement.writable.push_back(state_directory_ + "/workspaces");
}

/// What the configuration names.
void LaunchPolicy::add_named(const AgentProfile& profile, const io::LaunchSpec& launch,
                             io::Confinement& confinement) const {
  add_expanded(confinement.writable, settings_.writable, launch);
  add_expanded(confinement.writable, profile.writable, launch);
  add_expanded(confinement.readable, settings_.readable, launch);
  add_expanded(confinement.readable, profile.readable, launch);
  add_expanded(confinement.hidden, settings_.hidden, launch);
  add_expanded(confinement.hidden, profile.hidden, launch);
}

void LaunchPolicy::restrict(const AgentProfile& profile, const LaunchOrder& order,
                            io::LaunchSpec& launch) const {
  io::Confinement& confinement = launch.confinement;
  confinement.kind = io::Confinement::Kind::landlock;
  confinement.readable = {"/"};
  // A profile may give its agent another home; the user's is no stranger's.
  for (const std::string& home : {value_in(launch, "HOME"), own_.get("HOME").value_or("")}) {
    if (home.starts_with('/')) confinement.readable.push_back(home);
  }
  confinement.hidden = {"/dev", "/home", "/root", state_directory_};
  confinement.writable.assign(kDevices.begin(), kDevices.end());
  confinement.writable.push_back(scratch() + "/" + order.key + "/");
  add_workspaces(profile, order, confinement);
  add_named(profile, launch, confinement);
  set_unless_given(profile, launch, "TMPDIR", scratch() + "/" + order.key);
}

/// What it may reach from a sandbox, each once.
Texts LaunchPolicy::hosts_for(const AgentProfile& profile, const std::string& project) const {
  Texts hosts = settings_.egress;
  hosts.insert(hosts.end(), profile.egress.begin(), profile.egress.end());
  const auto own = settings_.project_egress.find(project);
  if (own != settings_.project_egress.end()) {
    hosts.insert(hosts.end(), own->second.begin(), own->second.end());
  }
  std::sort(hosts.begin(), hosts.end());
  hosts.erase(std::unique(hosts.begin(), hosts.end()), hosts.end());
  return hosts;
}

Result<void> LaunchPolicy::sandbox(const AgentProfile& profile, const LaunchOrder& order,
                                   AgentLaunch& launch) const {
  launch.spec.confinement = trial(launch.spec.command, support_.user_namespace).confinement;
  io::Confinement& confinement = launch.spec.confinement;
  const std::string own = scratch() + "/" + order.key;
  confinement.placed = {{own + "/tmp", "/tmp"}};
  const std::string home = value_in(launch.spec, "HOME");
  if (home.starts_with('/') && home.size() > 1) {
    confinement.placed.emplace_back(own + "/home", home);
  }
  add_workspaces(profile, order, confinement);
  add_named(profile, launch.spec, confinement);
  set_unless_given(profile, launch.spec, "TMPDIR", "/tmp");
  if (proxy_ == nullptr) return {};
  egress::Proxy::DoorSpec wanted{order.key, profile.name, {}};
  for (const std::string& host : hosts_for(profile, order.project)) {
    Result<egress::Pattern> pattern = egress::parse_pattern(host);
    if (!pattern.has_value()) return fail(std::move(pattern.error()));
    const bool of_this_machine = pattern->host == "127.0.0.1" && pattern->port != 0;
    if (of_this_machine && pattern->port != kProxyPort) {
      confinement.tunnels.push_back(pattern->port);
    }
    wanted.allowed.push_back(std::move(*pattern));
  }
  Result<std::shared_ptr<egress::Door>> door = proxy_->open(std::move(wanted));
  if (!door.has_value()) return fail(std::move(door.error()));
  launch.door = std::move(*door);
  confinement.egress_socket = launch.door->path();
  confinement.egress_port = kProxyPort;
  const std::string url = "http://127.0.0.1:" + std::to_string(kProxyPort);
  for (const char* name : {"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"}) {
    set_unless_given(profile, launch.spec, name, url);
  }
  for (const char* name : {"no_proxy", "NO_PROXY"}) {
    set_unless_given(profile, launch.spec, name, "localhost,127.0.0.1,::1");
  }
  set_unless_given(profile, launch.spec, "NODE_USE_ENV_PROXY", "1");  // node 24; others ignore it
  return {};
}

io::LaunchSpec LaunchPolicy::trial(const std::string& program, bool user_namespace) const {
  io::LaunchSpec launch;
  launch.command = program;
  launch.environment = {{"PATH", "/usr/bin:/bin"}};
  launch.working_directory = "/";
  launch.tag = "berth-trial";
  io::Confinement& confinement = launch.confinement;
  confinement.kind = io::Confinement::Kind::namespaces;
  confinement.bubblewrap = settings_.bubblewrap;
  confinement.helper = settings_.helper;
  confinement.user_namespace = user_namespace;
  confinement.readable.assign(kSystem.begin(), kSystem.end());
  confinement.hidden = {state_directory_};
  return launch;
}

Result<AgentLaunch> LaunchPolicy::launch(const AgentProfile& profile,
                                         const LaunchOrder& order) const {
  Result<LaunchChoice> choice = choose(profile, order.least);
  if (!choice.has_value()) return fail(std::move(choice.error()));
  AgentLaunch launch{launch_of(profile, own_, order.directory, order.tag), nullptr};
  if (choice->mode != LaunchMode::none) launch.spec.limits = settings_.limits;
  launch.spec.limits.count_memory = settings_.count_memory;
  if (choice->mode == LaunchMode::none) return launch;
  for (const std::string& folder : order.folders) {
    Result<void> checked = check_folder(folder, order.key);
    if (!checked.has_value()) return fail(std::move(checked.error()));
  }
  if (choice->mode == LaunchMode::restricted) {
    restrict(profile, order, launch.spec);
    // Nothing is to be had in berth's own folder, where unconfined shared processes run.
    if (launch.spec.working_directory == state_directory_) {
      launch.spec.working_directory = scratch() + "/" + order.key;
    }
    return launch;
  }
  Result<void> made = sandbox(profile, order, launch);
  if (!made.has_value()) return fail(std::move(made.error()));
  if (launch.spec.working_directory == state_directory_) launch.spec.working_directory = "/tmp";
  return launch;
}

}  // namespace berth::server
