#!/usr/bin/python3
"""berth and the unmodified `opencode serve` over HTTP and its event stream, without a network.

    tests/real_agents/offline.sh tests/real_agents/test_opencode_serve.py
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

from opencode_rig import OpencodeRig
from berth_client import session_path, text_of
from berth_server import describe, wait_until
from summary import figure, main

FULL = bool(os.environ.get("BERTH_FULL"))
RACES = int(os.environ.get("BERTH_OPENCODE_RACES") or (1000 if FULL else 40))
RACING_SESSIONS = 4


class OpencodeServe(OpencodeRig):

    profile = "serve"
    extra = 'driver = "opencode"\n'
    cut_every = None

    def adapt(self, recipe):
        recipe.args = ["serve"]
        if self.cut_every:
            proxy = os.path.join(HERE, "cutting_proxy.py")
            recipe.args = [proxy, str(self.cut_every), recipe.command, "serve"]
            recipe.command = sys.executable


class Turns(OpencodeServe):

    def test_a_turn_streams_text_and_thought_and_writes_a_file_and_the_next_one_is_warm(self):
        session, stream = self.open(permission="allow")
        prompt = ("Take notes. [[think A list will do.]] [[slow 20 25]] "
                  r"[[write notes.md one\ntwo]] [[plan Look|Write]] [[say Written.]]")
        ended, events, cold_ms = self.turn(session, stream, prompt)
        self.assertEqual((ended.data["state"], ended.data["reason"]), ("completed", "end_turn"))
        kinds = [event.update for event in events]
        for kind in ("agent_thought_chunk", "agent_message_chunk", "tool_call", "tool_call_update",
                     "plan", "usage_update"):
            self.assertIn(kind, kinds)
        text = text_of(events)
        self.assertEqual(re.findall(r"tick (\d+)", text), [str(n) for n in range(20)])
        self.assertTrue(text.endswith("Written.\n"), text)
        self.assertEqual(text_of(events, "agent_thought_chunk"), "A list will do.\n")
        chunks = [e for e in events if e.update == "agent_message_chunk"]
        self.assertGreater(chunks[-1].arrived - chunks[0].arrived, 0.2, "the text came all at once")
        usage = ended.data["usage"]
        self.assertGreater(usage["inputTokens"], 0)
        sizes = {e.data["size"] for e in events if e.update == "usage_update"}
        self.assertEqual(sizes, {200000})

        recorded = stream.wait_for("change.recorded")
        self.assertEqual([file["path"] for file in recorded.data["files"]], ["notes.md"])
        self.assertEqual(os.listdir(self.repository).count("notes.md"), 0, "not in the worktree")

        first = self.client.agents(session)[0]
        _, events, warm_ms = self.turn(session, stream, "And now? [[say Still here.]] [[count]]")
        self.assertEqual(text_of(events), "Still here.\nprompts seen: 2")
        second = self.client.agents(session)[0]
        for same in ("pid", "native_session_id", "attach_epoch"):
            self.assertEqual(first[same], second[same])
        self.assertTrue(first["native_session_id"].startswith("ses_"))
        figure("opencode serve, first turn (start, streams 20 x 25 ms, writes)", f"{cold_ms:.0f} ms")
        figure("opencode serve, warm turn", f"{warm_ms:.0f} ms")

    def test_cancel_ends_the_turn_and_the_next_one_has_none_of_its_text(self):
        session, stream = self.open()
        self.turn(session, stream, "Hello. [[say Hello.]]")
        pid = self.pid_of(session)
        turn = self.client.prompt(session, "Go slowly. [[slow 400 50]]")["id"]
        stream.wait_for_text("tick 5")
        start = time.monotonic()
        self.client.cancel(session, turn)
        ended = stream.wait_for("turn.ended", turn=turn)
        self.assertEqual(ended.data["state"], "cancelled")
        figure("opencode serve, cancel to ending", f"{(ended.arrived - start) * 1000:.0f} ms")
        self.client.post(session_path(session, "resume-queue"))
        ended, events, _ = self.turn(session, stream, "Again. [[say Back again.]]")
        self.assertEqual(ended.data["state"], "completed")
        self.assertEqual(text_of(events), "Back again.\n")
        self.assertEqual(self.pid_of(session), pid)

    def test_twelve_sessions_in_twelve_directories_run_on_one_server_at_once(self):
        sessions = [self.open() for _ in range(12)]
        start = time.monotonic()
        turns = [self.client.prompt(session, f"Hi. [[slow 10 20]] [[say I am number {n}.]]")["id"]
                 for n, (session, _) in enumerate(sessions)]
        for n, ((session, stream), turn) in enumerate(zip(sessions, turns)):
            ended = stream.wait_for("turn.ended", timeout=120, turn=turn)
            self.assertEqual(ended.data["state"], "completed")
            text = text_of(stream.seen)
            self.assertEqual(re.findall(r"number (\d+)", text), [str(n)])
            self.assertEqual(re.findall(r"tick (\d+)", text), [str(i) for i in range(10)])
        self.assertEqual(len({self.pid_of(session) for session, _ in sessions}), 1)
        figure("opencode serve, 12 sessions in 12 directories at once, cold",
               f"{(time.monotonic() - start) * 1000:.0f} ms")

    def test_an_error_of_the_model_fails_the_turn_and_not_the_next(self):
        session, stream = self.open()
        ended, _, _ = self.turn(session, stream, "Fail. [[error 400]]")
        self.assertEqual(ended.data["state"], "failed")
        self.assertIn("scripted error 400", ended.data["reason"])
        ended, events, _ = self.turn(session, stream, "Work. [[say Fine.]]")
        self.assertEqual((ended.data["state"], text_of(events)), ("completed", "Fine.\n"))

    def test_retries_are_seen_and_a_cancel_ends_them(self):
        session, stream = self.open()
        turn = self.client.prompt(session, "Fail. [[error 503]]")["id"]
        stream.wait_for(lambda e: e.type == "agent.message" and
                        e.data["method"] == "opencode/retry", timeout=90)
        self.client.cancel(session, turn)
        ended = stream.wait_for("turn.ended", turn=turn)
        self.assertEqual(ended.data["state"], "cancelled")


class Asks(OpencodeServe):

    ask = True

    def test_a_permission_is_answered_by_hand(self):
        session, stream = self.open(permission="ask")
        turn = self.client.prompt(session, "Notes. [[write notes.md one]] [[say Written.]]")["id"]
        opened = self.answer(session, stream, "allow_once")
        self.assertIn("notes.md", json.dumps(opened.data))
        ended = stream.wait_for("turn.ended", turn=turn)
        self.assertEqual(ended.data["state"], "completed")
        self.assertEqual(text_of(stream.seen), "Written.\n")
        recorded = stream.wait_for("change.recorded")
        self.assertEqual([file["path"] for file in recorded.data["files"]], ["notes.md"])

    def test_a_refused_permission_ends_the_turn_without_the_file(self):
        session, stream = self.open(permission="ask")
        turn = self.client.prompt(session, "Notes. [[write no.md one]] [[say Never.]]")["id"]
        self.answer(session, stream, "reject_once")
        ended = stream.wait_for("turn.ended", turn=turn)
        self.assertEqual(ended.data["state"], "completed")
        self.assertNotIn("Never", text_of(stream.seen))
        failed = [e for e in stream.seen if e.update == "tool_call_update"][-1]
        self.assertEqual(failed.data["status"], "failed")

    def test_a_cancel_with_a_permission_open_closes_it_and_the_next_turn_asks_anew(self):
        session, stream = self.open(permission="ask")
        turn = self.client.prompt(session, "Notes. [[write held.md one]]")["id"]
        held = stream.wait_for("interaction.opened", timeout=90)
        self.client.cancel(session, turn)
        ended = stream.wait_for("turn.ended", turn=turn)
        self.assertEqual(ended.data["state"], "cancelled")
        self.client.post(session_path(session, "resume-queue"))
        turn = self.client.prompt(session, "Again. [[write free.md one]] [[say Done.]]")["id"]
        opened = self.answer(session, stream, "allow_once")
        self.assertNotEqual(opened.data["id"], held.data["id"])
        self.assertIn("free.md", json.dumps(opened.data))
        ended = stream.wait_for("turn.ended", turn=turn)
        self.assertEqual(ended.data["state"], "completed")

    def test_the_permission_of_a_sub_agent_surfaces_at_the_parent_and_unblocks_it(self):
        session, stream = self.open(permission="ask")
        prompt = ("Delegate. [[task {{write deep.md from below}} {{say Child is done.}}]] "
                  "[[say Parent is done.]]")
        turn = self.client.prompt(session, prompt)["id"]
        opened = self.answer(session, stream, "allow_once")
        self.assertIn("deep.md", json.dumps(opened.data))
        ended = stream.wait_for("turn.ended", timeout=90, turn=turn)
        self.assertEqual(ended.data["state"], "completed")
        self.assertEqual(text_of(stream.seen), "Parent is done.\n")
        recorded = stream.wait_for("change.recorded")
        self.assertEqual([file["path"] for file in recorded.data["files"]], ["deep.md"])


class Dies(OpencodeServe):

    def test_kill_in_mid_turn_keeps_all_text_leaves_no_tool_and_the_next_prompt_remembers(self):
        session, stream = self.open(permission="allow")
        other, other_stream = self.open(permission="allow")
        self.turn(other, other_stream, "Hi. [[say Other.]]")
        stray = "[[shell setsid sleep 1000 > /dev/null 2>&1 & echo started]]"
        self.turn(session, stream, f"A tool that makes its own session. {stray} [[say Done.]]")
        wait_until(self.sleepers, 10, lambda: "no stray process to look for")
        native = self.client.agents(session)[0]["native_session_id"]
        pid = self.pid_of(session)
        self.assertEqual(self.pid_of(other), pid)

        turn = self.client.prompt(session, "Go slowly. [[slow 400 20]]")["id"]
        stream.wait_for_text("tick 20")
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        ended = stream.wait_for("turn.ended", turn=turn)
        self.assertEqual(ended.data["state"], "interrupted")
        figure("opencode serve, kill -9 to 'interrupted' at the client",
               f"{(ended.arrived - killed) * 1000:.0f} ms")
        logged = text_of(e for e in self.client.log(session) if e.turn == turn)
        ticks = [int(number) for number in re.findall(r"tick (\d+)", logged)]
        self.assertEqual(ticks, list(range(len(ticks))), "text is missing in the middle")
        self.assertGreaterEqual(len(ticks), 20)
        wait_until(lambda: not self.agent_processes(), 5,
                   lambda: f"left over: {describe(self.agent_processes())}")

        # Both sessions come back, on one new server, with their memory.
        self.client.post(session_path(session, "resume-queue"))
        ended, events, restore_ms = self.turn(session, stream, "Do you remember? [[count]]")
        self.assertEqual(ended.data["state"], "completed")
        self.assertEqual(text_of(events), "prompts seen: 3")
        again = next(event for event in events if event.type == "agent.attached")
        self.assertEqual((again.data["rung"], again.data["native_session_id"]), ("resume", native))
        _, events, _ = self.turn(other, other_stream, "And you? [[count]]")
        self.assertEqual(text_of(events), "prompts seen: 2")
        self.assertNotEqual(self.pid_of(session), pid)
        self.assertEqual(self.pid_of(session), self.pid_of(other))
        figure("opencode serve, next turn with native restore", f"{restore_ms:.0f} ms")

    def test_a_session_that_opencode_forgot_gets_a_new_one_with_the_story(self):
        session, stream = self.open(permission="allow")
        self.turn(session, stream, "Remember the heron. [[say I will.]]")
        pid = self.pid_of(session)
        os.kill(pid, signal.SIGKILL)
        stream.wait_for("agent.exited")
        for folder, _, files in os.walk(os.path.join(self.home, ".local/share/opencode")):
            for name in files:
                if name.startswith("opencode.db"):
                    os.remove(os.path.join(folder, name))
        ended, events, _ = self.turn(session, stream, "What was it? [[say A bird.]]")
        self.assertEqual(ended.data["state"], "completed")
        again = next(event for event in events if event.type == "agent.attached")
        self.assertEqual(again.data["rung"], "history")
        self.assertIn("does not know", again.data["reason"])


class Recycles(OpencodeServe):

    # Any opencode is above it: a generation a session.
    extra = OpencodeServe.extra + "server_memory_max = 100000000\n"

    def test_a_server_above_its_memory_drains_and_new_sessions_get_a_new_one(self):
        first, first_stream = self.open()
        self.turn(first, first_stream, "Hi. [[say One.]]")
        second, second_stream = self.open()
        self.turn(second, second_stream, "Hi. [[say Two.]]")
        old, new = self.pid_of(first), self.pid_of(second)
        self.assertNotEqual(old, new)
        _, events, _ = self.turn(first, first_stream, "Still? [[count]]")
        self.assertEqual(text_of(events), "prompts seen: 2")
        self.assertEqual(self.pid_of(first), old, "the old server serves its session to its end")
        self.client.post(session_path(first, "agents", "serve", "kill"))
        wait_until(lambda: old not in self.agent_processes(), 10, lambda: "the old server stays")
        self.assertIn(new, self.agent_processes())


class Cut(OpencodeServe):

    cut_every = 2
    ask = True

    def test_a_stream_that_is_cut_every_two_seconds_gives_the_same_transcript(self):
        session, stream = self.open(permission="allow")
        self.turn(session, stream, "Warm up. [[say Hello.]]")
        prompt = (r"Work. [[think One thought.]] [[slow 150 40]] [[write notes.md one\ntwo]] "
                  "[[slow 60 40]] [[shell for i in 1 2 3; do echo line $i; sleep 1; done]] "
                  "[[say The end.]]")
        ended, events, _ = self.turn(session, stream, prompt, timeout=120)
        self.assertEqual(ended.data["state"], "completed")
        expected = ("".join(f"tick {n} " for n in range(150)) +
                    "".join(f"tick {n} " for n in range(60)) + "The end.\n")
        self.assertEqual(text_of(events), expected)
        self.assertEqual(text_of(events, "agent_thought_chunk"), "One thought.\n")
        last = {}
        for event in events:
            if event.update == "tool_call_update":
                last[event.data["toolCallId"]] = event.data
        self.assertEqual([tool["status"] for tool in last.values()], ["completed"] * 2)
        self.assertIn("line 1\nline 2\nline 3\n", json.dumps(list(last.values())).replace(
            "\\n", "\n"))
        # Three requests of the model, counted once each.
        with open(os.path.join(self.scratch, "model.log"), encoding="utf-8") as log:
            entries = [json.loads(line) for line in log]
        requests = [e for e in entries if e.get("tools") and e.get("prompts") == 2]
        steps = [e for e in events if e.update == "usage_update"]
        self.assertEqual((len(requests), len(steps)), (3, 3))
        self.assertEqual(ended.data["usage"]["totalTokens"], sum(e.data["used"] for e in steps))


class Races(OpencodeServe):

    def test_no_stale_terminal_ends_a_turn_and_no_old_text_comes_into_a_new_one(self):
        counts = {"cancelled": 0, "completed": 0}
        wrong = []
        lock = threading.Lock()

        def race(seed, rounds):
            chance = random.Random(seed)
            session, stream = self.open()
            self.turn(session, stream, "Warm. [[say Warm.]]", timeout=180)
            steps = "[[say old-{}]] [[slow 10 4]]"
            whole = "".join(f"tick {tick} " for tick in range(10))
            _, _, took_ms = self.turn(session, stream, f"Warm. {steps.format(0)}", timeout=180)
            # The abort is to meet the natural end: later when it came too early, earlier when late.
            end = took_ms / 1000
            for n in range(rounds):
                before = len(stream.seen)
                turn = self.client.prompt(session, f"Go. {steps.format(n)}")["id"]
                # Also from before the prompt is stored to the middle of the text.
                time.sleep(end * (chance.uniform(0.9, 1.1) if chance.random() < 0.7 else
                                  chance.random()))
                self.client.cancel(session, turn)
                ended = stream.wait_for("turn.ended", turn=turn, timeout=60)
                new = self.client.prompt(session, f"New. [[say new-{n}]]")["id"]
                done = stream.wait_for("turn.ended", turn=new, timeout=60)
                text = text_of(e for e in stream.seen[before:] if e.turn == new)
                old = text_of(e for e in stream.seen[before:] if e.turn == turn)
                state = ended.data["state"]
                end *= 0.97 if state == "completed" else 1.03
                with lock:
                    counts[state] = counts.get(state, 0) + 1
                    if (done.data["state"], text) != ("completed", f"new-{n}\n"):
                        wrong.append((seed, n, done.data["state"], done.data["reason"], text))
                    if state == "completed" and old.split() != f"old-{n} {whole}".split():
                        wrong.append((seed, n, "completed before it had said all", old))
                    if state not in ("completed", "cancelled"):
                        wrong.append((seed, n, state, ended.data["reason"]))

        start = time.monotonic()
        failures = []

        def guarded(seed, rounds):
            try:
                race(seed, rounds)
            except Exception as failure:  # pylint: disable=broad-except
                failures.append((seed, repr(failure)))

        threads = [threading.Thread(target=guarded, args=(seed, RACES // RACING_SESSIONS))
                   for seed in range(RACING_SESSIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(wrong, [])
        if RACES >= 400:  # fewer may all fall on one side
            self.assertGreater(min(counts.values()), RACES // 20, counts)
        figure("opencode serve, abort-and-prompt races without a fault",
               f"{RACES} in {time.monotonic() - start:.0f} s, endings of the aborted: {counts}")


if __name__ == "__main__":
    subprocess.run([os.path.join(HERE, "install.sh")], check=True)
    main()
