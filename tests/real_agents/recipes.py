"""How each real agent is started so that it talks to the scripted model server.

The agents are unmodified: command line, environment and their own configuration are all that is
said here. `home` is a directory that the agent may fill; the user's own home is not touched.
"""

import json
import os
from dataclasses import dataclass

DEFAULT_AGENTS_DIR = os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "berth", "agents")


@dataclass
class Recipe:
    """How to start one agent: exactly this command with exactly this environment added."""

    command: str
    args: list
    env: dict

    def to_toml(self, profile):
        """The table [agents.<profile>]."""

        def quoted(value):  # strings and lists of them are written alike in JSON and TOML
            return json.dumps(value, ensure_ascii=False)

        env = ", ".join(f"{key} = {quoted(value)}" for key, value in self.env.items())
        return (f"[agents.{profile}]\n"
                f"command = {quoted(self.command)}\n"
                f"args = {quoted(self.args)}\n"
                f"env = {{ {env} }}\n")


def opencode(agents_dir, home, model_port, ask=False):
    """opencode in ACP mode. With `ask` it asks before it edits a file or runs a command."""
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
    env = _fresh_home(home)
    env["OPENCODE_CONFIG_CONTENT"] = json.dumps(config)
    # Each of these would reach for the network; none of them is waited for, but offline is offline.
    for switch in ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS"):
        env[f"OPENCODE_DISABLE_{switch}"] = "1"
    return Recipe(_opencode_binary(agents_dir), ["acp"], env)


def _opencode_binary(agents_dir):
    """The package for processors without AVX2 is the same program, built for older instructions."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as cpuinfo:
        suffix = "" if " avx2 " in cpuinfo.read() else "-baseline"
    package = "opencode-linux-x64" + suffix
    return os.path.join(agents_dir, "node_modules", package, "bin", "opencode")


def _fresh_home(home):
    return {
        "HOME": home,
        "XDG_CONFIG_HOME": f"{home}/.config",
        "XDG_DATA_HOME": f"{home}/.local/share",
        "XDG_STATE_HOME": f"{home}/.local/state",
        "XDG_CACHE_HOME": f"{home}/.cache",
    }
