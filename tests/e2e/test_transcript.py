#!/usr/bin/python3
"""The transcript of a session: as Markdown, as JSON, of any size, and on the command line."""

import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import session_path, text_of
from berth_server import BINARY, Server
from summary import main


class Transcripts(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server())
        cls.client = cls.server.client

    def transcript(self, session, query="", accept="*/*"):
        return self.client.raw("GET", session_path(session, "transcript") + query, headers={"Accept": accept})

    def test_it_tells_the_story_in_both_forms(self):
        session = self.client.open(permission="allow")["id"]
        self.client.prompt(session, "think hard\nsay first words\nwrite a.txt text", wait=20)
        self.client.prompt(session, "refuse", wait=20)
        markdown = self.transcript(session)
        self.assertEqual(markdown.headers["content-type"], "text/markdown; charset=utf-8")
        text = markdown.body.decode()
        for part in ("# Transcript", "## Request 1", "**User**", "first words", "**Assistant**", "Tool call",
                     "Turn 1 ended: completed", "Turn 2 ended: refused"):
            self.assertIn(part, text)
        reply = self.transcript(session, accept="application/json")
        self.assertEqual(reply.body, self.transcript(session, "?format=json").body)
        story = reply.json()
        self.assertEqual(story["session"], session)
        kinds = [entry["kind"] for entry in story["entries"]]
        self.assertEqual([kinds.count("request"), kinds.count("thought")], [2, 1])
        spoken = "".join(entry["text"] for entry in story["entries"] if entry["kind"] == "message")
        self.assertEqual(spoken, text_of(self.client.log(session)), "every word, once")
        self.assertEqual([e["seq"] for e in story["entries"]], sorted(e["seq"] for e in story["entries"]))

    def test_a_long_one_is_whole(self):
        session = self.client.open()["id"]
        for _ in range(3):
            self.client.prompt(session, "stream 300 200", wait=60)
        said = text_of(self.client.log(session))
        self.assertGreater(len(said), 100_000)
        story = self.transcript(session, "?format=json").json()
        self.assertEqual("".join(e["text"] for e in story["entries"] if e["kind"] == "message"), said)
        self.assertIn("Turn 3 ended", self.transcript(session).body.decode())

    def test_the_command_line_prints_it(self):
        session = self.client.open()["id"]
        self.client.prompt(session, "say for the terminal", wait=20)
        for flags, form in (([], "markdown"), (["--json"], "json")):
            done = subprocess.run([BINARY, "session", "transcript", session, "--state", self.server.state, *flags],
                                  capture_output=True, check=True)
            self.assertEqual(done.stdout, self.transcript(session, "?format=" + form).body)

    def test_bad_requests_are_named(self):
        session = self.client.open()["id"]
        reply = self.transcript(session, "?format=pdf")
        self.assertEqual((reply.status, reply.json()["code"]), (422, "bad_field"))
        self.assertIn("format", reply.json()["detail"])
        self.assertEqual(self.transcript("nothing").status, 404)


if __name__ == "__main__":
    main()
