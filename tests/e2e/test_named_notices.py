#!/usr/bin/python3
"""Who is told how the turns of a named agent end: a program, a mailbox, both; also of what berth still owed."""

import email
import json
import mailbox
import os
import stat
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_server import wait_until
from named_rig import AGENT, NamedRig
from summary import main

# Adds what it is told to a file; holds still while `hold` is there; fails as often as `failures` has lines.
PROGRAM = """#!/bin/sh
cd "$(dirname "$0")"
echo begun >> begun
while [ -e hold ]; do sleep 0.05; done
if [ -s failures ]; then sed -i 1d failures; echo "not today" >&2; exit 3; fi
cat >> told
echo >> told
"""


class Notices(NamedRig):

    def setUp(self):
        self.tools = tempfile.TemporaryDirectory(prefix="berth-notices-")
        self.program = os.path.join(self.tools.name, "tell me")
        with open(self.program, "w", encoding="utf-8") as file:
            file.write(PROGRAM)
        os.chmod(self.program, stat.S_IRWXU)
        self.maildir = os.path.join(self.tools.name, "mail")
        self.CONFIG = f"""
[agents.told]
driver = "checkpoint"
command = "{AGENT}"
exit_grace = 20
notify = ["{self.program}", "a b"]
notify_maildir = "{self.maildir}"
[agents.hasty]
driver = "checkpoint"
command = "{AGENT}"
notify = ["sleep", "1000"]
notify_timeout = 0.2
"""
        super().setUp()

    def tearDown(self):
        self.release()
        super().tearDown()
        self.tools.cleanup()

    def path(self, name):
        return os.path.join(self.tools.name, name)

    def hold(self):
        open(self.path("hold"), "w").close()

    def release(self):
        if os.path.exists(self.path("hold")):
            os.remove(self.path("hold"))

    def told(self):
        if not os.path.exists(self.path("told")):
            return []
        with open(self.path("told"), encoding="utf-8") as file:
            return [json.loads(line) for line in file.read().splitlines()]

    def wait_for_told(self, count):
        wait_until(lambda: len(self.told()) >= count, timeout=60, what=self.server.log_tail)
        return self.told()

    def mails(self):
        if not os.path.exists(self.maildir + "/cur"):
            return []
        return [email.message_from_bytes(mail.as_bytes()) for mail in mailbox.Maildir(self.maildir, create=False)]

    def test_a_program_and_a_mailbox_are_told_of_good_and_bad_endings(self):
        self.start("alice", "--profile", "told")
        good = self.prompt("alice", "say grüße")
        bad = self.prompt("alice", "fail no such model")
        cancelled = self.prompt("alice", "slow 60000")
        self.wait_for_text("alice", cancelled)
        self.client.cancel("alice", cancelled)
        self.say("alice", "say after")
        first, second, third = self.wait_for_told(3)
        self.assertEqual((first["event"], first["agent"], first["turn"], first["number"], first["state"]),
                         ("agent_complete", "alice", good, 1, "completed"))
        self.assertEqual(first["answer"], "grüße")
        self.assertEqual((second["event"], second["turn"], second["state"]), ("agent_error", bad, "failed"))
        self.assertIn("no such model", second["reason"])
        self.assertEqual((third["number"], third["answer"]), (4, "after"), "who cancels knows")
        wait_until(lambda: len(os.listdir(self.maildir + "/new")) == 3, timeout=60)
        self.assertEqual(os.listdir(self.maildir + "/tmp"), [])
        mails = {mail["X-Berth-Turn"]: mail for mail in self.mails()}
        self.assertEqual(mails[good]["Subject"], "alice: turn 1 completed")
        self.assertEqual(mails[good].get_payload(decode=True).decode(), "grüße\n")
        self.assertEqual(mails[bad]["X-Berth-State"], "failed")
        self.assertIn("no such model", mails[bad].get_payload())
        for header in ("From", "Date", "Message-ID"):
            self.assertTrue(mails[good][header], header)

    def test_what_was_owed_when_berth_died_is_told_after_its_restart(self):
        self.start("alice", "--profile", "told")
        self.hold()
        self.say("alice", "say one")
        wait_until(lambda: os.path.exists(self.path("begun")), timeout=60)
        self.say("alice", "say two")
        self.restart_server(kill=True)
        self.release()
        notices = self.wait_for_told(2)
        self.assertEqual(sorted({notice["answer"] for notice in notices}), ["one", "two"])
        self.say("alice", "say three")
        wait_until(lambda: self.told()[-1]["answer"] == "three", timeout=60)
        wait_until(lambda: len(self.mails()) == 3, timeout=60)

    def test_a_restart_in_order_tells_nothing_twice(self):
        self.start("alice", "--profile", "told")
        self.say("alice", "say one")
        self.wait_for_told(1)
        wait_until(lambda: len(self.mails()) == 1, timeout=60)
        wait_until(lambda: self.noticed() == 1, timeout=60)
        self.restart_server()
        self.say("alice", "say two")
        self.assertEqual([notice["answer"] for notice in self.wait_for_told(2)], ["one", "two"])

    def noticed(self):
        with open(os.path.join(self.server.state, "named", "alice", "noticed"), encoding="utf-8") as file:
            return int(file.read())

    def test_a_program_that_fails_is_tried_again_and_then_the_log_says_so(self):
        self.start("alice", "--profile", "told")
        with open(self.path("failures"), "w", encoding="utf-8") as file:
            file.write("x\n" * 4)
        self.say("alice", "say one")
        self.say("alice", "say two")
        self.assertEqual([notice["answer"] for notice in self.wait_for_told(1)], ["two"])
        failed = [e.data for e in self.log("alice") if e.type == "notice.failed"]
        self.assertEqual(len(failed), 1)
        self.assertIn("not today", failed[0]["error"])

    def test_a_program_that_takes_too_long_is_ended(self):
        self.start("alice", "--profile", "hasty")
        self.say("alice", "say one")
        wait_until(lambda: any(e.type == "notice.failed" for e in self.log("alice")), timeout=60)
        failed = [e.data for e in self.log("alice") if e.type == "notice.failed"]
        self.assertIn("too long", failed[0]["error"])


if __name__ == "__main__":
    main()
