#!/usr/bin/python3
"""Bad and hostile HTTP: each request gets a problem document that names the cause, and the server goes on."""

import json
import os
import random
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_server import Server
from summary import figure, main

CONFIG = "[limits]\nhead_timeout = 0.5\nbody_timeout = 0.5\nauth_failures_max = 100000\n"


class Http(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.server = Server(CONFIG).start()
        cls.client = cls.server.client
        host, port = cls.client.url.removeprefix("http://").rsplit(":", 1)
        cls.address = (host, int(port))
        cls.client.open(id="known")

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def exchange(self, request, wait=5, pieces=None):
        """Sends raw bytes; the answers until the server closes or `wait` is over: [(status, headers, body)]."""
        with socket.create_connection(self.address, timeout=wait) as connection:
            try:
                for piece in pieces or [request]:
                    connection.sendall(piece)
                    if pieces:
                        time.sleep(0.001)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it answered before it had all
            data = b""
            try:
                while chunk := connection.recv(65536):
                    data += chunk
            except (TimeoutError, ConnectionResetError):
                pass
        answers = []
        while data:
            head, _, data = data.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:])
            length = int(headers.get("content-length", 0))
            answers.append((int(lines[0].split()[1]), headers, data[:length]))
            data = data[length:]
        return answers

    def expect_problem(self, answer, status, code=None, words=None):
        got, headers, body = answer
        self.assertEqual(got, status, body)
        self.assertEqual(headers["content-type"], "application/problem+json")
        document = json.loads(body)
        self.assertEqual(document["status"], status)
        if code:
            self.assertEqual(document["code"], code, document)
        if words:
            self.assertIn(words, document["detail"])

    def head(self, method="GET", path="/v1/info", extra=""):
        return (f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.client.token}\r\n"
                f"{extra}\r\n").encode()

    def test_wrong_bodies_are_named(self):
        cases = [
            ("/v1/sessions", b"{", 400, "bad_json", "JSON"),
            ("/v1/sessions", b"[]", 422, "bad_field", "object"),
            ("/v1/sessions", b'{"agent":7}', 422, "bad_field", "agent"),
            ("/v1/sessions", b'{"agent":"nobody"}', 422, "bad_field", "nobody"),
            ("/v1/sessions", b'{"id":"a/b"}', 422, "bad_field", "id"),
            ("/v1/sessions", b'{"repo":"/x"}', 422, "unknown_field", "repo"),
            ("/v1/sessions", b'{"repository":"relative"}', 422, "bad_field", "repository"),
            ("/v1/sessions", b'{"repository":"/nonexistent"}', 404, None, "/nonexistent"),
            ("/v1/sessions", b'{"directory":"/nonexistent"}', 422, "bad_field", "directory"),
            ("/v1/sessions", b'{"permission":"yolo"}', 422, "bad_field", "permission"),
            ("/v1/sessions/known/turns", b"{}", 422, "bad_field", "prompt"),
            ("/v1/sessions/known/turns", b'{"prompt":[]}', 422, "bad_field", "prompt"),
            ("/v1/sessions/known/turns", b'{"prompt":[{"type":"text"}]}', 422, "bad_field", "prompt[0].text"),
            ("/v1/sessions/known/turns", b'{"prompt":"x","on_busy":"steal"}', 422, "bad_field", "on_busy"),
            ("/v1/sessions/known/turns", b'{"prompt":"\xff"}', 400, "bad_json", None),
            ("/v1/sessions/unknown/turns", b'{"prompt":"x"}', 404, "session_not_found", "unknown"),
            ("/v1/sessions/known/interactions/x", b'{"option_id":"a","kind":"b"}', 422, "bad_field", "exactly one"),
        ]
        for path, body, status, code, words in cases:
            with self.subTest(body):
                request = self.head("POST", path, f"Content-Length: {len(body)}\r\nConnection: close\r\n") + body
                self.expect_problem(self.exchange(request)[0], status, code, words)

    def test_wrong_paths_methods_and_parameters(self):
        cases = [("GET", "/v1/nothing", 404, "no_such_route"), ("PATCH", "/v1/sessions", 405, "method_not_allowed"),
                 ("GET", "/v1/sessions/known/events?after=-1", 422, "bad_field"),
                 ("GET", "/v1/sessions/known/events?after=x", 422, "bad_field"),
                 ("GET", "/v1/sessions?limit=99999", 422, "bad_field"),
                 ("GET", "/v1/sessions/%zz", 400, "bad_target"), ("GET", "/v1/sessions/..%2f..", 404, None),
                 ("GET", "/v1//sessions", 400, "bad_target"), ("GET", "/v1/sessions/%00", 400, "bad_target")]
        for method, path, status, code in cases:
            with self.subTest(path):
                self.expect_problem(self.exchange(self.head(method, path, "Connection: close\r\n"))[0], status, code)

    def test_without_the_token_everything_but_health_is_closed(self):
        for header in ("", "Authorization: Bearer wrong\r\n", "Authorization: Basic eA==\r\n", "Authorization: Bearer\r\n"):
            for path in ("/v1/info", "/v1/sessions", "/v1/sessions/known/events", "/v1/nothing"):
                request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n".encode()
                self.expect_problem(self.exchange(request)[0], 401, "unauthorized")
        self.assertEqual(self.exchange(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")[0][0], 200)

    def test_a_body_of_100_mb_is_refused_early(self):
        started = time.monotonic()
        request = self.head("POST", "/v1/sessions", f"Content-Length: {100 << 20}\r\n")
        self.expect_problem(self.exchange(None, pieces=[request] + [b"x" * (1 << 20)] * 100)[0], 413)
        chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
        chunked = self.head("POST", "/v1/sessions", "Transfer-Encoding: chunked\r\n")
        self.expect_problem(self.exchange(None, pieces=[chunked] + [chunk] * 100)[0], 413)
        figure("s for two refused bodies of 100 MB", round(time.monotonic() - started, 1))

    def test_slow_heads_and_bodies_time_out(self):
        self.expect_problem(self.exchange(b"GET /v1/info HTTP/1.1\r\nHost:")[0], 408)
        self.expect_problem(self.exchange(self.head("POST", "/v1/sessions", "Content-Length: 10\r\n") + b"{")[0], 408)

    def test_smuggling_attempts_are_refused_and_nothing_behind_them_is_served(self):
        behind = self.head()
        attempts = {
            "length and chunks": "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "two lengths": "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
            "signed length": "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: +3\r\n\r\nabc",
            "list of lengths": "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3, 3\r\n\r\nabc",
            "space before colon": "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length : 3\r\n\r\nabc",
            "folded header": "GET /v1/info HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n",
            "bare LF": "GET /v1/info HTTP/1.1\nHost: localhost\n\n",
            "bare CR": "GET /v1/info HTTP/1.1\r\nHost: localhost\r\nA: b\rc\r\n\r\n",
            "NUL": "GET /v1/info HTTP/1.1\r\nHost: localhost\r\nA: b\0c\r\n\r\n",
            "odd coding": "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            "coding list": "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "no host": "GET /v1/info HTTP/1.1\r\n\r\n",
            "two hosts": "GET /v1/info HTTP/1.1\r\nHost: localhost\r\nHost: y\r\n\r\n",
            "huge chunk": "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n",
            "bad method": "G(T /v1/info HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "HTTP/2.0": "GET /v1/info HTTP/2.0\r\nHost: localhost\r\n\r\n",
        }
        for name, request in attempts.items():
            with self.subTest(name):
                answers = self.exchange(request.encode() + behind)
                self.assertEqual(len(answers), 1, answers)
                self.assertIn(answers[0][0], (400, 401, 501, 505))
                if answers[0][0] != 401:
                    self.expect_problem(answers[0], answers[0][0])

    def test_heads_above_their_limits(self):
        self.expect_problem(self.exchange(f"GET /{'a' * 9000} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())[0], 414)
        many = "".join(f"H{i}: x\r\n" for i in range(200))
        self.expect_problem(self.exchange(f"GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n".encode())[0], 431)

    def test_any_splitting_of_a_request_gives_the_same_answer(self):
        body = b'{"id":"known"}'
        request = self.head("POST", "/v1/sessions", f"Content-Length: {len(body)}\r\nConnection: close\r\n") + body
        whole = self.exchange(request)[0]
        rng = random.Random(3)
        for _ in range(5):
            cuts = sorted(rng.sample(range(1, len(request)), 8))
            pieces = [request[a:b] for a, b in zip([0, *cuts], [*cuts, len(request)])]
            self.assertEqual(self.exchange(None, pieces=pieces)[0][2], whole[2])

    def test_pipelined_requests_are_answered_in_order(self):
        last = self.head("GET", "/readyz", "Connection: close\r\n")
        answers = self.exchange(self.head("GET", "/healthz") + self.head("GET", "/v1/nothing") + last)
        self.assertEqual([a[0] for a in answers], [200, 404, 200])

    def test_mutated_requests_harm_nobody(self):
        rng = random.Random(5)
        body = b'{"prompt":"say hi","on_busy":"reject"}'
        seeds = [self.head("POST", "/v1/sessions/known/turns", f"Content-Length: {len(body)}\r\n") + body,
                 self.head("GET", "/v1/sessions/known/events?after=0&limit=5"), self.head("GET", "/v1/sessions?limit=3")]
        statuses = {}
        for _ in range(1500):
            request = bytearray(rng.choice(seeds))
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(len(request))
                request[at:at + rng.randrange(0, 3)] = bytes(rng.randrange(256) for _ in range(rng.randrange(0, 3)))
            with socket.create_connection(self.address, timeout=5) as connection:
                connection.sendall(bytes(request))
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(65536)
            status = int(answer.split()[1]) if answer else 0
            statuses[status] = statuses.get(status, 0) + 1
        figure("statuses of 1500 mutated requests", dict(sorted(statuses.items())))
        self.assertFalse([s for s in statuses if s >= 500 and s not in (501, 505)], statuses)
        self.assertEqual(self.client.raw("GET", "/readyz").status, 200)


if __name__ == "__main__":
    main()
