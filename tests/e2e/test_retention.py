#!/usr/bin/python3
"""How long a log is kept: what its readers are told of what went, over the death of the server; and turns with a
timeout."""

import json
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import session_path, text_of
from berth_server import BINARY, Server, wait_until
from summary import main
from test_streams import Sse, places

EVENTS_MAX = 40
CONFIG = f"[retention]\ntidy_every = 1\n[limits]\nevents_max = {EVENTS_MAX}\nrest_after = 1\n"


class Retention(unittest.TestCase):

    def setUp(self):
        self.server = self.enterContext(Server(CONFIG))

    @property
    def client(self):
        return self.server.client

    def talk(self, session, turns, first=1):
        for turn in range(first, first + turns):
            self.client.prompt(session, f"say word-{turn}-end", wait=20)

    def cut(self, session, beyond=1):
        """Waits until the log begins behind `beyond` and is within its limit; where it begins."""
        def first():
            row = self.client.session(session)
            fits = row["last_seq"] - row["first_seq"] < EVENTS_MAX
            return fits and row["first_seq"] > beyond and row["first_seq"]
        return wait_until(first, timeout=30)

    def stream(self, path, last=None):
        return Sse(self.client, path, last)

    def test_each_reader_hears_where_the_log_begins_and_misses_nothing_else(self):
        session = self.client.open()["id"]
        events = session_path(session, "events")
        with self.stream(events + "?stream=1") as live:
            self.talk(session, 20)
            live.wait(lambda seen: any("word-20-end" in json.dumps(data) for _, _, data in seen))
            first = self.cut(session)
            self.talk(session, 1, first=21)
            live.wait(lambda seen: any("word-21-end" in json.dumps(data) for _, _, data in seen))
            self.assertNotIn("reset", [kind for _, kind, _ in live.seen], "who was there missed nothing")
            self.assertEqual([int(number) for number, _, _ in live.seen], list(range(1, len(live.seen) + 1)))
            known = {data["seq"]: data for _, _, data in live.seen}
        first = self.cut(session)
        reset = (str(first - 1), "reset", {"session": session, "reason": "retention", "after": first - 1})
        for path, last in ((events + "?stream=1", None), (events, "3"), (events + "?after=2&stream=1", None)):
            with self.stream(path, last) as late:
                seen = late.wait(lambda seen: len(seen) > 20 and list(seen))
                self.assertEqual(seen[0], reset)
                self.assertEqual([data["seq"] for _, _, data in seen[1:]], list(range(first, first + len(seen) - 1)))
                for _, _, data in seen[1:]:
                    self.assertEqual(data, known.get(data["seq"], data), "what is kept has not changed")
        with self.stream(events, str(first - 1)) as behind:
            self.assertEqual(behind.wait(lambda seen: seen and seen[0])[2]["seq"], first, "no reset is needed")
        page = self.client.get(events + "?after=1")
        self.assertEqual((page["first_seq"], page["events"][0]["seq"]), (first, first))
        lines = self.client.raw("GET", events, headers={"Accept": "application/x-ndjson"})
        self.assertEqual(int(lines.headers["log-first-seq"]), first)
        self.assertEqual(json.loads(lines.body.splitlines()[0])["seq"], first)
        self.assertIn(f"(Events before {first} are not kept any more.)", self.transcript(session))

    def erased(self):
        metrics = self.client.raw("GET", "/metrics").body.decode()
        return int(re.search(r"^berth_log_erased_bytes_total (\d+)", metrics, re.M)[1])

    def transcript(self, session):
        return self.client.raw("GET", session_path(session, "transcript")).body.decode()

    def test_a_stream_of_several_is_reset_for_each(self):
        loud, quiet = self.client.open()["id"], self.client.open()["id"]
        path = f"/v1/events?sessions={loud},{quiet}"
        self.talk(loud, 1)
        self.talk(quiet, 1)
        with self.stream(path) as stream:
            stream.wait(lambda seen: {name for name, _ in places(seen)} == {loud, quiet})
            place = stream.last
        self.talk(loud, 20)
        first = self.cut(loud)
        for last in (place, None):
            with self.stream(path, last) as again:
                again.wait(lambda seen: any("word-20-end" in json.dumps(data) for _, _, data in seen))
                resets = [data for _, kind, data in again.seen if kind == "reset"]
                self.assertEqual(resets, [{"session": loud, "reason": "retention", "after": first - 1}])
                mine = [seq for name, seq in places(again.seen) if name == loud]
                self.assertEqual(mine, list(range(first, first + len(mine))))

    def test_what_was_cut_stays_so_over_the_death_of_the_server(self):
        session = self.client.open()["id"]
        self.talk(session, 20)
        first = self.cut(session)
        self.server.kill()
        self.server.start()
        self.assertGreaterEqual(self.client.session(session)["first_seq"], first)
        self.talk(session, 20, first=21)
        self.cut(session, beyond=first)
        wait_until(lambda: self.erased() > 1000)
        self.assertIn("word-40-end", text_of(self.client.log(session, after=first)))
        self.server.stop()
        check = subprocess.run([BINARY, "--state", self.server.state, "store", "check"], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        dump = subprocess.run([BINARY, "--state", self.server.state, "store", "export"], capture_output=True, check=True)
        with Server(CONFIG) as other:
            other.stop()
            for name in os.listdir(other.state):
                if name.startswith("berth.db"):
                    os.remove(os.path.join(other.state, name))
            subprocess.run([BINARY, "--state", other.state, "store", "import"], input=dump.stdout, check=True)
            other.start()
            self.assertGreater(other.client.session(session)["first_seq"], first)
            self.assertIn("word-40-end", text_of(other.client.log(session)))


class Timeouts(unittest.TestCase):

    def test_a_turn_is_stopped_when_its_time_is_over(self):
        with Server() as server:
            session = server.client.open()["id"]
            turn = server.client.prompt(session, "sleep 60000", wait=20, timeout=0.5)
            self.assertEqual((turn["state"], turn["timeout"]), ("expired", 0.5))
            self.assertIn("timeout", turn["reason"])
            self.assertIsNone(server.client.prompt(session, "say well", wait=20)["timeout"])
            command = [BINARY, "--state", server.state, "prompt", session, "sleep 60000", "--time-limit", "0.5"]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
            self.assertEqual(ended.returncode, 1, ended.stdout + ended.stderr)
            self.assertIn("expired", ended.stdout + ended.stderr)


if __name__ == "__main__":
    main()
