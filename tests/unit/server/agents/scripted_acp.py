#!/usr/bin/python3
"""An agent that speaks ACP 1, or the draft 2 with --v2; what it does stands in the prompt.

    say TEXT       streams TEXT word by word     remember WORD, recall    over processes too
    hang           until it is cancelled         die      exits with code 3 in mid-text
    hold           until it is steered           refuse   answers with an error
    ask            asks for a permission first   settings says its mode and its model
    linger TEXT    says TEXT when the turn has ended

Environment: SCRIPTED_STORE, a folder of known sessions. stderr gets a line at the start.
"""

import json
import os
import queue
import sys
import threading

STORE = os.environ["SCRIPTED_STORE"]
V2 = "--v2" in sys.argv
NO_SUCH_METHOD = -32601
MODEL = {"type": "select", "name": "Model", "currentValue": "small", "options": [
    {"value": "small", "name": "Small"}, {"value": "large", "name": "Large"}]}
MODE = {"type": "select", "category": "mode", "name": "Mode", "currentValue": "build", "options": [
    {"value": "build", "name": "Build"}, {"value": "plan", "name": "Plan"}]}
wires = threading.Lock()
sessions = {}


def send(**message):
    line = json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")) + "\n"
    with wires:
        sys.stdout.write(line)
        sys.stdout.flush()


class Refused(Exception):

    def __init__(self, code, message):
        super().__init__(message)
        self.error = {"code": code, "message": message}


class Session:

    def __init__(self, name):
        self.name, self.words = name, []
        self.settings = {"mode": "build", "model": "small"}
        self.cancelled, self.steered, self.answers = threading.Event(), queue.Queue(), queue.Queue()
        self.messages = 0
        if os.path.exists(self.path()):
            with open(self.path(), encoding="utf-8") as file:
                self.words = json.load(file)

    def path(self):
        return os.path.join(STORE, self.name)

    def save(self):
        with open(self.path(), "w", encoding="utf-8") as file:
            json.dump(self.words, file)

    def update(self, kind, **rest):
        send(method="session/update",
             params={"sessionId": self.name, "update": {"sessionUpdate": kind, **rest}})

    def say(self, text):
        message = {"messageId": f"m{self.messages}"} if V2 else {}
        words = text.split(" ")
        for at, word in enumerate(words):
            piece = word if at == len(words) - 1 else word + " "
            self.update("agent_message_chunk", content={"type": "text", "text": piece}, **message)

    def state(self, state, **rest):
        if V2:
            self.update("state_update", state=state, **rest)

    def ask(self):
        call = {"toolCallId": "c1", "title": "Write?"}
        subject = {"title": "Write?", "subject": {"type": "tool_call", "toolCall": call}} \
            if V2 else {"toolCall": call}
        send(id="ask-1", method="session/request_permission", params={
            "sessionId": self.name, **subject,
            "options": [{"optionId": "once", "name": "Once", "kind": "allow_once"}]})
        outcome = self.answers.get()["outcome"]
        return outcome.get("optionId") or outcome["outcome"]

    def prompt(self, text):
        """Does as it is told: (stop reason, what it says afterwards)."""
        self.messages += 1
        verb, _, rest = text.partition(" ")
        if verb == "remember":
            self.words.append(rest)
            self.save()
        known = {"say": rest, "remember": "remembered", "recall": " ".join(self.words),
                 "hang": "hanging", "hold": "holding", "die": rest, "linger": "done",
                 "settings": "{mode} {model}".format(**self.settings)}
        if verb == "refuse":
            raise Refused(-32603, "it was refused")
        if verb == "ask":
            return self.say("reply " + self.ask()) or ("end_turn", "")
        self.say(known.get(verb, text))
        if verb == "die":
            os._exit(3)
        if verb == "hang":
            self.cancelled.wait()
            return "cancelled", ""
        if verb == "hold":
            self.say(" " + self.steered.get())
        return "end_turn", rest if verb == "linger" else ""

    def options(self):
        names = ("configId", "value") if V2 else ("id", "value")
        return [{names[0]: "model", **MODEL, "currentValue": self.settings["model"]},
                {names[0]: "mode", **MODE, "currentValue": self.settings["mode"]}]


def run_turn(session, reply_to, text):
    """In v1 the answer to the prompt ends the turn, in v2 the session's being idle."""
    if V2:
        if text.startswith("refuse"):
            return send(id=reply_to, error={"code": -32603, "message": "it was refused"})
        send(id=reply_to, result={"messageId": f"p{session.messages}"})
        session.state("running")
    try:
        reason, afterwards = session.prompt(text)
    except Refused as refused:
        return send(id=reply_to, error=refused.error)
    if V2:
        session.state("idle", stopReason=reason)
    else:
        send(id=reply_to, result={"stopReason": reason})
    if afterwards:
        session.say(afterwards)
    return None


def initialize():
    capabilities = {"session": {}} if V2 else {"loadSession": False,
                                               "sessionCapabilities": {"resume": {}}}
    names = ("capabilities", "info") if V2 else ("agentCapabilities", "agentInfo")
    return {"protocolVersion": 2 if V2 else 1, names[0]: capabilities,
            names[1]: {"name": "scripted", "version": "1"},
            "_meta": {"steering": {"supported": True}}}


def open_session(method, params):
    name = params.get("sessionId")
    if method == "session/new":
        name = f"native-{os.getpid()}-{len(sessions)}"
    elif not os.path.exists(os.path.join(STORE, name)):
        raise Refused(-32002, "Resource not found: " + name)
    session = sessions[name] = Session(name)
    session.save()
    session.state("idle")
    return {"sessionId": name, "configOptions": session.options()}


def configure(session, setting, value):
    if setting not in session.settings or value in ("nowhere", "unheard-of"):
        raise Refused(-32602, "no such value: " + value)
    session.settings[setting] = value
    return {"configOptions": session.options()}


def answer(method, params):
    if method == "initialize":
        return initialize()
    if method in ("session/new", "session/resume"):
        return open_session(method, params)
    if method == "session/set_config_option":
        return configure(sessions[params["sessionId"]], params["configId"], params["value"])
    if method == "_session/steering":
        sessions[params["sessionId"]].steered.put(params["prompt"][0]["text"])
        return {"outcome": "injected"}
    raise Refused(NO_SUCH_METHOD, "Method not found: " + method)


def take(message):
    method, params = message.get("method"), message.get("params", {})
    if method is None:
        for session in sessions.values():
            session.answers.put(message.get("result", {}))
    elif method == "session/cancel":
        sessions[params["sessionId"]].cancelled.set()
    elif method == "session/prompt":
        session = sessions[params["sessionId"]]
        session.cancelled.clear()
        threading.Thread(target=run_turn, daemon=True, args=(
            session, message["id"], params["prompt"][0]["text"])).start()
    elif "id" in message:
        try:
            send(id=message["id"], result=answer(method, params))
        except Refused as refused:
            send(id=message["id"], error=refused.error)


def main():
    print("scripted agent is here", file=sys.stderr, flush=True)
    for line in sys.stdin:
        take(json.loads(line))


if __name__ == "__main__":
    main()
