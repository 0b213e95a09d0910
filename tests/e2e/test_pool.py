#!/usr/bin/python3
"""The pool of live agents with real processes: one start for many callers, caps, idle time, memory."""

import os
import sys
import tempfile
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import Problem, session_path, text_of
from berth_server import BINARY, Server, alive, processes_with, wait_until
from summary import figure, main

CAP = 10
AGENT = os.path.join(os.path.dirname(os.path.dirname(BINARY)), "bench/agents/berth-scripted-agent")


def events_of(client, session, kind):
    return [event for event in client.log(session) if event.type == kind]


class Pool(unittest.TestCase):

    def serve(self, limits, profile=""):
        server = self.enterContext(Server(f"{profile}\n[limits]\n{limits}\n"))
        return server.client

    def wait_for(self, client, session, turn, state):
        path = session_path(session, "turns", turn)
        return wait_until(lambda: client.get(path)["state"] == state, 20, lambda: client.get(path))

    def live(self, client, session):
        return [agent["agent"] for agent in client.agents(session) if agent["pid"]]

    def test_many_callers_make_one_start(self):
        client = self.serve("queue_max = 64")
        session = client.open()["id"]
        threads = [threading.Thread(target=client.prompt, args=(session, f"say {n}")) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: len(events_of(client, session, "turn.ended")) == 20, 30)
        self.assertEqual(len(events_of(client, session, "agent.attached")), 1)

    def test_a_warm_agent_can_be_waited_for_when_its_session_is_opened(self):
        client = self.serve("queue_max = 64", '[agents.ready]\nlike = "scripted"\nwarm = true\n'
                            '[agents.broken]\ncommand = "/bin/false"\nwarm = true\n')
        wait = {"Prefer": "wait=20"}
        ready = client.post("/v1/sessions", {"agent": "ready"}, headers=wait)["id"]
        self.assertEqual([event.type for event in client.log(ready)], ["session.opened", "agent.attached"])
        broken = client.post("/v1/sessions", {"agent": "broken"}, headers=wait)["id"]
        self.assertEqual([event.type for event in client.log(broken)][-1], "agent.failed")
        cold = client.post("/v1/sessions", {"agent": "scripted"}, headers=wait)["id"]
        self.assertEqual([event.type for event in client.log(cold)], ["session.opened"], "nothing to wait for")
        self.assertEqual(client.get("/v1/limits")["agents"]["live"], 1)

    def test_the_eleventh_takes_the_place_of_the_one_that_idled_longest(self):
        client = self.serve(f"agents_live_max = {CAP}")
        sessions = [client.open()["id"] for _ in range(CAP + 1)]
        for session in sessions[:CAP]:
            client.prompt(session, f"remember {session[-4:]}", wait=20)
        client.prompt(sessions[0], "say used again", wait=20)
        self.assertEqual(client.get("/v1/limits")["agents"]["idle"], CAP)
        self.assertEqual(client.prompt(sessions[CAP], "say hello", wait=20)["state"], "completed")
        pool = client.get("/v1/limits")["agents"]
        self.assertEqual((pool["live"], pool["evicted"]), (CAP, {"agents_live_max": 1}))
        evicted = [s for s in sessions if events_of(client, s, "agent.evicted")]
        self.assertEqual(evicted, [sessions[1]], "the first was used after it")
        self.assertEqual(events_of(client, evicted[0], "agent.evicted")[0].data["limit"], "agents_live_max")
        again = client.prompt(evicted[0], "recall", wait=20)
        self.assertIn(evicted[0][-4:], text_of([e for e in client.log(evicted[0]) if e.turn == again["id"]]))
        rungs = [e.data["rung"] for e in events_of(client, evicted[0], "agent.attached")]
        self.assertEqual(rungs, ["new", "resume"])

    def test_when_all_are_busy_or_wait_for_a_person_the_answer_names_the_limit(self):
        client = self.serve(f"agents_live_max = {CAP}")
        busy = [client.open()["id"] for _ in range(CAP)]
        turns = {}
        for n, session in enumerate(busy):
            turns[session] = client.prompt(session, "hang" if n % 2 else "ask write a.txt x")["id"]
        for n, session in enumerate(busy):
            self.wait_for(client, session, turns[session], "running" if n % 2 else "waiting")
        extra = client.open()["id"]
        with self.assertRaises(Problem) as refused:
            client.prompt(extra, "say hello", key="once")
        self.assertEqual(refused.exception.status, 503)
        self.assertEqual(refused.exception.code, "overloaded")
        self.assertEqual(refused.exception.body["limit"], "agents_live_max")
        self.assertIn("retry-after", refused.exception.headers)
        self.assertEqual(events_of(client, extra, "turn.queued"), [], "nothing was accepted")
        states = {client.get(session_path(s, "turns", turns[s]))["state"] for s in busy}
        self.assertEqual(states, {"running", "waiting"}, "and nobody was stopped for it")
        self.assertEqual(client.get("/v1/limits")["agents"]["evicted"], {})
        # What waits in a session that is busy anyway is accepted all the same.
        self.assertEqual(client.prompt(busy[0], "say later")["state"], "queued")
        question = client.get(session_path(busy[0], "interactions"))["interactions"][0]["id"]
        client.post(session_path(busy[0], "interactions", question), {"kind": "allow_once"})
        self.wait_for(client, busy[0], turns[busy[0]], "completed")
        wait_until(lambda: not client.session(busy[0])["turn"] and not client.session(busy[0])["queued"])
        self.assertEqual(client.prompt(extra, "say hello", key="once", wait=20)["state"], "completed")
        self.assertEqual(self.live(client, busy[0]), [], "it had become idle")

    def test_an_idle_agent_ends_after_its_time_and_comes_back_with_its_memory(self):
        client = self.serve("agents_idle_ttl = 1")
        session = client.open()["id"]
        client.prompt(session, "remember pelican", wait=20)
        pid = client.agents(session)[0]["pid"]
        wait_until(lambda: not self.live(client, session))
        self.assertEqual(events_of(client, session, "agent.evicted")[0].data["limit"], "agents_idle_ttl")
        exited = events_of(client, session, "agent.exited")[0].data
        self.assertEqual((exited["pid"], exited["expected"]), (pid, True))
        self.assertFalse(alive(pid))
        again = client.prompt(session, "recall", wait=20)
        self.assertIn("pelican", text_of([e for e in client.log(session) if e.turn == again["id"]]))
        self.assertEqual(events_of(client, session, "agent.attached")[-1].data["rung"], "resume")

    def test_memory_is_freed_by_the_one_that_idled_longest_and_never_by_a_busy_one(self):
        # What an agent has started counts: the shell below holds 30 MB, the agent itself next to nothing.
        held = 30_000_000
        cap = held * 5 // 2
        hold = f"x=$(head -c {held} /dev/zero | tr '\\\\0' x); {AGENT} --sessions $0; : ${{#x}}"
        with tempfile.TemporaryDirectory(prefix="berth-heavy-") as memory:
            profile = (f'[agents.heavy]\ncommand = "/bin/sh"\nargs = ["-c", "{hold}", "{memory}"]\n'
                       f'launch = "none"\n')
            client = self.serve(f"agents_memory_max = {cap}\nstall_after = 1", profile)
            idle = [client.open(agent="heavy")["id"] for _ in range(3)]
            for n, session in enumerate(idle):
                client.prompt(session, f"remember word{n}", wait=20)
            wait_until(lambda: events_of(client, idle[0], "agent.evicted"), 20, lambda: client.get("/v1/limits"))
            self.assertEqual(events_of(client, idle[0], "agent.evicted")[0].data["limit"], "agents_memory_max")
            wait_until(lambda: held * 2 < client.get("/v1/limits")["agents"]["memory_bytes"] < cap, 20,
                       lambda: client.get("/v1/limits"))
            self.assertEqual([self.live(client, s) for s in idle], [[], ["heavy"], ["heavy"]])
            for session in reversed(idle):  # the third starts when none is idle any more
                client.prompt(session, "hang")
            wait_until(lambda: client.get("/v1/limits")["agents"]["memory_bytes"] >= cap, 20,
                       lambda: client.get("/v1/limits"))
            with self.assertRaises(Problem) as refused:
                client.prompt(client.open(agent="heavy")["id"], "say hello")
            self.assertEqual(refused.exception.body["limit"], "agents_memory_max")
            counted = client.get("/v1/info")["process_kill"].split("their memory is counted ")[1].split(" (")[0]
            figure("bytes that each agent holds, the limit, three busy ones as counted " + counted,
                   (held, cap, client.get("/v1/limits")["agents"]["memory_bytes"]))

    def test_never_an_eleventh_process_when_fifty_start_at_once(self):
        # Processes for three sessions each, of which one serves four at most: so many cannot join.
        with tempfile.TemporaryDirectory(prefix="berth-crowd-") as folder:
            profile = (f'[agents.crowd]\ncommand = "{AGENT}"\nargs = ["--sessions", "{folder}"]\n'
                       f'launch = "none"\nenv = {{ CROWD_TEST = "{folder}" }}\nsessions_per_process = 3\nserver_sessions_max = 4\n'
                       f'[agents.lone]\ncommand = "{AGENT}"\nargs = ["--sessions", "{folder}"]\n'
                       f'launch = "none"\nenv = {{ CROWD_TEST = "{folder}" }}\n')
            client = self.serve(f"agents_live_max = {CAP}", profile)
            sessions = [client.open(agent="lone" if n % 5 == 0 else "crowd")["id"] for n in range(50)]
            most, over = 0, threading.Event()

            def watch():
                nonlocal most
                while not over.is_set():
                    most = max(most, len(processes_with(f"CROWD_TEST={folder}")))

            def work(session):
                for n in range(4):
                    while True:
                        try:
                            ended = client.prompt(session, f"say {n}\nsleep 20", wait=60)
                            break
                        except Problem as refused:
                            self.assertEqual((refused.status, refused.body.get("limit")), (503, "agents_live_max"))
                            time.sleep(0.05)
                    self.assertEqual(ended["state"], "completed", ended)

            watcher = threading.Thread(target=watch)
            watcher.start()
            with ThreadPoolExecutor(len(sessions)) as pool:
                done = list(pool.map(work, sessions))
            over.set()
            watcher.join()
            self.assertEqual(len(done), len(sessions))
            self.assertLessEqual(most, CAP)
            pool = client.get("/v1/limits")["agents"]
            figure("fifty sessions, four turns each: most processes at once of ten, starts, evictions",
                   (most, pool["starts"], pool["evicted"]))

    def test_a_turn_outlives_the_idle_time(self):
        client = self.serve("agents_idle_ttl = 0.2")
        session = client.open()["id"]
        ended = client.prompt(session, "sleep 1500\nsay done", wait=20)
        self.assertEqual(ended["state"], "completed")
        self.assertEqual(len(events_of(client, session, "agent.attached")), 1)

    def test_a_warm_agent_is_there_before_its_first_prompt(self):
        client = self.serve("agents_live_max = 4", '[agents.scripted]\nwarm = true\n')
        session = client.open()["id"]
        attached = wait_until(lambda: events_of(client, session, "agent.attached"))[0]
        client.prompt(session, "say hello", wait=20)
        self.assertEqual([e.seq for e in events_of(client, session, "agent.attached")], [attached.seq])


if __name__ == "__main__":
    main()
