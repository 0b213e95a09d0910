#include <berth/server/agents/built_in.h>

#include <algorithm>
#include <cctype>
#include <utility>
#include <vector>

namespace berth::server {

namespace {

using std::chrono::seconds;

/// Of agents that speak with any provider.
const std::vector<std::string> kProviders = {
    "*.anthropic.com",  "*.openai.com", "*.googleapis.com", "openrouter.ai", "*.mistral.ai",
    "api.deepseek.com", "api.groq.com", "api.x.ai",         "models.dev",    "opencode.ai",
    "*.opencode.ai",    "*.kilo.ai",    "*.cline.bot"};

/// How each agent differs from a plain ACP agent, where it keeps its login, settings and
/// sessions, and whom it asks. docs/agents.md names the versions of those that
/// are proved. goose is from its documentation: nobody ran it here.
std::vector<AgentProfile> known_agents() {
  std::vector<AgentProfile> agents;
  const auto add = [&](const char* name, const char* command, std::vector<std::string> arguments,
                       bool proved, std::vector<std::string> own_folders,
                       std::vector<std::string> hosts) -> AgentProfile& {
    AgentProfile& profile = agents.emplace_back();
    profile.name = name;
    profile.command = command;
    profile.arguments = std::move(arguments);
    profile.proved = proved;
    profile.writable = std::move(own_folders);
    profile.egress = std::move(hosts);
    return profile;
  };

  add("opencode", "opencode", {"acp"}, true,
      {"$XDG_DATA_HOME/opencode/", "$XDG_STATE_HOME/opencode/", "$XDG_CONFIG_HOME/opencode/",
       "$XDG_CACHE_HOME/opencode/"},
      kProviders);
  add("qwen", "qwen", {"--acp"}, true, {"~/.qwen/"},
      {"dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "*.qwen.ai"});

  AgentProfile& gemini = add("gemini", "gemini", {"--acp"}, true, {"~/.gemini/"},
                             {"*.googleapis.com", "accounts.google.com"});
  // It streams a loaded history without waiting for it, and answers meanwhile; the commands come
  // last.
  gemini.replay_ends_with = "available_commands_update";
  // Its file is named by the minute and the session: a load in the same minute writes an empty
  // history over it.
  gemini.waits_for_next_minute = true;

  add("claude", "claude-agent-acp", {}, true,
      {"~/.claude/", "~/.claude.json", "$XDG_CACHE_HOME/claude-cli-nodejs/"},
      {"*.anthropic.com", "claude.ai", "*.claude.com"});
  // It ends 2 to 7 seconds after its stdin.
  add("codex", "codex-acp", {}, true, {"~/.codex/"}, {"*.openai.com", "chatgpt.com"})
      .timeouts.exit_grace = seconds(8);
  add("pi", "pi-acp", {}, true, {"~/.pi/"}, kProviders);
  add("kimi", "kimi", {"acp"}, true, {"~/.kimi/", "$XDG_DATA_HOME/kimi/"},
      {"*.moonshot.ai", "*.moonshot.cn", "*.kimi.com"});
  add("copilot", "copilot", {"--acp"}, true, {"~/.copilot/"},
      {"*.githubcopilot.com", "api.github.com", "github.com"});
  add("cline", "cline", {"--acp"}, true, {"~/.cline/"}, kProviders);
  add("kilo", "kilo", {"acp"}, true,
      {"$XDG_DATA_HOME/kilo/", "$XDG_STATE_HOME/kilo/", "$XDG_CONFIG_HOME/kilo/",
       "$XDG_CACHE_HOME/kilo/"},
      kProviders);
  add("goose", "goose", {"acp"}, false,
      {"$XDG_DATA_HOME/goose/", "$XDG_STATE_HOME/goose/", "$XDG_CONFIG_HOME/goose/"}, kProviders);
  return agents;
}

}  // namespace

bool is_profile_name(std::string_view name) {
  const auto allowed = [](unsigned char c) {
    return std::islower(c) || std::isdigit(c) || c == '-';
  };
  return !name.empty() && name.size() <= 64 && name.front() != '-' &&
         std::all_of(name.begin(), name.end(), allowed);
}

AgentProfiles built_in_agents(const std::string& scripted_agent) {
  AgentProfiles profiles;
  for (AgentProfile& agent : known_agents()) {
    std::string name = agent.name;
    profiles.emplace(std::move(name), std::move(agent));
  }
  AgentProfile scripted;
  scripted.name = "scripted";
  scripted.command = scripted_agent;
  scripted.proved = true;
  profiles.emplace("scripted", std::move(scripted));
  return profiles;
}

}  // namespace berth::server
