#include <berth/server/agents/agent_port.h>

#include <berth/server/agents/profile.h>

namespace berth::server {

std::string_view to_string(Rung rung) {
  switch (rung) {
    case Rung::new_session:
      return "new";
    case Rung::resume:
      return "resume";
    case Rung::load:
      return "load";
    case Rung::history:
      return "history";
  }
  return "new";
}

std::string_view to_string(QuestionKind kind) {
  switch (kind) {
    case QuestionKind::permission:
      return "permission";
    case QuestionKind::elicitation:
      return "elicitation";
    case QuestionKind::client_tool:
      return "client_tool";
  }
  return "permission";
}

std::string_view to_string(Driver driver) {
  switch (driver) {
    case Driver::acp:
      return "acp";
    case Driver::opencode:
      return "opencode";
    case Driver::checkpoint:
      return "checkpoint";
    case Driver::oneshot:
      return "oneshot";
  }
  return "acp";
}

bool AgentPort::steer(std::string_view, std::string_view) {
  return false;
}

bool AgentPort::ping() {
  return false;
}

std::string_view to_string(LaunchMode mode) {
  switch (mode) {
    case LaunchMode::none:
      return "none";
    case LaunchMode::restricted:
      return "restricted";
    case LaunchMode::sandbox:
      return "sandbox";
  }
  return "none";
}

std::optional<LaunchMode> launch_mode_named(std::string_view name) {
  for (const LaunchMode mode : {LaunchMode::none, LaunchMode::restricted, LaunchMode::sandbox}) {
    if (name == to_string(mode)) return mode;
  }
  return std::nullopt;
}

bool serves_many(const AgentProfile& profile) {
  return profile.driver == Driver::opencode || profile.sessions_per_process > 1;
}

const std::vector<std::string>& passed_environment() {
  static const std::vector<std::string> names = {"PATH",  "HOME",   "USER",    "LOGNAME",
                                                 "SHELL", "LANG",   "TERM",    "TMPDIR",
                                                 "TZ",    "LC_ALL", "LC_CTYPE"};
  return names;
}

}  // namespace berth::server
