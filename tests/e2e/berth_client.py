"""A small client of berth's HTTP API and its event streams, for the end-to-end tests.

    with Server(config) as server:  # berth_server.py
        session = server.client.open(agent="scripted", directory="/tmp/x")["id"]
        with server.client.events(session) as stream:
            turn = server.client.prompt(session, "hello")
            ended = stream.wait_for("turn.ended", turn=turn["id"])

Every answer and event is held against the contract of the program (contract.py); nothing else of berth is assumed.
"""

import http.client
import json
import queue
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode, urlsplit

import contract


class Problem(Exception):
    """An answer of 400 or above. `body` is the problem document, when there is one."""

    def __init__(self, method, path, reply):
        self.status, self.headers = reply.status, reply.headers
        is_problem = reply.headers.get("content-type", "").startswith("application/problem+json")
        self.body = json.loads(reply.body) if is_problem else {}
        self.code = self.body.get("code")
        detail = self.body.get("detail") or reply.body[:300]
        super().__init__(f"{method} {path}: {self.status} {self.code}: {detail}")


@dataclass
class Reply:
    """One HTTP answer. `headers` has lower-case names; `body` is bytes."""

    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)


class Client:
    """Calls the API of one server; each call is a connection of its own. Threads may share it."""

    def __init__(self, url, token, tls=None):
        self.url, self.token = url, token
        self._tls = tls  # an ssl.SSLContext, for https
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port

    def raw(self, method, path, body=None, headers=None, timeout=30):
        """Any request and its Reply, whatever the status. `body` is bytes, or a value for JSON."""
        connection = self._connection(timeout)
        try:
            self._send(connection, method, path, body, headers)
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            reply = Reply(answer.status, names, answer.read())
        finally:
            connection.close()
        contract.check(method, path, reply.status, reply.headers, reply.body)
        return reply

    def call(self, method, path, body=None, headers=None, timeout=30):
        """The JSON of a successful answer (None if empty); raises Problem for any other."""
        reply = self.raw(method, path, body, headers, timeout)
        if reply.status >= 400:
            raise Problem(method, path, reply)
        return reply.json() if reply.body else None

    def get(self, path):
        return self.call("GET", path)

    def post(self, path, body=None, headers=None, timeout=30):
        return self.call("POST", path, {} if body is None else body, headers, timeout)

    def open(self, **options):
        """Opens a session with the fields of POST /v1/sessions and returns it."""
        return self.post("/v1/sessions", options)

    def session(self, session):
        return self.get(session_path(session))

    def prompt(self, session, prompt, key=None, wait=None, **options):
        """Queues a turn and returns it; with `wait` in seconds, after its ending."""
        headers = {"Idempotency-Key": key} if key else {}
        if wait:
            headers["Prefer"] = f"wait={wait}"
        return self.post(session_path(session, "turns"), {"prompt": prompt, **options}, headers,
                         timeout=30 + (wait or 0))

    def cancel(self, session, turn):
        return self.post(session_path(session, "turns", turn, "cancel"))

    def agents(self, session):
        return self.get(session_path(session, "agents"))["agents"]

    def log(self, session, after=0):
        """Every event after the cursor, by JSON pages."""
        events = []
        while True:
            path = session_path(session, "events") + f"?after={after}"
            page = self.call("GET", path, headers={"Accept": "application/json"})
            events += [Event.from_data(data) for data in page["events"]]
            if not page["more"]:
                return events
            after = events[-1].seq

    def events(self, session, after=0, last_event_id=None, until=None):
        """An EventStream of the session. With `last_event_id` the cursor travels in the header."""
        query = {"until": until} if until else {}
        if last_event_id is None:
            query["after"] = after
        return EventStream(self, session_path(session, "events") + "?" + urlencode(query), last_event_id)

    def open_stream(self, path, last_event_id=None):
        """The connection and the answer of an event stream; raises Problem for any other answer."""
        headers = {"Accept": "text/event-stream"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = str(last_event_id)
        connection = self._connection(60)
        self._send(connection, "GET", path, None, headers)
        answer = connection.getresponse()
        if answer.status != 200:
            names = {name.lower(): value for name, value in answer.getheaders()}
            reply = Reply(answer.status, names, answer.read())
            contract.check("GET", path, reply.status, reply.headers, reply.body)
            raise Problem("GET", path, reply)
        return connection, answer

    def _connection(self, timeout):
        if self._tls:
            return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self._tls)
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def _send(self, connection, method, path, body, headers):
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        connection.request(method, path, body, sent)


def session_path(session, *rest):
    """The path of a session or of something below it."""
    return "/".join(["/v1/sessions", quote(session, safe=""), *(str(part) for part in rest)])


@dataclass
class Event:
    """One entry of a session's log. `arrived` is time.monotonic() when a stream delivered it."""

    seq: int
    type: str
    time: str
    turn: str
    agent: str
    data: dict
    arrived: float
    whole: dict = field(repr=False)  # as it stands in the log

    @staticmethod
    def from_data(data):
        return Event(data["seq"], data["type"], data["time"], data.get("turn"), data.get("agent"),
                     data["data"], time.monotonic(), data)

    @property
    def update(self):
        """The kind of an `update`, else None."""
        return self.data.get("sessionUpdate") if self.type == "update" else None

    def content(self):
        """What a copy of the log must have in common with the log."""
        return (self.seq, self.type, self.time, self.turn, self.agent, self.data)


def text_of(events, kind="agent_message_chunk"):
    """The text that the agent streamed in these events."""
    chunks = [event.data["content"] for event in events if event.update == kind]
    return "".join(chunk.get("text", "") for chunk in chunks)


class StreamEnded(Exception):
    """The stream ended before what was waited for came."""


class SseReader:
    """A live SSE stream, read by a thread. Derived classes have took(fields), for each frame (comments are in
    `comments`, and leave it empty), and over(), once; both are called on that thread."""

    def __init__(self, client, path, last_event_id=None):
        self.comments = []
        self._connection, self._answer = client.open_stream(path, last_event_id)
        # Close-delimited: the answer owns the socket.
        self._socket = self._connection.sock or self._answer.fp.raw._sock
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self, reset=False):
        """Hangs up; with `reset` as a client does that vanished (RST instead of FIN)."""
        if reset:
            no_linger = struct.pack("ii", 1, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        try:
            self._socket.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
        except OSError:
            pass  # the server was quicker
        self._thread.join()
        self._answer.close()
        self._connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _read(self):
        buffered = b""
        try:
            while piece := self._answer.read1(65536):
                *frames, buffered = (buffered + piece).split(b"\n\n")
                for frame in frames:
                    self._frame(frame.decode())
        except (OSError, http.client.HTTPException, ValueError):
            pass  # cut in the middle: the same as an end, to a client that comes back
        self.over()

    def _frame(self, frame):
        fields = {}
        for line in frame.split("\n"):
            if line.startswith(":"):
                self.comments.append(line[1:].strip())
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
        self.took(fields)


class EventStream(SseReader):
    """The live log of a session; `seen` holds all that was taken from it so far."""

    def __init__(self, client, path, last_event_id=None):
        self.seen, self.last_id = [], None
        self._queue = queue.Queue()
        super().__init__(client, path, last_event_id)

    def took(self, fields):
        if "data" not in fields:
            return
        event = Event.from_data(json.loads(fields["data"]))
        assert (int(fields["id"]), fields["event"]) == (event.seq, event.type), fields
        self._queue.put(event)

    def over(self):
        self._queue.put(None)

    def take(self, timeout=30):
        """The next event; raises StreamEnded at the end and TimeoutError when none comes."""
        try:
            event = self._queue.get(timeout=timeout)
        except queue.Empty:
            message = f"no event for {timeout:.1f} s; {self._summary()}"
            raise TimeoutError(message) from None
        if event is None:
            self._queue.put(None)
            raise StreamEnded(self._summary())
        contract.check_event(event.whole)
        self.seen.append(event)
        self.last_id = event.seq
        return event

    def wait_for(self, wanted, timeout=30, turn=None):
        """Takes events up to the first that fits: a type, or a function of the event."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            event = self.take(left)
            fits = wanted(event) if callable(wanted) else event.type == wanted
            if fits and turn in (None, event.turn):
                return event
        raise TimeoutError(f"{wanted} did not come within {timeout} s; {self._summary()}")

    def wait_for_text(self, text, timeout=30):
        """Takes events until the streamed text of all seen holds `text`; returns the last one."""
        if text in text_of(self.seen):
            return self.seen[-1]
        return self.wait_for(lambda _: text in text_of(self.seen), timeout)

    def drain(self, timeout=30):
        """Takes everything up to the end of the stream and returns all seen."""
        try:
            while True:
                self.take(timeout)
        except StreamEnded:
            return self.seen

    def _summary(self):
        tail = [(event.seq, event.type) for event in self.seen[-5:]]
        return f"seen {len(self.seen)} events, the last: {tail}"
