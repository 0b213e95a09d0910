#!/usr/bin/python3
"""Command-line agents through the server: a durable queue in front, memory across deaths, a process a turn."""

import os
import signal
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import session_path, text_of
from berth_server import ROOT, Server, wait_until
from summary import figure, main

AGENT = os.path.join(os.path.dirname(os.path.dirname(os.environ.get("BERTH", os.path.join(ROOT, "build/server/berth")))),
                     "bench/agents/berth-scripted-checkpoint")
CONFIG = f"""
[agents.warm]
driver = "checkpoint"
command = "{AGENT}"
provider = "none"
model = "scripted"
exit_grace = 5
cancel_grace = 2
[agents.once]
driver = "oneshot"
command = "{AGENT}"
[limits]
queue_max = 20000
"""
PROMPTS = int(os.environ.get("BERTH_CHECKPOINT_PROMPTS", "10000"))


# A shell that speaks as command-line agents do, and writes no checkpoint but what its prompts write.
SHELL_AGENT = """#!/usr/bin/python3
import json, os, subprocess, sys
os.chdir(sys.argv[sys.argv.index("--checkpoint-dir") + 1])
for prompt in iter(lambda: b"".join(iter(lambda: sys.stdin.buffer.read(1), b"\\0")).decode(), ""):
    done = subprocess.run(["/bin/sh", "-c", prompt], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    print(json.dumps({"type": "text", "text": f"[{done.returncode}] {done.stdout}{done.stderr}"}), flush=True)
    print('{"type":"custom","custom_type":"agent_complete","data":{}}', flush=True)
"""


class Checkpoint(unittest.TestCase):

    def setUp(self):
        self.server = Server()
        with open(self.server._config, "w", encoding="utf-8") as file:
            file.write(CONFIG)
        self.server.start()
        self.client = self.server.client

    def tearDown(self):
        if self.server.process.poll() is not None:
            self.fail(f"berth ended with {self.server.process.returncode}: {self.server.log_tail()}")
        self.server.close()

    def say(self, session, prompt):
        """The text that a turn answered."""
        turn = self.client.prompt(session, prompt, wait=20)
        return turn, text_of([e for e in self.client.log(session) if e.turn == turn["id"]])

    def turn_ended(self, session, turn):
        path = session_path(session, "turns", turn)
        wait_until(lambda: self.client.get(path)["ended_at"])
        return self.client.get(path)

    def test_an_agent_keeps_its_memory_over_its_own_death_and_the_servers(self):
        session = self.client.open(agent="warm")["id"]
        self.assertEqual(self.say(session, "remember heron")[0]["state"], "completed")
        died, text = self.say(session, "die")
        self.assertEqual(died["state"], "interrupted")
        self.assertEqual(text, "last words")
        self.assertEqual(self.say(session, "recall")[1], "heron")
        told = [e.data for e in self.client.log(session) if e.type == "agent.told"]
        self.assertEqual([(t["what"], t["from_turn"], t["to_turn"], t["whole"]) for t in told],
                         [("interrupted", 2, 2, 1)], "its checkpoint has no turn that it died in")
        self.server.kill()
        self.server.start()
        self.client = self.server.client
        self.assertEqual(self.say(session, "recall")[1], "heron")
        rungs = [e.data["rung"] for e in self.client.log(session) if e.type == "agent.attached"]
        self.assertEqual(rungs, ["new", "resume", "resume"])

    def test_a_torn_checkpoint_is_told_and_the_one_before_is_used(self):
        session = self.client.open(agent="warm")["id"]
        self.say(session, "remember heron")
        self.say(session, "say more")
        self.assertEqual(self.say(session, "tear")[0]["state"], "interrupted")
        self.assertEqual(self.say(session, "recall")[1], "heron")
        attached = [e for e in self.client.log(session) if e.type == "agent.attached"][-1]
        self.assertEqual(attached.data["rung"], "resume")
        self.assertIn("torn", attached.data["reason"])

    def test_a_lost_checkpoint_is_told_and_the_story_takes_its_place(self):
        session = self.client.open(agent="warm")["id"]
        self.say(session, "remember heron")
        self.client.post(session_path(session, "agents", "warm", "kill"))
        removed = 0
        for folder, _, files in os.walk(os.path.join(self.server.state, "agents")):
            for name in filter(lambda name: name.endswith(".json"), files):
                os.remove(os.path.join(folder, name))
                removed += 1
        self.assertGreaterEqual(removed, 2, "the agent's own and the copy")
        _, text = self.say(session, "what was it?")
        attached = [e for e in self.client.log(session) if e.type == "agent.attached"][-1]
        self.assertEqual(attached.data["rung"], "history")
        self.assertIn("no checkpoint", attached.data["reason"])
        self.assertIn("remember heron", text)

    def test_its_folder_leads_berth_nowhere(self):
        self.server.stop()
        agent, victim = (os.path.join(self.server.folder, name) for name in ("shell", "victim.json"))
        for path, text in ((agent, SHELL_AGENT), (victim, '{"secret":1}')):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        os.chmod(agent, 0o755)
        with open(self.server._config, "a", encoding="utf-8") as file:
            file.write(f'[agents.shell]\ndriver = "checkpoint"\ncommand = "{agent}"\nlaunch = "restricted"\n')
        self.client = self.server.start().client
        session = self.client.open(agent="shell")["id"]
        # berth adds what it prints to this file: a link there would have it write wherever the agent likes.
        self.say(session, "echo first")
        said = self.say(session, f"cd ..; rm output.jsonl; ln -sfn {victim} output.jsonl; mkdir x; echo x > told/trace; echo tried")[1]
        self.assertEqual((said.count("denied"), said.count("tried")), (4, 1), said)
        # It keeps what it finds here: of a link, what the agent itself may not read.
        self.assertNotIn("secret", self.say(session, f"ln -s {self.server.state}/endpoint.json session-latest.json; cat *.json")[1])
        self.assertIn("fine", self.say(session, "echo fine")[1])
        folder, = (os.path.join(self.server.state, "agents", name) for name in os.listdir(os.path.join(self.server.state, "agents")))
        self.assertNotIn("kept", os.listdir(folder))
        # Nobody ever writes into this pipe.
        self.say(session, "rm session-latest.json; mkfifo session-latest.json")
        self.assertIn("fine", self.say(session, "echo fine")[1])
        self.say(session, "rm session-latest.json; echo '{\"whole\":1}' > session-latest.json")
        wait_until(lambda: "kept" in os.listdir(folder))
        with open(victim, encoding="utf-8") as file:
            self.assertEqual(file.read(), '{"secret":1}')
        with open(os.path.join(folder, "output.jsonl"), encoding="utf-8") as file:
            self.assertIn("tried", file.read())

    def test_cancel_keeps_the_agent(self):
        session = self.client.open(agent="warm")["id"]
        self.say(session, "remember heron")
        turn = self.client.prompt(session, "slow 20000")
        wait_until(lambda: any(e.turn == turn["id"] and e.type == "update"
                               for e in self.client.log(session)))
        self.client.cancel(session, turn["id"])
        self.assertEqual(self.turn_ended(session, turn["id"])["state"], "cancelled")
        self.assertEqual(self.say(session, "recall")[1], "heron")
        attached = [e for e in self.client.log(session) if e.type == "agent.attached"]
        self.assertEqual(len(attached), 1)

    def test_a_one_shot_agent_is_a_process_a_turn_and_is_told_what_was(self):
        session = self.client.open(agent="once")["id"]
        self.assertEqual(self.say(session, "count")[1], "1")
        second = self.say(session, "tell it again")[1]
        # A fresh process, and its prompt begins with the record of the first turn.
        self.assertIn("continues an earlier one", second)
        self.assertIn("tell it again", second)
        exits = [e.data for e in self.client.log(session) if e.type == "agent.exited"]
        self.assertTrue(all(e["expected"] for e in exits), exits)

    def test_no_accepted_prompt_is_lost_while_the_agent_is_killed_again_and_again(self):
        session = self.client.open(agent="warm")["id"]
        accepted = []
        stop = threading.Event()

        def kill_the_agent():
            while not stop.wait(0.1):
                for agent in self.client.agents(session):
                    if agent.get("pid"):
                        try:
                            os.kill(agent["pid"], signal.SIGKILL)
                        except ProcessLookupError:
                            pass

        killer = threading.Thread(target=kill_the_agent)
        killer.start()
        try:
            for n in range(PROMPTS):
                accepted.append(self.client.prompt(session, f"say p{n}", key=f"k{n}")["id"])
        finally:
            stop.set()
            killer.join()
        wait_until(lambda: self.drained(session), timeout=240)
        ended = {}
        for event in self.client.log(session):
            if event.type == "turn.ended":
                self.assertNotIn(event.turn, ended, "two endings")
                ended[event.turn] = event.data["state"]
        states = list(ended.values())
        figure(f"{PROMPTS} prompts while the agent was killed every 100 ms",
               {state: states.count(state) for state in sorted(set(states))})
        self.assertEqual(len(accepted), PROMPTS)
        self.assertEqual(set(accepted), set(ended))
        self.assertLessEqual(set(states), {"completed", "interrupted", "failed"})
        self.assertGreater(states.count("completed"), PROMPTS // 2)

    def drained(self, session):
        state = self.client.session(session)
        if state.get("held"):
            self.client.post(session_path(session, "resume-queue"), {})
        return not state.get("queued") and not state.get("turn")


if __name__ == "__main__":
    main()
