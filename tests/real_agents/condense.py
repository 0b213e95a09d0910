#!/usr/bin/python3
"""Makes a transcript for test_replay.py out of what tee.py wrote: condense.py OUT LOG...

The logs are the processes of one session, in order. Folders of the run become /scratch, /state and
/agents; long texts and long lists are cut, since what they say does not matter to berth. Each line of
OUT is {"d": ">" or "<", "m": message}, and {"d": "+"} where a new process begins.
"""

import json
import re
import sys

TEXT_MAX = 160
LIST_MAX = 3
LISTS = ("availableCommands", "options", "availableModes", "availableModels", "configOptions",
         "authMethods", "entries")


def shorter(value, name=None):
    if isinstance(value, dict):
        return {key: shorter(item, key) for key, item in value.items()}
    if isinstance(value, list):
        kept = value[:LIST_MAX] if name in LISTS and "kind" not in str(value[:1]) else value
        return [shorter(item, name) for item in kept]
    if isinstance(value, str) and len(value) > TEXT_MAX and name != "sessionId":
        return value[:TEXT_MAX] + f"...[{len(value) - TEXT_MAX} more]"
    return value


def anonymous(line):
    line = re.sub(r"/tmp/berth-e2e-[a-z0-9_]+/state", "/state", line)
    line = re.sub(r"/tmp/berth-agent-[a-z0-9_]+", "/scratch", line)
    line = re.sub(r"(/[a-zA-Z0-9_.-]+)+/\.cache/berth/agents", "/agents", line)
    return line


def main():
    out, *logs = sys.argv[1:]
    with open(out, "w", encoding="utf-8") as target:
        for log in logs:
            target.write('{"d": "+"}\n')
            with open(log, encoding="utf-8") as source:
                for entry in map(json.loads, map(anonymous, source)):
                    if "m" not in entry:
                        continue
                    prompt = entry["d"] == ">" and entry["m"].get("method") == "session/prompt"
                    message = entry["m"] if prompt else shorter(entry["m"])
                    line = {"d": entry["d"], "m": message}
                    target.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
