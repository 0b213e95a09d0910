#!/usr/bin/python3
"""Streams of several sessions and the watch stream: no gap and no duplicate, over reconnects and restarts."""

import json
import os
import random
import sys
import threading
import time
import unittest
from urllib.parse import urlencode

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import SseReader, session_path
from berth_server import Server, wait_until
from summary import main


class Sse(SseReader):
    """Any stream of events as it comes: (id, type, data) in `seen`."""

    def __init__(self, client, path, last=None):
        self.seen, self.last, self.ended = [], last, threading.Event()
        self._grew = threading.Condition()
        super().__init__(client, path, last)

    def took(self, fields):
        with self._grew:
            self.last = fields.get("id", self.last)
            if "data" in fields:
                self.seen.append((fields.get("id"), fields["event"], json.loads(fields["data"])))
            self._grew.notify_all()

    def over(self):
        with self._grew:
            self.ended.set()
            self._grew.notify_all()

    def wait(self, condition, timeout=40):
        """Until `condition(self.seen)` holds; its value."""
        deadline = time.monotonic() + timeout
        with self._grew:
            while not (value := condition(self.seen)):
                left = deadline - time.monotonic()
                if left <= 0 or self.ended.is_set():
                    raise AssertionError(f"not within {timeout} s: the last are {self.seen[-3:]}")
                self._grew.wait(left)
            return value


def is_log(event):
    return "seq" in event[2]


def places(seen):
    return [(data["session"], data["seq"]) for _, _, data in filter(is_log, seen)]


def ended(seen, session, count=1):
    return sum(1 for _, kind, data in seen if kind == "turn.ended" and data["session"] == session) >= count


class Streams(unittest.TestCase):

    def setUp(self):
        self.server = self.enterContext(Server("[limits]\nheartbeat = 1\nstream_sessions_max = 40\n"))

    @property
    def client(self):
        return self.server.client

    def stream(self, sessions, last=None, **query):
        wanted = sessions if isinstance(sessions, str) else ",".join(sessions)
        return Sse(self.client, "/v1/events?" + urlencode({"sessions": wanted, **query}), last)

    def refused(self, status, names, path, headers=None):
        reply = self.client.raw("GET", path, headers=headers)
        self.assertEqual(reply.status, status, reply.body)
        self.assertIn(names, reply.json()["detail"])
        return reply

    def logs_of(self, sessions):
        return {session: [event.content() for event in self.client.log(session)] for session in sessions}

    def test_events_are_those_of_each_session_with_its_name(self):
        sessions = [self.client.open()["id"] for _ in range(3)]
        with self.stream(sessions) as stream:
            for session in sessions:
                self.client.prompt(session, f"say hello {session}", wait=20)
            stream.wait(lambda seen: all(ended(seen, session) for session in sessions))
            for session in sessions:
                mine = [data for _, _, data in stream.seen if data.get("session") == session and "seq" in data]
                single = self.client.get(session_path(session, "events"))["events"]
                self.assertEqual([{k: v for k, v in data.items() if k != "session"} for data in mine],
                                 single[:len(mine)])

    def test_reconnects_at_any_event_leave_no_gap_and_no_duplicate(self):
        sessions = [self.client.open()["id"] for _ in range(4)]
        for session in sessions:
            self.client.prompt(session, "say " + "word " * 30)
        with self.stream(sessions) as stream:
            stream.wait(lambda seen: all(ended(seen, session) for session in sessions))
            whole = list(stream.seen)
        for at in random.Random(7).sample(range(1, len(whole)), 12):
            with self.stream(sessions, last=whole[at][0]) as again:
                expected = sorted(places(whole[at + 1:]))
                got = again.wait(lambda seen: len(places(seen)) >= len(expected) and sorted(places(seen)))
                self.assertEqual(got[:len(expected)], expected, f"after {at} of {len(whole)}")

    def test_a_stream_goes_on_over_the_death_of_the_server(self):
        sessions = [self.client.open()["id"] for _ in range(3)]
        last, seen = None, []
        for round_number in range(4):
            with self.stream(sessions, last=last) as stream:
                for session in sessions:
                    self.client.prompt(session, f"say round {round_number}", on_busy="queue")
                stream.wait(lambda now: len(now) > 5)
                self.server.kill()
                self.assertTrue(stream.ended.wait(20))
                last, seen = stream.last, seen + stream.seen
            self.server.start()
        ends = {session: len(log) for session, log in self.logs_of(sessions).items()}
        with self.stream(sessions, last=last) as stream:
            behind = lambda now: {s: max(q for t, q in places(seen + now) if t == s) for s in sessions}
            stream.wait(lambda now: all(behind(now)[s] >= ends[s] for s in sessions))
            seen += stream.seen
        for session in sessions:
            mine = [seq for name, seq in places(seen) if name == session]
            self.assertEqual(mine, list(range(1, len(mine) + 1)), "in order, each once")
        self.assertEqual([data for _, kind, data in seen if kind == "reset"], [])

    def test_all_sessions_of_the_project_and_those_that_come(self):
        old = self.client.open()["id"]
        self.client.prompt(old, "say before", wait=20)
        with self.stream("*") as stream:
            stream.wait(lambda seen: seen and seen[0][1] == "stream.opened")
            new = self.client.open()["id"]
            self.client.prompt(new, "say new", wait=20)
            self.client.prompt(old, "say again", wait=20)
            stream.wait(lambda seen: ended(seen, new) and ended(seen, old))
            self.assertEqual([seq for name, seq in places(stream.seen) if name == new][0], 1, "a new one from its start")
            self.assertGreater([seq for name, seq in places(stream.seen) if name == old][0], 1, "an old one from now")
            last, seen = stream.last, list(stream.seen)
        # While nobody listens: one more session, and more of the others.
        away = self.client.open()["id"]
        self.client.prompt(away, "say away", wait=20)
        self.client.prompt(old, "say meanwhile", wait=20)
        self.server.kill()
        self.server.start()
        with self.stream("*", last=last) as stream:
            stream.wait(lambda now: ended(now, away) and ended(now, old))
            seen += stream.seen
        for session, log in self.logs_of([old, new, away]).items():
            mine = [seq for name, seq in places(seen) if name == session]
            self.assertEqual(mine, list(range(mine[0], mine[0] + len(mine))))
            self.assertLessEqual(set(range(mine[0], ended_at(log) + 1)), set(mine))

    def test_what_cannot_be_followed_is_told(self):
        kept, gone = self.client.open()["id"], self.client.open()["id"]
        with self.stream([kept, gone]) as stream:
            stream.wait(lambda seen: len(places(seen)) >= 2)
            last = stream.last
        self.client.call("DELETE", session_path(gone) + "?purge=1")
        with self.stream([kept, gone], last=last) as stream:
            reset = stream.wait(lambda seen: [data for _, kind, data in seen if kind == "reset"])
            self.assertEqual([(r["session"], r["reason"]) for r in reset], [(gone, "session_not_found")])
            self.client.prompt(kept, "say on", wait=20)
            stream.wait(lambda seen: ended(seen, kept))
        ahead = "1.0." + ".".join(f"{number:x}-zzz" for number in range(1, 9))
        with self.stream([kept], last=ahead) as stream:
            reset = stream.wait(lambda seen: [data for _, kind, data in seen if kind == "reset"])
            self.assertEqual((reset[0]["session"], reset[0]["reason"]), (kept, "cursor_ahead"))

    def test_other_projects_are_neither_followed_nor_watched(self):
        other = {"Berth-Project": "other"}
        foreign = self.client.post("/v1/sessions", {}, other)["id"]
        mine = self.client.open()["id"]
        self.refused(404, foreign, f"/v1/events?sessions={foreign}")
        with self.stream("*", **{"from": "start"}) as stream, Sse(self.client, "/v1/watch") as watch:
            watch.wait(lambda seen: any(kind == "ready" for _, kind, _ in seen))
            later = self.client.post("/v1/sessions", {}, other)["id"]
            for session in (foreign, later):
                self.client.post(session_path(session, "turns"), {"prompt": "say unseen"}, {"Prefer": "wait=20", **other})
            self.client.prompt(mine, "say seen", wait=20)
            stream.wait(lambda seen: ended(seen, mine))
            watch.wait(lambda seen: [d for _, _, d in seen if d.get("id") == mine][-1]["turn"] is None)
            shown = json.dumps(stream.seen) + json.dumps(watch.seen)
        for session in (foreign, later):
            self.assertNotIn(session, shown)
        # A cursor is no permission: one that names their logs gets nothing of them.
        forged = "1.0." + ".".join(f"{number:x}-0" for number in range(1, 9))
        with self.stream("*", last=forged) as stream:
            stream.wait(lambda seen: ended(seen, mine))
            self.assertEqual({data["session"] for _, kind, data in stream.seen if kind != "stream.opened"}, {mine})

    def test_bad_requests_are_named(self):
        session = self.client.open()["id"]
        self.refused(422, "sessions", "/v1/events")
        self.refused(404, "nothing", "/v1/events?sessions=nothing")
        reply = self.refused(422, "stream_sessions_max", "/v1/events?sessions=" + ",".join(f"s{i}" for i in range(41)))
        self.assertEqual((reply.json()["limit"], reply.json()["field"]), ("stream_sessions_max", "sessions"))
        self.refused(422, "from", f"/v1/events?sessions={session}&from=yesterday")
        self.refused(422, "types", f"/v1/events?sessions={session}&types=UPDATE")
        self.refused(422, "heartbeat", f"/v1/events?sessions={session}&heartbeat=2")
        for cursor in ("12", "1.", "1.x-", "1.1.1-1.1-1", "2.1", "1.-1", "1.1." + ".".join(f"{i}-1" for i in range(10, 60))):
            self.refused(422, "Last-Event-ID", f"/v1/events?sessions={session}", {"Last-Event-ID": cursor})

    def test_heartbeats_can_be_events_and_types_are_chosen(self):
        session = self.client.open()["id"]
        with Sse(self.client, session_path(session, "events") + "?heartbeat=event&types=turn.ended,turn.queued") as stream:
            self.client.prompt(session, "say much", wait=20)
            self.client.prompt(session, "say more", wait=20)
            stream.wait(lambda seen: len([1 for _, kind, _ in seen if kind != "heartbeat"]) == 4)
            stream.wait(lambda seen: any(kind == "heartbeat" for _, kind, _ in seen))
            self.assertEqual([kind for _, kind, _ in stream.seen if kind != "heartbeat"],
                             ["turn.queued", "turn.ended"] * 2)
            self.assertEqual([event[0] for event in stream.seen if event[1] == "heartbeat"][0], None, "no id")
        with self.stream([session], types="turn.ended") as stream:
            stream.wait(lambda seen: ended(seen, session, 2))
            stream.wait(lambda _: stream.comments)
            self.assertEqual([kind for _, kind, _ in stream.seen], ["stream.opened", "turn.ended", "turn.ended"])

    def test_an_event_source_that_has_the_ending_is_told_to_stop(self):
        session = self.client.open()["id"]
        self.client.prompt(session, "say it", wait=20)
        wait_until(lambda: self.client.session(session)["turn"] is None)
        path = session_path(session, "events") + "?until=turn-end"
        last = self.client.session(session)["last_seq"]
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last)}
        self.assertEqual(self.client.raw("GET", path, headers=headers).status, 204)

    def test_the_watch_stream_tells_how_sessions_stand(self):
        before = self.client.open(title="there before")["id"]
        with Sse(self.client, "/v1/watch") as stream:
            stream.wait(lambda seen: any(kind == "ready" for _, kind, _ in seen))
            self.assertEqual(stream.seen[0][1], "reset")
            self.assertEqual([data["id"] for _, kind, data in stream.seen if kind == "session"], [before])
            session = self.client.open(title="made")["id"]
            self.client.call("PATCH", session_path(session), {"title": "titled"})
            turn = self.client.prompt(session, "sleep 30000")["id"]
            self.client.prompt(session, "say waiting")
            latest = lambda seen: next((d for _, _, d in reversed(seen) if d.get("id") == session), {})
            stream.wait(lambda seen: latest(seen).get("title") == "titled" and latest(seen)["queued"] == 1
                        and latest(seen)["turn"] and latest(seen)["turn"]["state"] == "running")
            self.client.cancel(session, turn)
            stream.wait(lambda seen: latest(seen)["held"] and latest(seen)["turn"] is None)
            self.client.post(session_path(session, "resume-queue"))
            stream.wait(lambda seen: latest(seen)["queued"] == 0 and latest(seen)["turn"] is None)
            asking = self.client.open(permission="ask")["id"]
            self.client.prompt(asking, "ask write x.txt text")
            asked = stream.wait(lambda seen: next((d for _, _, d in seen if d.get("interactions_open")), None))
            self.assertEqual(asked["id"], asking)
            last = stream.last
        self.client.call("PATCH", session_path(before), {"title": "changed meanwhile"})
        with Sse(self.client, "/v1/watch", last=last) as stream:
            stream.wait(lambda seen: any(data.get("title") == "changed meanwhile" for _, _, data in seen))
            self.assertNotIn("reset", [kind for _, kind, _ in stream.seen], "it goes on from where it was")
        self.server.kill()
        self.server.start()
        with Sse(self.client, "/v1/watch", last=last) as stream:
            stream.wait(lambda seen: any(kind == "ready" for _, kind, _ in seen))
            self.assertEqual(stream.seen[0][1], "reset", "another life of the server")
            self.assertEqual(len([1 for _, kind, _ in stream.seen if kind == "session"]), 3)

    def test_a_watcher_gets_few_events_of_many_changes(self):
        session = self.client.open()["id"]
        with Sse(self.client, "/v1/watch") as stream:
            stream.wait(lambda seen: any(kind == "ready" for _, kind, _ in seen))
            began = time.monotonic()
            for i in range(300):
                self.client.call("PATCH", session_path(session), {"title": f"title {i}"})
            stream.wait(lambda seen: seen[-1][2].get("title") == "title 299")
            took = time.monotonic() - began
            told = len([1 for _, kind, _ in stream.seen if kind == "session"]) - 1
            self.assertLessEqual(told, took / 0.2 + 3, "at most one each watch_interval")


def ended_at(log):
    """The number of the last ending in a log."""
    return max(event[0] for event in log if event[1] == "turn.ended")


if __name__ == "__main__":
    main()
