#!/usr/bin/python3
"""An ACP agent that runs each prompt as a shell command and says what came of it: `[exit code] output`."""

import json
import subprocess
import sys

cwd = "/"


def text_of(blocks):
    """berth may put a story before what was asked: the last block is the prompt's."""
    return [block["text"] for block in blocks if block["type"] == "text"][-1]


def say(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


for line in sys.stdin:
    request = json.loads(line)
    method, params = request.get("method"), request.get("params", {})
    if method == "initialize":
        result = {"protocolVersion": 1, "agentCapabilities": {}}
    elif method == "session/new":
        cwd = params["cwd"]
        result = {"sessionId": "only"}
    elif method == "session/prompt":
        done = subprocess.run(["/bin/sh", "-c", text_of(params["prompt"])], cwd=cwd, timeout=60, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")
        update = {"sessionUpdate": "agent_message_chunk",
                  "content": {"type": "text", "text": f"[{done.returncode}] {done.stdout}"}}
        say({"method": "session/update", "params": {"sessionId": "only", "update": update}})
        result = {"stopReason": "end_turn"}
    else:
        continue
    if "id" in request:
        say({"id": request["id"], "result": result})
