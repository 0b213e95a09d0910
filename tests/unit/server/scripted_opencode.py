#!/usr/bin/python3
"""Speaks the part of `opencode serve` 1.18 that the driver uses; what it does stands in the prompt.

    say TEXT    streams TEXT and ends          ask        asks for a permission first
    hang        until it is aborted            die        exits with code 3 in mid-text
    refuse      HTTP 400                       drop       runs, but never answers the request
    lose TEXT   cuts the event stream in mid-text, goes on meanwhile
    count       says how many prompts the session was sent, refused ones too
    late        two idles before anything else
    forget      stores the prompt and does not run it
    unheard permission|question|child    asks in a hole of the stream: only GETs know of it
    remember WORD, recall                over processes too
    hold        until another prompt joins it, which it answers
    trace      says what the headers of its prompt say of a trace
    settings    says its agent and its model
    linger TEXT says more of it when it has ended

Environment: OPENCODE_SERVER_PASSWORD; SCRIPTED_STORE, a folder of known sessions;
SCRIPTED_VERSION; SCRIPTED_SILENT, streams nothing but server.connected.
"""

import base64
import json
import os
import queue
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STORE = os.environ["SCRIPTED_STORE"]
SILENT = bool(os.environ.get("SCRIPTED_SILENT"))
PASSWORD = os.environ.get("OPENCODE_SERVER_PASSWORD", "")
AUTH = "Basic " + base64.b64encode(f"opencode:{PASSWORD}".encode()).decode()
lock = threading.RLock()
streams, busy, messages, children = [], {}, {}, {}
listed = {"permission": {}, "question": {}}
aborted, replies, prompts, joined = {}, {}, {}, {}
ids = 0


def new_id(prefix):
    global ids
    with lock:
        ids += 1
        return f"{prefix}_{os.getpid()}_{ids}"


def emit(kind, **properties):
    if SILENT:
        return
    # Written down now: the caller goes on changing what it passed.
    frame = json.dumps({"directory": "/", "payload": {"id": new_id("evt"), "type": kind,
                                                      "properties": properties}})
    with lock:
        for stream in streams:
            stream.put(frame)


def emit_message(session, info, part=None):
    with lock:
        stored = messages.setdefault(session, {}).setdefault(info["id"], {"info": {}, "parts": {}})
        stored["info"] = dict(info)
        if part:
            stored["parts"][part["id"]] = dict(part)
    if part:
        emit("message.part.updated", sessionID=session, part=part)
    else:
        emit("message.updated", sessionID=session, info=info)


def status(session, kind):
    with lock:
        busy[session] = kind != "idle"
    emit("session.status", sessionID=session, status={"type": kind})
    if kind == "idle":
        emit("session.idle", sessionID=session)


def cut_streams():
    with lock:
        for stream in streams:
            stream.put(None)
        streams.clear()


def ask(session, message_id, kind, heard):
    """Asks, waits for the answer, and returns it."""
    about = "question" if kind == "question" else "permission"
    asked = {"id": new_id("ask"), "sessionID": session,
             "tool": {"messageID": message_id, "callID": "call_1"}}
    if about == "question":
        asked["questions"] = [{"question": "Which?", "header": "Colour", "options": [
            {"label": "red", "description": ""}, {"label": "blue", "description": ""}]}]
    else:
        asked |= {"permission": "edit", "patterns": ["x"], "metadata": {"filepath": "/x"},
                  "always": []}
    if kind == "child":
        asked["sessionID"] = new_id("ses")
        del asked["tool"]
    answered = threading.Event()
    with lock:
        children[asked["sessionID"]] = session if kind == "child" else ""
        listed[about][asked["id"]] = asked
        replies[asked["id"]] = answered
    if heard:
        emit(f"{about}.asked", **asked)
    while not answered.wait(0.1):  # a sub-agent goes on: its session is not silent meanwhile
        emit("session.status", sessionID=session, status={"type": "busy"})
    reply = listed[about].pop(asked["id"])["reply"]
    if heard:
        emit(f"{about}.replied", sessionID=session, requestID=asked["id"], reply="once")
    return "reply " + reply


def user_message(session, message_id):
    emit_message(session, {"id": message_id, "role": "user", "sessionID": session,
                           "time": {"created": int(time.time() * 1000)}})


def remember(session, word):
    with open(os.path.join(STORE, session), "a", encoding="utf-8") as file:
        file.write(word + "\n")
    return "remembered"


def recall(session):
    with open(os.path.join(STORE, session), encoding="utf-8") as file:
        return " ".join(file.read().split())


def answer_joined(session, text):
    """A prompt that joined the run: its answer is a message of its own."""
    message_id, words = joined[session].get()
    del joined[session]
    user_message(session, message_id)
    info = {"id": new_id("msg"), "role": "assistant", "parentID": message_id, "sessionID": session,
            "time": {"created": int(time.time() * 1000)}}
    part = {"id": new_id("prt"), "messageID": info["id"], "sessionID": session, "type": "text",
            "text": text + words, "time": {"start": 1, "end": 2}}
    emit_message(session, info, part)
    emit_message(session, info | {"finish": "stop", "time": info["time"] | {"completed": 3}})


def run(session, message_id, body):
    text = body["parts"][0]["text"]
    verb, _, rest = text.partition(" ")
    if verb == "hold":
        joined[session] = queue.Queue()
    now = int(time.time() * 1000)
    if verb == "late":
        status(session, "idle")
        status(session, "idle")
    user_message(session, message_id)
    if verb == "forget":
        status(session, "idle")
        return
    status(session, "busy")
    info = {"id": new_id("msg"), "role": "assistant", "parentID": message_id, "sessionID": session,
            "time": {"created": now + 1}}
    emit_message(session, info)
    part = {"id": new_id("prt"), "messageID": info["id"], "sessionID": session, "type": "text",
            "text": "", "time": {"start": now}}
    if verb == "ask":
        rest = ask(session, info["id"], "permission", heard=True)
    if verb == "unheard":
        cut_streams()
        rest = ask(session, info["id"], rest, heard=False)
    if verb == "count":
        rest = str(prompts[session])
    if verb == "remember":
        rest = remember(session, rest)
    if verb == "recall":
        rest = recall(session)
    if verb == "trace":
        rest = body["trace"]
    if verb == "settings":
        rest = f"{body.get('agent')} {body.get('model', {}).get('modelID')}"
    late = rest if verb == "linger" else ""
    if late:
        rest = "done"
    emit_message(session, info, part)
    words = (rest or "words").split(" ")
    stop = threading.Event()
    with lock:
        aborted[session] = stop
    for at, word in enumerate(words):
        piece = word if at == len(words) - 1 else word + " "
        emit("message.part.delta", sessionID=session, messageID=info["id"], partID=part["id"],
             field="text", delta=piece)
        part["text"] += piece
        if verb == "lose" and at == 0:
            cut_streams()
    if verb == "die":
        for stream in list(streams):
            stream.join()  # until it is written
        os._exit(3)
    if verb == "hang":
        stop.wait(60)
        emit("session.error", sessionID=session, error={"name": "MessageAbortedError", "data": {}})
        status(session, "idle")
        info["error"] = {"name": "MessageAbortedError", "data": {"message": "Aborted"}}
    part["time"]["end"] = now + 2
    emit_message(session, info, part)
    emit_message(session, info, {
        "id": new_id("prt"), "messageID": info["id"], "sessionID": session, "type": "step-finish",
        "cost": 0.5, "tokens": {"input": 3, "output": 2, "reasoning": 0,
                                "cache": {"read": 0, "write": 0}}})
    info["time"]["completed"] = now + 3
    if "error" not in info:
        info["finish"] = "stop"
    emit_message(session, info)
    if verb == "hold":
        answer_joined(session, " ")
    status(session, "idle")
    if late:
        emit("message.part.delta", sessionID=session, messageID=info["id"], partID=part["id"],
             field="text", delta=late)
        emit("session.idle", sessionID=session)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code, body):
        data = b"" if code == 204 else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.headers["Authorization"] != AUTH:
            return self.answer(401, {})
        path = self.path.split("?")[0].strip("/").split("/")
        if path == ["global", "health"]:
            version = os.environ.get("SCRIPTED_VERSION", "1.18.33")
            return self.answer(200, {"healthy": True, "version": version})
        if path == ["global", "event"]:
            return self.stream()
        if path == ["session", "status"]:
            return self.answer(200, {s: {"type": "busy"} for s, is_busy in busy.items() if is_busy})
        if path[0] == "session" and len(path) == 2:
            if path[1] == "ses_broken":
                return self.answer(500, {"name": "UnknownError", "data": {"message": "broken"}})
            if children.get(path[1]):
                return self.answer(200, {"id": path[1], "parentID": children[path[1]]})
            if not os.path.exists(os.path.join(STORE, path[1])):
                return self.answer(404, {"name": "NotFoundError", "data": {}})
            return self.answer(200, {"id": path[1], "title": "T", "cost": 1})
        if path[-1] == "message":
            with lock:
                return self.answer(200, [{"info": m["info"], "parts": list(m["parts"].values())}
                                         for m in messages.get(path[1], {}).values()])
        if path[0] in listed:
            with lock:
                return self.answer(200, list(listed[path[0]].values()))
        if path == ["agent"]:
            return self.answer(200, [{"name": "build"}, {"name": "plan"}])
        return self.answer(200, [])

    def do_POST(self):
        if self.headers["Authorization"] != AUTH:
            return self.answer(401, {})
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"{}")
        path = self.path.split("?")[0].strip("/").split("/")
        if path == ["session"]:
            session = new_id("ses")
            open(os.path.join(STORE, session), "w", encoding="utf-8").close()
            emit("session.created", sessionID=session, info={"id": session})
            return self.answer(200, {"id": session, "title": "New session - x"})
        if path[-1] == "abort":
            if stop := aborted.get(path[1]):
                stop.set()
            return self.answer(200, True)
        if path[-1] == "reply":
            reply = body["reply"] if path[0] == "permission" else body["answers"][0][0]
            listed[path[0]][path[1]]["reply"] = reply
            replies[path[1]].set()
            return self.answer(200, True)
        if path[-1] == "prompt_async":
            text = body["parts"][0]["text"]
            with lock:
                prompts[path[1]] = prompts.get(path[1], 0) + 1
            if text == "refuse":
                return self.answer(400, {"name": "BadRequest", "data": {"message": "no"}})
            if path[1] in joined:
                joined[path[1]].put((body["messageID"], text))
                return self.answer(204, None)
            body["trace"] = f"{self.headers['traceparent']} {self.headers['tracestate']}"
            threading.Thread(target=run, args=(path[1], body["messageID"], body),
                             daemon=True).start()
            if text.startswith("drop"):
                self.close_connection = True
                return self.connection.close()
            return self.answer(204, None)
        return self.answer(404, {})

    def stream(self):
        frames = queue.Queue()
        frames.put(json.dumps({"payload": {"type": "server.connected", "properties": {}}}))
        with lock:
            streams.append(frames)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        while (frame := frames.get()) is not None:
            try:
                self.wfile.write(b"data: " + frame.encode() + b"\n\n")
            except OSError:
                return
            frames.task_done()


def main():
    port = int(sys.argv[sys.argv.index("--port") + 1])
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    print("scripted agent is here", file=sys.stderr, flush=True)
    print(f"opencode server listening on http://127.0.0.1:{port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
