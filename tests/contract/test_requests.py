#!/usr/bin/python3
"""Thousands of requests made out of the contract, most with something wrong, and bytes that are hardly HTTP.

No answer of 5xx but for what is documented, no hang, nothing left open; each refusal is a problem document, and one
of a body names the field. BERTH_REQUESTS=100000 BERTH_SEED=7 does more of them; so does BERTH_FULL=1.
"""

import http.client
import json
import os
import random
import shutil
import socket
import sys
import tempfile
import threading
import time
import unittest
from collections import Counter

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))

import contract  # noqa: E402
from berth_client import Problem, session_path  # noqa: E402
from berth_server import BINARY, RSS_COUNTS, Server, describe, make_repository, wait_until  # noqa: E402
from request_maker import PROJECTS, RequestMaker  # noqa: E402
from summary import figure, main  # noqa: E402

COUNT = int(os.environ.get("BERTH_REQUESTS") or (100_000 if os.environ.get("BERTH_FULL") else 4000))
# The same requests each time, but for long runs, which are to find new ones.
SEED = int(os.environ.get("BERTH_SEED") or (time.time_ns() % 1_000_000 if COUNT > 10_000 else 7))
THREADS = 4
RAW_THREADS = 8
HANG = 60  # seconds; only a hang takes so long
WARM = os.path.join(os.path.dirname(os.path.dirname(BINARY)), "bench/agents/berth-scripted-checkpoint")
CONFIG = f"""
[limits]
head_timeout = 0.5
body_timeout = 0.5
idle_timeout = 1
agents_live_max = 8
rest_after = 2
auth_failures_max = 1000000
token_requests_max = 1000000
[agents.warm]
driver = "checkpoint"
command = "{WARM}"
provider = "none"
model = "scripted"
exit_grace = 20
"""
# Statuses of 5xx that docs/api.md has: full or draining, an HTTP that berth does not speak.
ALLOWED_5XX = {501, 503, 505}
ALLOWED_503 = {"overloaded", "remote_unavailable"}


class Wire:
    """A connection that carries whatever bytes a request is made of, again and again while the server lets it."""

    def __init__(self, address, token):
        self._address, self._token = address, token
        self._socket = None

    def ask(self, request):
        """(status, headers, body); the body of a stream is not read."""
        for attempt in (0, 1):
            fresh = self._socket is None
            if fresh:
                self._socket = socket.create_connection(self._address, timeout=HANG)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                try:
                    self._socket.sendall(self._bytes(request))
                except (BrokenPipeError, ConnectionResetError):
                    if not fresh:
                        raise  # it was closed for having idled; else the answer may be there already
                return self._answer(request)
            except (ConnectionError, http.client.BadStatusLine):
                self.close()
                if fresh or attempt:
                    raise
        raise AssertionError("not reached")

    def _answer(self, request):
        answer = http.client.HTTPResponse(self._socket, method=request.method)
        answer.begin()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        stream = headers.get("content-type", "").startswith("text/event-stream")
        body = b"" if stream else answer.read()
        if stream or answer.will_close:
            self.close()
        return answer.status, headers, body

    def _bytes(self, request):
        headers = {"Host": "localhost", "Authorization": f"Bearer {self._token}", **request.headers}
        if request.body is not None:
            headers["Content-Length"] = str(len(request.body))
        lines = [f"{request.method} {request.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + (request.body or b"")

    def close(self):
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Requests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f"\n  figure: seed of the requests: {SEED}", flush=True)
        cls.folder = tempfile.mkdtemp(prefix="berth-requests-")
        cls.repository = make_repository(os.path.join(cls.folder, "repository"))
        cls.server = Server(CONFIG).start()
        cls.client = cls.server.client
        host, port = cls.client.url.removeprefix("http://").rsplit(":", 1)
        cls.address = (host, int(port))
        cls.done = set()  # operations that succeeded once
        cls.sessions = ["plain", "tree", "folder"]
        cls.begin_again()

    @classmethod
    def tearDownClass(cls):
        cls.server.close()
        shutil.rmtree(cls.folder)

    @classmethod
    def begin_again(cls):
        """Gives the sessions that requests are about back, whatever became of them; an id is not used twice."""
        for at, options in enumerate(({}, {"repository": cls.repository}, {"directory": cls.folder})):
            for verb in ("unarchive", "revive"):
                try:
                    cls.client.post(session_path(cls.sessions[at], verb))
                except Problem:
                    pass  # it is gone, or open
            try:
                cls.client.session(cls.sessions[at])
            except Problem:
                cls.sessions[at] = cls.client.open(agent="scripted", **options)["id"]

    def maker(self, number):
        """For one thread. It shares the list of sessions."""
        strings = ["text", "scripted", "warm", self.repository, self.folder, "say hello", "write a.txt b"]
        turns = [turn["id"] for turn in self.client.get(session_path(self.sessions[0], "turns?limit=20"))["turns"]]
        known = {"session": self.sessions, "turn": [*turns, "trn_none"], "interaction": ["int_none"],
                 "agent": ["scripted"], "profile": ["scripted"], "name": ["clerk"],
                 "strings": strings}
        return RequestMaker(contract.of_program(), random.Random(SEED * 1000 + number), known)

    def test_no_request_made_out_of_the_contract_breaks_anything(self):
        self.client.prompt(self.sessions[0], "say hello", wait=20)
        self.run_threads(THREADS, COUNT // 10, self.ask_many)  # so that everything there is has been there once
        before = self.resources()
        began = time.monotonic()
        self.run_threads(THREADS, COUNT, self.ask_many)
        operations = len(contract.of_program().operations)
        figure("operations that did what they are for", f"{len(self.done)} of {operations}")
        self.assertGreater(len(self.done), operations // 3, "requests that all are refused try little")
        figure("requests a second", round(COUNT / (time.monotonic() - began)))
        self.check_nothing_is_left(before)

    def test_no_bytes_break_anything(self):
        count = COUNT // 20
        self.run_threads(RAW_THREADS, count // 10 + 8, self.throw_many)
        before = self.resources()
        self.run_threads(RAW_THREADS, count, self.throw_many)
        self.check_nothing_is_left(before)

    def run_threads(self, threads, count, work):
        """`work(number, how many, statuses)` in each; the first failure of any is this test's."""
        failures, statuses = [], Counter()

        def run(number):
            try:
                work(number, count // threads, statuses)
            except BaseException as failure:  # a thread's end tells nobody
                failures.append(failure)

        running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        if failures:
            raise failures[0]
        figure(f"statuses of {sum(statuses.values())} answers", dict(sorted(statuses.items())))
        self.assertEqual(self.client.raw("GET", "/readyz").status, 200)

    def ask_many(self, number, count, statuses):
        maker, wire = self.maker(number), Wire(self.address, self.client.token)
        for index in range(count):
            if index % 50 == 49 and number == 0:
                self.begin_again()
            request = maker.request()
            try:
                status, headers, body = wire.ask(request)
                self.check_answer(request, status, headers, body)
            except Exception as failure:
                raise AssertionError(f"seed {SEED}, {type(failure).__name__}: {failure}: {request.told()}") from failure
            statuses[status] += 1
            if status < 300:
                self.done.add(request.operation["operationId"])
        wire.close()

    def check_answer(self, request, status, headers, body):
        if status >= 500:
            self.assertIn(status, ALLOWED_5XX, body[:300])
        contract.check(request.method, request.path, status, headers, body)
        if status < 400 or request.method == "HEAD":
            return
        problem = json.loads(body)
        if status == 503:
            self.assertIn(problem["code"], ALLOWED_503)
        if problem["code"] in ("bad_field", "unknown_field"):
            self.assertIn("field", problem, problem)
        self.assertLess(len(body), 10_000, "a problem repeats what it was given")

    def throw_many(self, number, count, statuses):
        maker = self.maker(1000 + number)
        for _ in range(count):
            data, half = maker.raw(self.client.token), maker.random.random() < 0.6
            try:
                answers = self.throw(data, half)
                for status, headers, body in answers:
                    self.check_raw_answer(status, headers, body)
                    statuses[status] += 1
            except Exception as failure:
                raise AssertionError(f"seed {SEED}, {type(failure).__name__}: {failure}: {data[:300]} half={half}") from failure

    def throw(self, data, half):
        """Sends the bytes, then nothing (with `half`, closes the sending side); the answers up to the server's end."""
        received = b""
        with socket.create_connection(self.address, timeout=HANG) as connection:
            try:
                connection.sendall(data)
                if half:
                    connection.shutdown(socket.SHUT_WR)
                while piece := connection.recv(65536):
                    received += piece
            except (BrokenPipeError, ConnectionResetError, OSError) as failure:
                if isinstance(failure, TimeoutError):
                    raise
        return list(answers_in(received))

    def check_raw_answer(self, status, headers, body):
        if status >= 500:
            self.assertIn(status, ALLOWED_5XX, body[:300])
        if status >= 400:
            contract.check("GET", "/no/route", status, headers, body)

    # --- what must not grow ---

    def resources(self):
        """Descriptors, children and KiB of the server once it has come to rest."""
        self.end_everything()
        folder = f"/proc/{self.server.pid}"
        with open(f"{folder}/status", encoding="utf-8") as status:
            resident = int(status.read().partition("VmRSS:")[2].split()[0])
        return len(os.listdir(f"{folder}/fd")), len(self.children()), resident

    def end_everything(self):
        for project in PROJECTS:
            there = {"Berth-Project": project}
            for agent in self.client.call("GET", "/v1/agents", headers=there)["agents"]:
                self.client.call("DELETE", f"/v1/agents/{agent['name']}?force=1&purge=1", headers=there, timeout=HANG)
            while sessions := self.client.call("GET", "/v1/sessions?limit=100&archived=1", headers=there)["sessions"]:
                for session in sessions:
                    self.client.call("DELETE", session_path(session["id"]) + "?force=nested", headers=there, timeout=HANG)
        self.begin_again()

    def children(self):
        path = f"/proc/{self.server.pid}/task/{self.server.pid}/children"
        with open(path, encoding="utf-8") as file:
            return [int(pid) for pid in file.read().split()]

    def check_nothing_is_left(self, before):
        after = self.resources()
        figure("descriptors, children, KiB before and after", (before, after))
        wait_until(lambda: len(self.children()) <= before[1], 30, lambda: describe(self.children()))
        descriptors = f"/proc/{self.server.pid}/fd"
        wait_until(lambda: len(os.listdir(descriptors)) <= before[0] + 2, 30,
                   lambda: [os.readlink(os.path.join(descriptors, name)) for name in os.listdir(descriptors)])
        if RSS_COUNTS:
            # A tenth of the requests came before: what grew with them would be ten times that now.
            self.assertLess(after[2], before[2] + 64 * 1024)
        self.assertNotIn("internal", self.server.log_tail(1 << 20))


def answers_in(data):
    """(status, headers, body) of each whole answer in the bytes that a connection brought."""
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            raise AssertionError(f"no end of a head: {data[:200]}")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        length = int(headers.get("content-length", 0))
        if status == 100:
            length = 0
        if len(rest) < length:
            raise AssertionError(f"an answer of {length} bytes ends after {len(rest)}")
        yield status, headers, rest[:length]
        data = rest[length:]


if __name__ == "__main__":
    main()
