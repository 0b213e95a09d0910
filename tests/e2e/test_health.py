#!/usr/bin/python3
"""Agents that show no sign of life: seen, said, not killed with a turn, replaced without one."""

import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import session_path, text_of
from berth_server import BINARY, Server, alive, processes_with, wait_until
from summary import main

AGENT = os.path.join(os.path.dirname(os.path.dirname(BINARY)), "bench/agents/berth-scripted-agent")


class Health(unittest.TestCase):

    def setUp(self):
        self.server = self.enterContext(Server("[limits]\nstall_after = 2\n"))
        self.client = self.server.client

    def agent(self, session):
        return self.client.agents(session)[0]

    def stop_agent(self, session):
        pid = self.agent(session)["pid"]
        os.kill(pid, signal.SIGSTOP)
        return pid

    def test_a_stopped_agent_stalls_its_turn_visibly_and_goes_on_when_it_may(self):
        session = self.client.open()["id"]
        stream = self.enterContext(self.client.events(session))
        turn = self.client.prompt(session, "stream 200 100 20")["id"]
        stream.wait_for_text("[5]")
        pid = self.stop_agent(session)
        stream.wait_for(lambda e: e.type == "turn.stalled" and "stopped" in e.data["why"], turn=turn)
        self.assertTrue(self.client.session(session)["stalled"])
        agent = self.agent(session)
        self.assertEqual((agent["pid"], agent["health"]), (pid, "stalled"))
        self.assertIn("stopped", agent["health_reason"])
        os.kill(pid, signal.SIGCONT)
        stream.wait_for(lambda e: e.type == "turn.stalled" and not e.data["stalled"], turn=turn)
        ended = stream.wait_for("turn.ended", turn=turn)
        self.assertEqual(ended.data["state"], "completed")
        self.assertFalse(self.client.session(session)["stalled"])
        text = text_of([e for e in self.client.log(session) if e.turn == turn])
        self.assertIn("[199]", text)
        self.assertIsNone(self.agent(session)["last_trouble"], "it answered")

    def test_an_agent_that_never_answers_is_stalled_and_not_killed(self):
        session = self.client.open()["id"]
        stream = self.enterContext(self.client.events(session))
        turn = self.client.prompt(session, "hang")["id"]
        stalled = stream.wait_for("turn.stalled", turn=turn)
        self.assertIn("no processor time", stalled.data["why"])
        state = self.client.get(session_path(session, "turns", turn))["state"]
        self.assertEqual(state, "running")
        self.assertTrue(os.path.exists(f"/proc/{self.agent(session)['pid']}"))

    def test_a_turn_that_waits_for_a_person_is_not_stalled(self):
        session = self.client.open()["id"]
        turn = self.client.prompt(session, "ask write a.txt x")["id"]
        path = session_path(session, "turns", turn)
        wait_until(lambda: self.client.get(path)["state"] == "waiting")
        # Another session's agent, that does stall, shows that the time for it is over.
        other = self.client.open()["id"]
        hangs = self.client.prompt(other, "hang")["id"]
        with self.client.events(other) as stream:
            stream.wait_for("turn.stalled", turn=hangs)
        self.assertEqual([e for e in self.client.log(session) if e.type == "turn.stalled"], [])

    def test_a_stopped_agent_without_a_turn_is_replaced_and_nothing_is_lost(self):
        session = self.client.open()["id"]
        self.client.prompt(session, "remember pelican", wait=20)
        pid = self.stop_agent(session)
        wait_until(lambda: not self.agent(session)["pid"], 20, lambda: self.agent(session))
        self.assertFalse(alive(pid))
        evicted = [e for e in self.client.log(session) if e.type == "agent.evicted"]
        self.assertEqual([e.data["limit"] for e in evicted], ["wedged"])
        again = self.client.prompt(session, "recall", wait=60)
        self.assertIn("pelican", text_of([e for e in self.client.log(session) if e.turn == again["id"]]))

    def test_a_kill_gets_through_to_a_stopped_agent(self):
        session = self.client.open()["id"]
        self.client.prompt(session, "remember pelican", wait=20)
        stream = self.enterContext(self.client.events(session))
        turn = self.client.prompt(session, "hang")["id"]
        wait_until(lambda: self.client.get(session_path(session, "turns", turn))["state"] == "running")
        pid = self.stop_agent(session)
        stream.wait_for("turn.stalled", turn=turn)
        self.client.post(session_path(session, "agents", "scripted", "kill"))
        ended = stream.wait_for("turn.ended", turn=turn)
        self.assertEqual(ended.data["state"], "interrupted")
        self.assertFalse(alive(pid))
        again = self.client.prompt(session, "recall", wait=20)
        self.assertIn("pelican", text_of([e for e in self.client.log(session) if e.turn == again["id"]]))


class Pings(unittest.TestCase):

    def test_an_idle_agent_that_hangs_behind_its_wrapper_is_replaced_before_anybody_waits(self):
        """The process that berth knows is a shell that is never stopped: only the ping can tell."""
        server = Server()
        mark = f"PING_TEST={server.folder}"
        own = os.path.join(server.folder, "agent")  # where it may write
        said = os.path.join(own, "said")
        with open(server._config, "w", encoding="utf-8") as file:
            file.write(f'''[agents.wrapped]
command = "/bin/sh"
args = ["-c", "'{AGENT}' --sessions '{own}/memory' | tee -a '{said}'"]
env = {{ PING_TEST = "{server.folder}" }}
writable = ["{own}/"]
warm = true
[limits]
stall_after = 4
ping_every = 0.5
ping_max = 8
''')
        self.enterContext(server)
        session = server.client.open(agent="wrapped")["id"]
        first = server.client.prompt(session, "remember pelican", wait=20)
        self.assertEqual(first["state"], "completed", first)

        def answered_a_ping():
            with open(said, encoding="utf-8") as lines:
                return any("-32601" in line for line in lines)

        wait_until(answered_a_ping, 30)
        shell = server.client.agents(session)[0]["pid"]
        [stuck] = [pid for pid in processes_with(mark) if os.readlink(f"/proc/{pid}/exe") == AGENT]
        self.assertNotEqual(stuck, shell)
        os.kill(stuck, signal.SIGSTOP)

        def successor():
            agent = server.client.agents(session)[0]
            return agent["pid"] not in (None, 0, shell) and agent

        agent = wait_until(successor, 120, lambda: server.client.agents(session)[0])
        self.assertIn("has not answered a ping", agent["last_trouble"])
        self.assertFalse(alive(stuck))
        evicted = [e for e in server.client.log(session) if e.type == "agent.evicted"]
        self.assertEqual([e.data["limit"] for e in evicted], ["wedged"])
        again = server.client.prompt(session, "recall", wait=20)
        self.assertIn("pelican", text_of([e for e in server.client.log(session) if e.turn == again["id"]]))


if __name__ == "__main__":
    main()
