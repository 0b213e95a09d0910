#!/usr/bin/python3
"""Recorded lives of real agents, played to berth without the agents.

Each transcript in tests/data/transcripts is one session of test_acp_agents.py with one agent, in
the version of its name: turns, a permission, two cancels, death in mid-turn, and the restore. berth
must say what it said when the agent was real (replay_agent.py checks that), and its log must hold
every update that the agent sent, as it was sent and in that order. Only chunks of one message may
be joined.

goose-unproved.jsonl is no record: nobody ran goose here. It is written by hand after goose's source
(crates/goose-acp), and says only that berth gets on with that dialect.
"""

import json
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

from berth_client import session_path
from berth_server import Server
from replay_agent import part_of
from summary import main

TRANSCRIPTS = os.path.join(os.path.dirname(HERE), "data", "transcripts")
PROFILES = {"claude-agent-acp": "claude", "codex-acp-zed": "codex", "codex-acp": "codex",
            "claude-agent-acp-v2": "claude", "codex-acp-v2": "codex"}
# Of ACP v2, what comes into the log as it was sent; the rest is put into the words of v1.
AS_SENT_IN_V2 = ("agent_message_chunk", "agent_thought_chunk", "usage_update")
CHUNKS = ("agent_message_chunk", "agent_thought_chunk")
# Told of the present, also while a history is replayed.
STATE = ("available_commands_update", "current_mode_update", "config_option_update",
         "session_info_update", "usage_update")


def parts_of(path):
    parts, last = [], False
    while not last:
        messages, last = part_of(path, len(parts))
        parts.append(messages)
    return parts


def result_of(messages, method):
    """The agent's result of the first call of `method`, None if there was none."""
    for direction, message in messages:
        if direction == ">" and message.get("method") == method:
            return next((m.get("result") or {} for d, m in messages if d == "<" and
                         "method" not in m and m["id"] == message["id"]), None)
    return None


def spelled(updates):
    """The same with a chunk for each letter of a text, so that joined and cut texts are alike."""
    found = []
    for update in updates:
        content = update.get("content")
        if update["sessionUpdate"] not in CHUNKS or set(content) != {"type", "text"} or "_meta" in update:
            found.append(update)
            continue
        found += [dict(update, content={"type": "text", "text": letter}) for letter in content["text"]]
    return found


class Player:
    """Does over HTTP what the transcript says that a person did, when it was done."""

    def __init__(self, test, server, profile, folder, v2):
        self.test, self.client, self.profile, self.v2 = test, server.client, profile, v2
        os.mkdir(os.path.join(folder, "work"))
        self.session = self.client.open(agent=profile, directory=os.path.join(folder, "work"),
                                        permission="ask")["id"]
        self.stream = self.client.events(self.session)
        self.turn = None
        self.expected = []  # updates that the log must hold
        self.made = []  # for each process: the kinds of updates that berth makes of an answer

    def play(self, messages, mode):
        """One process of the agent; `mode` is set before the first."""
        if mode:
            path = session_path(self.session, "agents", self.profile, "config")
            self.client.call("PUT", path, {"mode": mode})
        restored = any(m.get("method") in ("session/load", "session/resume")
                       for d, m in messages if d == ">")
        prompted, asked, cancelled = False, {}, set()
        opened = next(filter(None, (result_of(messages, f"session/{method}")
                                    for method in ("new", "resume", "load"))), {})
        kinds = (("modes", "current_mode_update"), ("configOptions", "config_option_update"))
        self.made.append({kind for key, kind in kinds if opened.get(key)})
        for at, (direction, message) in enumerate(messages):
            method = message.get("method")
            if direction == ">" and method == "session/prompt":
                prompted = True
                self.end_turn()
                self.turn = self.client.post(session_path(self.session, "turns"),
                                             {"prompt": message["params"]["prompt"]})["id"]
            elif direction == ">" and method == "session/cancel":
                if self.turn not in cancelled:
                    self.catch_up()
                    self.client.cancel(self.session, self.turn)
            elif direction == ">" and not method and message["id"] in asked:
                self.answer(message["result"]["outcome"], messages[at + 1:], cancelled)
            elif direction == "<" and method == "session/request_permission":
                asked[message["id"]] = True
            elif direction == "<" and method == "session/update":
                update = message["params"]["update"]
                if self.v2 and update["sessionUpdate"] not in AS_SENT_IN_V2:
                    continue
                if prompted or not restored or update["sessionUpdate"] in STATE:
                    self.expected.append(update)

    def answer(self, outcome, rest, cancelled):
        opened = self.stream.wait_for("interaction.opened", turn=self.turn)
        if outcome["outcome"] == "selected":
            self.client.post(session_path(self.session, "interactions", opened.data["id"]),
                             {"option_id": outcome["optionId"]})
            return
        # berth answered so by itself, because the turn was cancelled.
        self.test.assertTrue(any(m.get("method") == "session/cancel" for _, m in rest[:3]))
        cancelled.add(self.turn)
        self.client.cancel(self.session, self.turn)

    def updates(self):
        """All updates in the log but those that berth makes of the answer that opens a session.

        They are the first of their kind after each agent.attached.
        """
        found, attached, made = [], -1, set()
        for event in self.stream.seen:
            if event.type == "agent.attached":
                attached, made = attached + 1, set(self.made[attached + 1])
            elif event.type == "update" and event.update in made:
                made.remove(event.update)
            elif event.type == "update" and (not self.v2 or event.update in AS_SENT_IN_V2):
                found.append(event.data)
        return found

    def catch_up(self):
        wanted = len(spelled(self.expected))
        while len(spelled(self.updates())) < wanted:
            self.stream.take()

    def end_turn(self):
        if self.turn is None:
            return
        ended = self.stream.wait_for("turn.ended", turn=self.turn)
        self.turn = None
        if ended.data["state"] != "completed":
            self.client.post(session_path(self.session, "resume-queue"))
        return ended


class Replay(unittest.TestCase):
    maxDiff = 2000

    def replay(self, path):
        name = os.path.basename(path).rpartition("-")[0]
        profile, v2 = PROFILES.get(name, name), name.endswith("-v2")
        with tempfile.TemporaryDirectory(prefix="berth-replay-") as folder:
            wrong = os.path.join(folder, "wrong")
            arguments = [os.path.join(HERE, "replay_agent.py"), path,
                         os.path.join(folder, "count"), wrong]
            config = (f'[agents.{profile}]\ncommand = "/usr/bin/python3"\n'
                      f"args = {json.dumps(arguments)}\nwaits_for_next_minute = false\n"
                      f"acp_v2 = {str(v2).lower()}\nwritable = {json.dumps([folder])}\n")
            with Server(config) as server:
                try:
                    self.life(path, Player(self, server, profile, folder, v2))
                finally:
                    if os.path.exists(wrong):
                        with open(wrong, encoding="utf-8") as file:
                            self.fail(file.read())

    def life(self, path, player):
        parts = parts_of(path)
        for number, messages in enumerate(parts):
            modes = [m["params"]["modeId"] for d, m in messages
                     if d == ">" and m.get("method") == "session/set_mode"]
            if player.v2:
                modes = [m["params"]["value"] for d, m in messages
                         if d == ">" and m.get("method") == "session/set_config_option"]
            player.play(messages, modes[0] if modes and number == 0 else "")
            ended = player.end_turn()
            last = number + 1 == len(parts)
            self.assertEqual(ended.data["state"], "completed" if last else "interrupted")
        player.catch_up()
        attached = [e.data for e in player.stream.seen if e.type == "agent.attached"]
        self.assertEqual(len(attached), len(parts))
        if len(parts) > 1:
            method = "session/" + attached[-1]["rung"]
            self.assertIsNotNone(result_of(parts[-1], method), "restored by another rung")
        self.assertEqual(spelled(player.updates()), spelled(player.expected))
        self.assertEqual([e.data for e in player.stream.seen if e.type == "agent.junk"], [])
        player.stream.close()


def add_tests():
    for name in sorted(os.listdir(TRANSCRIPTS)):
        if not name.endswith(".jsonl"):
            continue
        path = os.path.join(TRANSCRIPTS, name)
        title = name.removesuffix(".jsonl").replace("-", "_").replace(".", "_")
        setattr(Replay, f"test_{title}", lambda self, path=path: self.replay(path))


add_tests()

if __name__ == "__main__":
    main()
