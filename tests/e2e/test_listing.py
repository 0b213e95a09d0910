#!/usr/bin/python3
"""Sessions in lists: filters and pages; titles, the clients' own state, keys that make retries harmless, and conditions."""

import json
import os
import subprocess
import sys
import threading
import unittest
from urllib.parse import quote

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import Problem, session_path
from berth_server import BINARY, Server, make_repository
from summary import main


class Listing(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server())
        cls.client = cls.server.client

    def refused(self, status, code, names, method, path, body=None, headers=None):
        reply = self.client.raw(method, path, body, headers)
        self.assertEqual((reply.status, reply.json()["code"]), (status, code), reply.body)
        self.assertIn(names, reply.json()["detail"])

    def ids(self, query):
        return [session["id"] for session in self.client.get("/v1/sessions?" + query)["sessions"]]

    def test_pages_are_stable_while_sessions_are_made(self):
        made = [self.client.open(title="paged")["id"] for _ in range(25)]
        seen, after = [], ""
        while True:
            page = self.client.get(f"/v1/sessions?q=paged&limit=4{after}")
            seen += [session["id"] for session in page["sessions"]]
            self.client.open(title="paged, but later")
            if page["next"] is None:
                break
            after = "&after=" + page["next"]
        self.assertEqual(seen, made[::-1], "each once, newest first")

    def test_filters_find_by_title_state_repository_and_time(self):
        repository = make_repository(os.path.join(self.server.folder, "filtered"))
        with_repository = self.client.open(repository=repository, title="Fix the PARSER")["id"]
        archived = self.client.open(title="an old parser")["id"]
        closed = self.client.open(title="done")["id"]
        self.client.post(session_path(archived, "archive"))
        self.client.post(session_path(closed, "close"))
        self.assertEqual(self.ids("q=parser"), [with_repository], "archived ones are hidden")
        self.assertEqual(self.ids("q=parser&archived=1"), [archived, with_repository])
        self.assertEqual(self.ids("q=parser&state=archived"), [archived])
        self.assertIn(closed, self.ids("state=closed"))
        self.assertNotIn(with_repository, self.ids("state=closed"))
        self.assertEqual(self.ids("repository=" + quote(repository)), [with_repository])
        self.assertEqual(self.ids("q=100%25"), [], "no wild cards")
        since = self.client.session(closed)["updated_at"]
        self.assertIn(closed, self.ids("updated_since=" + quote(since)))
        self.assertNotIn(with_repository, self.ids("updated_since=" + quote(since)))
        turn = self.client.prompt(with_repository, "say hello", wait=20)
        self.assertEqual(turn["state"], "completed")
        self.assertIn(with_repository, self.ids("updated_since=" + quote(since)), "a turn is a change")

    def test_bad_filters_are_named(self):
        for query, name in (("state=gone", "state"), ("limit=x", "limit"), ("after=-1", "after"),
                            ("updated_since=yesterday", "updated_since"),
                            ("updated_since=2026-13-01T00:00:00Z", "updated_since"),
                            ("updated_since=2026-02-30T00:00:00Z", "updated_since")):
            self.refused(422, "bad_field", name, "GET", "/v1/sessions?" + query)

    def test_a_title_is_changed_under_a_condition(self):
        session = self.client.open(title="before")["id"]
        path = session_path(session)
        first = self.client.raw("GET", path)
        tag = first.headers["etag"]
        self.assertEqual(self.client.raw("GET", path, headers={"If-None-Match": tag}).status, 304)
        changed = self.client.raw("PATCH", path, {"title": "after"}, {"If-Match": tag})
        self.assertEqual((changed.status, changed.json()["title"]), (200, "after"))
        self.refused(412, "precondition_failed", "If-Match", "PATCH", path, {"title": "lost"}, {"If-Match": tag})
        self.refused(412, "precondition_failed", "If-Match", "DELETE", path, None, {"If-Match": tag})
        again = self.client.raw("GET", path, headers={"If-None-Match": tag})
        self.assertEqual((again.status, again.headers["etag"]), (200, changed.headers["etag"]))
        self.assertEqual([e.data for e in self.client.log(session) if e.type == "session.titled"], [{"title": "after"}])
        self.refused(422, "bad_field", "title", "PATCH", path, {"title": 7})
        self.refused(422, "bad_field", "title", "PATCH", path, {"title": "x" * 1025})
        self.refused(422, "unknown_field", "agent", "PATCH", path, {"agent": "x"})

    def test_clients_keep_their_state_in_a_session(self):
        session = self.client.open()["id"]
        path = session_path(session, "state")
        empty = self.client.raw("GET", path)
        self.assertEqual((empty.json(), empty.headers["etag"]), (None, '"0"'))
        first = self.client.raw("PUT", path, {"draft": "text"}, {"If-None-Match": "*"})
        self.assertEqual((first.status, first.headers["etag"]), (200, '"1"'))
        self.refused(412, "precondition_failed", "If-None-Match", "PUT", path, {}, {"If-None-Match": "*"})
        self.refused(412, "precondition_failed", "If-Match", "PUT", path, {}, {"If-Match": '"0"'})
        self.assertEqual(self.client.raw("PUT", path, [1, 2], {"If-Match": '"1"'}).status, 200)
        self.assertEqual(self.client.get(path), [1, 2])
        self.assertEqual(self.client.raw("GET", path, headers={"If-None-Match": '"2"'}).status, 304)
        self.refused(413, "state_too_big", "client_state_bytes_max", "PUT", path, {"x": "y" * 20_000})
        self.refused(400, "bad_json", "JSON", "PUT", path, b"{")
        self.server.kill()
        self.server.start()
        type(self).client = self.server.client
        self.assertEqual(self.client.get(path), [1, 2], "it survives the server")

    def test_a_key_opens_one_session_however_often_it_is_sent(self):
        answers = []
        call = lambda: answers.append(self.client.raw("POST", "/v1/sessions", {"title": "once"},
                                                      {"Idempotency-Key": "open-1"}))
        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len({answer.json()["id"] for answer in answers}), 1)
        self.assertEqual(sorted(answer.status for answer in answers), [200] * 7 + [201])
        self.server.kill()
        self.server.start()
        type(self).client = self.server.client
        again = self.client.raw("POST", "/v1/sessions", {"title": "once"}, {"Idempotency-Key": "open-1"})
        self.assertEqual((again.json()["id"], again.headers["idempotent-replayed"]), (answers[0].json()["id"], "true"))
        self.refused(422, "idempotency_mismatch", "Idempotency-Key", "POST", "/v1/sessions", {"title": "other"},
                     {"Idempotency-Key": "open-1"})
        self.refused(422, "bad_field", "Idempotency-Key", "POST", "/v1/sessions", {}, {"Idempotency-Key": "k" * 256})

    def test_a_turn_without_a_session_makes_one(self):
        body = {"prompt": "say hi", "session": {"title": "made by a turn"}}
        first = self.client.raw("POST", "/v1/turns", body, {"Idempotency-Key": "turn-1", "Prefer": "wait=20"})
        turn = first.json()
        self.assertEqual((first.status, turn["state"], turn["number"]), (200, "completed", 1))
        self.assertEqual(first.headers["location"], session_path(turn["session"], "turns", turn["id"]))
        self.assertEqual(self.client.session(turn["session"])["title"], "made by a turn")
        again = self.client.raw("POST", "/v1/turns", body, {"Idempotency-Key": "turn-1"})
        self.assertEqual((again.json()["id"], again.headers["idempotent-replayed"]), (turn["id"], "true"))
        before = len(self.ids("limit=1000"))
        self.refused(422, "bad_field", "prompt", "POST", "/v1/turns", {})
        self.refused(422, "bad_field", "agent", "POST", "/v1/turns", {"prompt": "x", "agent": "nobody"})
        self.refused(422, "unknown_field", "session", "POST", "/v1/turns", {"prompt": "x", "session": {"nothing": 1}})
        self.refused(422, "bad_field", "session", "POST", "/v1/turns", {"prompt": "x", "session": 7})
        self.assertEqual(len(self.ids("limit=1000")), before, "what is refused makes nothing")

    def test_inputs_have_a_validator(self):
        session = self.client.open()["id"]
        path = session_path(session, "inputs")
        self.client.prompt(session, "sleep 30000")
        turns = [self.client.prompt(session, text)["id"] for text in ("say a", "say b")]
        tag = self.client.raw("GET", path).headers["etag"]
        self.assertEqual(self.client.raw("GET", path, headers={"If-None-Match": tag}).status, 304)
        moved = self.client.raw("PUT", path, {"order": turns[::-1]}, {"If-Match": tag})
        self.assertEqual(moved.status, 200)
        self.refused(412, "precondition_failed", "If-Match", "PUT", path, {"order": turns}, {"If-Match": tag})
        self.client.call("DELETE", session_path(session) + "?force=1")

    def test_a_purge_leaves_nothing_of_a_session(self):
        session = self.client.open(title="needle in the store")["id"]
        self.client.prompt(session, "say another needle", wait=20)
        self.client.call("PUT", session_path(session, "state"), {"third": "needle"})
        self.assertEqual(self.client.raw("DELETE", session_path(session) + "?purge=1").status, 204)
        with self.assertRaises(Problem) as gone:
            self.client.session(session)
        self.assertEqual(gone.exception.status, 404)
        self.server.stop()
        exported = subprocess.run([BINARY, "--state", self.server.state, "store", "export"], check=True,
                                  capture_output=True, text=True).stdout
        self.assertEqual([line for line in exported.splitlines() if "needle" in line], [])
        self.assertIn(f'"{session}"', exported, "its id is never given out again")
        self.server.start()
        type(self).client = self.server.client
        self.refused(409, "session_conflict", "id", "POST", "/v1/sessions", {"id": session})


if __name__ == "__main__":
    main()
