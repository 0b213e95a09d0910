#!/usr/bin/python3
"""Whose word about clients is taken: X-Forwarded-* and Forwarded from trusted proxies, and from strangers."""

import json
import os
import sys
import unittest
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_server import Server, wait_until
from summary import main

LIMIT = "[limits]\nauth_failures_max = 2\n"
SPOOFED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "berth.example", "X-Forwarded-Prefix": "/tools/b",
           "Forwarded": "for=203.0.113.9;host=berth.example", "Origin": "https://berth.example"}


class Forwarded(unittest.TestCase):
    def start(self, config):
        server = Server(config).start()
        self.addCleanup(server.close)
        return server

    def audited(self, server):
        path = os.path.join(server.state, "audit.jsonl")
        wait_until(lambda: os.path.exists(path) and os.path.getsize(path))
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def wrong_token(self, server, address):
        """The status that somebody with a wrong token gets."""
        token, server.client.token = server.client.token, "wrong"
        try:
            return server.client.raw("GET", "/v1/info", headers={"X-Forwarded-For": address}).status
        finally:
            server.client.token = token

    def test_a_stranger_is_not_believed(self):
        for config in (LIMIT, 'trusted_proxies = ["10.0.0.0/8", "::2", "unix"]\n' + LIMIT):
            server = self.start(config)
            reply = server.client.raw("POST", "/v1/sessions", {"id": "a"}, SPOOFED)
            self.assertEqual((reply.status, reply.json()["code"]), (403, "forbidden_origin"))
            own = {name: value for name, value in SPOOFED.items() if name != "Origin"}
            reply = server.client.raw("POST", "/v1/sessions", {"id": "a"}, own)
            self.assertEqual((reply.status, reply.headers["location"]), (201, "/v1/sessions/a"))
            wait_until(lambda: len(self.audited(server)) == 2)
            for line in self.audited(server):
                self.assertTrue(line["peer"].startswith("127.0.0.1:"), line)
            # Another made-up address for each guess does not help.
            statuses = [self.wrong_token(server, f"203.0.113.{i}") for i in range(4)]
            self.assertEqual(statuses, [401, 401, 429, 429])

    def test_a_trusted_proxy_is(self):
        server = self.start('trusted_proxies = ["127.0.0.0/8"]\n' + 'allowed_hosts = ["berth.example"]\n' + LIMIT)
        reply = server.client.raw("POST", "/v1/sessions", {"id": "a"}, SPOOFED)
        self.assertEqual((reply.status, reply.headers["location"]), (201, "/tools/b/v1/sessions/a"))
        # The proxy may leave the path as it was; the contract knows no such path.
        request = urllib.request.Request(f"{server.client.url}/tools/b/v1/sessions/a",
                                         headers={**SPOOFED, "Authorization": f"Bearer {server.client.token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            self.assertEqual(answer.status, 200)
        self.assertEqual(self.audited(server)[0]["peer"], "203.0.113.9")
        # The page of another site stays one, and a host that is not ours too.
        foreign = {**SPOOFED, "Origin": "https://evil.example"}
        self.assertEqual(server.client.raw("GET", "/v1/info", headers=foreign).json()["code"], "forbidden_origin")
        rebound = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "evil.example"}
        self.assertEqual(server.client.raw("GET", "/v1/info", headers=rebound).json()["code"], "forbidden_host")
        # Each client has a limit of its own, and what it writes in front of its address is nothing.
        self.assertEqual([self.wrong_token(server, f"6.6.6.{i}, 203.0.113.7") for i in range(3)], [401, 401, 429])
        self.assertEqual(self.wrong_token(server, "203.0.113.8"), 401)

    def test_one_kind_of_header_is_read_and_never_the_other(self):
        server = self.start('trusted_proxies = ["127.0.0.1"]\nproxy_header = "forwarded"\n')
        headers = {"X-Forwarded-For": "6.6.6.6", "Forwarded": 'for=6.6.6.6, for="[2001:db8::7]:99"'}
        server.client.raw("POST", "/v1/sessions", {"id": "a"}, headers)
        self.assertEqual(self.audited(server)[0]["peer"], "[2001:db8::7]")

    def test_what_is_no_address_is_refused(self):
        for line in ('trusted_proxies = ["proxy.example"]', 'trusted_proxies = ["10.0.0.0/40"]', 'proxy_header = "via"'):
            server = Server(line + "\n")
            self.addCleanup(server.close)
            with self.assertRaisesRegex(AssertionError, line.split()[0]):
                server.start()


if __name__ == "__main__":
    main()
