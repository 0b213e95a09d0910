#!/usr/bin/python3
"""The orderly end and the hand-over to a new program, with real processes and turns in flight."""

import fcntl
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import Client, Problem, StreamEnded, session_path, text_of
from berth_server import BINARY, Server, wait_until
from summary import figure, main


def ending_of(client, session, turn):
    endings = [e for e in client.log(session) if e.type == "turn.ended" and e.turn == turn]
    return [(e.data["state"], e.data["reason"]) for e in endings]


class Drain(unittest.TestCase):

    def serve(self, deadline):
        self.server = Server(f"[limits]\ndrain_deadline = {deadline}\n")
        self.addCleanup(self.server.close)
        self.server.start()
        self.client = self.server.client

    def begun(self, session, prompt, state="running"):
        turn = self.client.prompt(session, prompt)["id"]
        path = session_path(session, "turns", turn)
        wait_until(lambda: self.client.get(path)["state"] == state)
        return turn

    def restart(self):
        self.server.start()
        self.client = self.server.client

    def test_a_probe_of_what_never_answers_holds_up_nothing(self):
        self.seconds = str(1_000_000 + os.getpid())  # by which the process is known
        self.server = Server(f'[agents.mute]\ncommand = "/bin/sleep"\nargs = ["{self.seconds}"]\n'
                             '[agents.prompted]\ndriver = "oneshot"\ncommand = "/bin/sleep"\n')
        self.addCleanup(self.server.close)
        client = self.server.start().client
        with self.assertRaises(Problem) as refused:
            client.post("/v1/agents/prompted/probe")
        self.assertEqual((refused.exception.status, refused.exception.code), (422, "probe_unsupported"))
        began = time.monotonic()
        with self.assertRaises(TimeoutError):
            client.raw("POST", "/v1/agents/mute/probe", timeout=0.5)
        wait_until(lambda: not self.probes(), 20, self.probes)  # it went with the client
        asking = threading.Thread(target=self.ask_in_vain, args=(client,))
        asking.start()
        wait_until(self.probes)
        self.assertEqual(self.server.stop(), 0)
        asking.join()
        self.assertNotEqual(self.vain, 200)
        self.assertLess(time.monotonic() - began, 50, "initialize_timeout is 60")

    def probes(self):
        found = subprocess.run(["pgrep", "-f", f"^/bin/sleep {self.seconds}$"], stdout=subprocess.PIPE, text=True, check=False)
        return found.stdout.split()

    def ask_in_vain(self, client):
        try:
            self.vain = client.raw("POST", "/v1/agents/mute/probe", timeout=60).status
        except (OSError, http.client.HTTPException) as gone:
            self.vain = gone

    def test_what_runs_comes_to_its_end_and_nothing_else_is_taken(self):
        self.serve(120)
        session, other = self.client.open()["id"], self.client.open()["id"]
        stream = self.enterContext(self.client.events(session))
        turn = self.begun(session, "ask write a.txt x\nsay done", "waiting")
        queued = self.client.prompt(session, "say later")["id"]
        self.server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: self.client.raw("GET", "/readyz").status == 503)
        with self.assertRaises(Problem) as refused:
            self.client.prompt(other, "say hello")
        self.assertEqual((refused.exception.status, refused.exception.code), (503, "draining"))
        self.assertIn("retry-after", refused.exception.headers)
        # Whoever is asked may still answer, and the stream tells of it.
        question = self.client.get(session_path(session, "interactions"))["interactions"][0]["id"]
        self.client.post(session_path(session, "interactions", question), {"kind": "allow_once"})
        self.assertEqual(stream.wait_for("turn.ended", turn=turn).data["state"], "completed")
        with self.assertRaises(StreamEnded):
            stream.wait_for("turn.started", turn=queued)
        self.assertEqual(self.server.process.wait(30), 0)
        self.restart()
        self.assertEqual(ending_of(self.client, session, turn), [("completed", "end_turn")])
        state = self.client.session(session)
        self.assertEqual((state["queued"], state["held"]), (1, True))
        self.client.post(session_path(session, "resume-queue"))
        wait_until(lambda: ending_of(self.client, session, queued) == [("completed", "end_turn")])

    def test_at_the_deadline_turns_are_interrupted_and_their_queues_kept(self):
        self.serve(1)
        session = self.client.open()["id"]
        stream = self.enterContext(self.client.events(session))
        turn = self.begun(session, "say before\nhang")
        stream.wait_for_text("before")
        queued = self.client.prompt(session, "say later")["id"]
        self.server.process.send_signal(signal.SIGTERM)
        ended = stream.wait_for("turn.ended", turn=turn)
        self.assertEqual(ended.data["state"], "interrupted")
        self.assertIn("drain_deadline", ended.data["reason"])
        self.assertEqual(self.server.process.wait(30), 0)
        self.restart()
        self.assertEqual([state for state, _ in ending_of(self.client, session, turn)], ["interrupted"])
        self.client.post(session_path(session, "resume-queue"))
        wait_until(lambda: ending_of(self.client, session, queued) == [("completed", "end_turn")])

    def test_a_second_signal_does_not_wait(self):
        self.serve(600)
        session = self.client.open()["id"]
        stream = self.enterContext(self.client.events(session))
        turn = self.begun(session, "hang")
        self.server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: self.client.raw("GET", "/readyz").status == 503)
        self.assertIsNone(self.server.process.poll(), "it waits for the turn")
        self.server.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.server.process.wait(30), 0)
        self.restart()
        endings = ending_of(self.client, session, turn)
        self.assertEqual([state for state, _ in endings], ["interrupted"])


class HandedOver(unittest.TestCase):
    """One listening socket, two programs after each other, as a supervisor or a shell would do it."""

    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="berth-e2e-"))
        self.state, self.log = os.path.join(folder, "state"), os.path.join(folder, "log")
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.addCleanup(self.listener.close)
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]

    def start(self, *arguments):
        high = fcntl.fcntl(self.listener.fileno(), fcntl.F_DUPFD, 50)
        shell = (f"exec 3<&{high} {high}<&-; export LISTEN_PID=$$; "
                 f"exec {BINARY} serve --state {self.state} {' '.join(arguments)}")
        with open(self.log, "ab") as log:
            process = subprocess.Popen(["bash", "-c", shell], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=log, text=True, pass_fds=[high],
                                       env={**os.environ, "LISTEN_FDS": "1"})
        os.close(high)
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def ready(self, process):
        line = process.stdout.readline()
        with open(self.log, encoding="utf-8") as log:
            self.assertTrue(line, log.read())
        with open(json.loads(line)["token_file"], encoding="utf-8") as file:
            return Client(self.url, file.read().strip())

    def follow(self, client, session, until, got):
        """Reads the log by a stream that is opened again wherever it was cut, up to that ending."""
        while not any(e.type == "turn.ended" and e.data["number"] == until for e in got):
            try:
                with client.events(session, last_event_id=got[-1].seq if got else None) as stream:
                    while True:
                        got.append(stream.take(60))
                        if got[-1].type == "turn.ended" and got[-1].data["number"] == until:
                            break
            except (StreamEnded, Problem, OSError):
                time.sleep(0.05)

    def prompt_until_taken(self, client, session, text, key):
        """Posts with a key until somebody takes it; how often that took."""
        for attempt in range(1, 2000):
            try:
                client.prompt(session, text, key=key)
                return attempt
            except (Problem, OSError) as error:
                if isinstance(error, Problem) and error.status != 503:
                    raise
                time.sleep(0.05)
        raise AssertionError("nobody took it")

    def test_a_new_program_takes_over_and_nothing_is_lost(self):
        old = self.start()
        client = self.ready(old)
        sessions = [client.open()["id"] for _ in range(5)]
        got = {session: [] for session in sessions}
        readers = [threading.Thread(target=self.follow, args=(client, s, 2, got[s])) for s in sessions]
        for reader in readers:
            reader.start()
        for session in sessions:
            client.prompt(session, "stream 60 100 20\nsay first is over", key="first")
        new = self.start("--take-over")
        wait_until(lambda: all(any(e.type == "update" for e in got[s]) for s in sessions))
        began = time.monotonic()
        old.send_signal(signal.SIGTERM)
        tries = [self.prompt_until_taken(client, s, "say second is over", "second") for s in sessions]
        self.assertGreater(tries[0], 1, "the old one takes nothing, the new one waits for it")
        self.assertEqual(old.wait(60), 0)
        self.ready(new)
        figure("ms from SIGTERM of the old program, with turns of 3 s, until the new one took a prompt",
               round((time.monotonic() - began) * 1000))
        for reader in readers:
            reader.join(60)
            self.assertFalse(reader.is_alive())
        for session in sessions:
            log = client.log(session)
            self.assertEqual([e.seq for e in log], list(range(1, len(log) + 1)))
            seen = [e.content() for e in got[session]]
            self.assertEqual(seen, [e.content() for e in log[:len(seen)]], "no gap, nothing twice")
            endings = [(e.data["number"], e.data["state"]) for e in log if e.type == "turn.ended"]
            self.assertEqual(endings, [(1, "completed"), (2, "completed")])
            self.assertIn("first is over", text_of(log))
            self.assertIn("second is over", text_of(log))

    def test_without_take_over_a_second_program_does_not_wait(self):
        self.ready(self.start())
        second = self.start()
        self.assertEqual(second.wait(30), 1)
        with open(self.log, encoding="utf-8") as log:
            self.assertIn("locked", log.read())


if __name__ == "__main__":
    main()
