#!/usr/bin/python3
"""The store of a real server: disks that are full or read-only, backup, export and import, and how long a start takes."""

import contextlib
import http.client
import json
import os
import re
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import Problem, text_of
from berth_server import BINARY, Server, wait_until
from summary import figure, main

# A sanitizer's server needs many times as long for each row.
SESSIONS = 5_000 if os.environ.get("BERTH_FULL") else 100_000


def berth(*arguments, stdin=None, expect=0):
    """What a command says on stdout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BERTH_")}
    done = subprocess.run([BINARY, *arguments], input=stdin, capture_output=True, timeout=240, env=kept)
    if done.returncode != expect:
        raise AssertionError(f"{arguments}: exit {done.returncode}: {done.stdout[-300:]}{done.stderr[-2000:]}")
    return (done.stdout if expect == 0 else done.stderr).decode()


class FullDisk(unittest.TestCase):

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="berth-store-")
        self.addCleanup(self.folder.cleanup)

    def refused(self, client, code):
        """Every way in answers so, and nothing hangs."""
        for method, path, body in (("POST", "/v1/sessions", {}), ("POST", "/v1/sessions/s/turns", {"prompt": "say no"}),
                                   ("GET", "/readyz", None)):
            reply = client.raw(method, path, body)
            self.assertEqual((reply.status, reply.json()["code"]), (503, code), path)
            self.assertTrue(reply.json()["retryable"])
            self.assertEqual(reply.headers["retry-after"], "1")

    def check_recovery(self, server, reader, before, turn):
        """The turn that was caught in the middle ends, and nobody saw a gap or lost what he saw."""
        client = server.client
        wait_until(lambda: client.raw("GET", "/readyz").status == 200, 30, server.log_tail)
        reader.wait_for("turn.ended", turn=turn)
        self.assertEqual(client.prompt("s", "say again", wait=20)["state"], "completed")
        reader.wait_for_text("again")
        log = client.log("s")
        self.assertEqual([e.seq for e in log], list(range(1, len(log) + 1)))
        self.assertEqual([(e.seq, e.type) for e in log[:len(before)]], [(e.seq, e.type) for e in before])
        seen = [(e.seq, e.type) for e in reader.seen]
        self.assertEqual(seen, [(e.seq, e.type) for e in log[:len(seen)]])

    def test_without_room_intake_stops_and_goes_on_by_itself_when_there_is_some(self):
        # No byte may be written any more: for the server that is a full disk, and it needs no root.
        with Server() as server, ThreadPoolExecutor() as pool:
            client = server.client
            client.open(id="s")
            self.assertEqual(client.prompt("s", "say first", wait=20)["state"], "completed")
            reader = client.events("s")
            turn = client.prompt("s", "say second\nsleep 300\nsay third")
            reader.wait_for_text("second")
            _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1, hard))
            # Who asks at this very moment is answered when there is room, and gets what he asked for, once.
            caught = pool.submit(client.prompt, "s", "say caught", wait=40)
            wait_until(lambda: client.raw("GET", "/readyz").status == 503, 30, server.log_tail)
            self.refused(client, "store_full")
            self.assertEqual(client.raw("GET", "/v1/sessions/s").json()["code"], "store_full", "it is not in the log yet")
            before = client.log("s")
            self.assertFalse(caught.done())
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))
            self.check_recovery(server, reader, before, turn["id"])
            self.assertEqual(caught.result()["state"], "completed")
            self.assertEqual(text_of(client.log("s")), "firstsecondthirdcaughtagain")
            self.assertIn("the store takes commits again", server.log_tail())
            reader.close()

    def test_what_is_too_large_for_the_disk_waits_for_a_larger_one(self):
        self.mount("size=4m")
        with Server(state=os.path.join(self.folder.name, "state")) as server:
            client = server.client
            client.open(id="s")
            self.assertEqual(client.prompt("s", "say first", wait=20)["state"], "completed")
            reader = client.events("s")
            before = client.log("s")
            turn = client.prompt("s", "big 6\nsay after")
            wait_until(lambda: client.raw("GET", "/readyz").status == 503, 30, server.log_tail)
            self.refused(client, "store_full")
            self.assertEqual([e.seq for e in before], [e.seq for e in client.log("s")][:len(before)])
            self.mount("remount,size=64m")
            self.check_recovery(server, reader, before, turn["id"])
            self.assertIn("after", text_of(reader.seen))
            reader.close()

    def test_a_server_that_was_killed_on_a_full_disk_starts_again_when_there_is_room(self):
        with Server() as server:
            client = server.client
            client.open(id="s")
            turn = client.prompt("s", "say shown\nhang")
            with client.events("s") as reader:
                reader.wait_for_text("shown")
                before = list(reader.seen)
            _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1, hard))
            with self.assertRaises((Problem, OSError)):
                client.call("POST", "/v1/sessions/s/turns", {"prompt": "say lost"}, timeout=0.5)
            server.kill()
            server.start()
            log = server.client.log("s")
            self.assertEqual([(e.seq, e.type) for e in log[:len(before)]], [(e.seq, e.type) for e in before])
            self.assertEqual(server.client.get(f"/v1/sessions/s/turns/{turn['id']}")["state"], "interrupted")

    def test_a_read_only_disk_is_told_at_the_start(self):
        self.mount("size=16m")
        state = os.path.join(self.folder.name, "state")
        with Server(state=state) as server:
            server.client.open(id="s")
        self.mount("remount,ro")
        done = subprocess.run([BINARY, "serve", "--state", state, "--listen", "127.0.0.1:0"], capture_output=True,
                              text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("Read-only file system", done.stderr)
        self.mount("remount,rw")
        with Server(state=state) as server:
            self.assertEqual(server.client.session("s")["id"], "s")

    def mount(self, options):
        """A file system of the test's own on its folder."""
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.folder.name], capture_output=True, text=True)
        if done.returncode != 0:
            self.skipTest("no file system can be mounted here: " + done.stderr.strip())
        if "remount" not in options:
            self.addCleanup(subprocess.run, ["umount", "--lazy", self.folder.name], check=True)


class Backup(unittest.TestCase):

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="berth-store-")
        self.addCleanup(self.folder.cleanup)
        self.file = os.path.join(self.folder.name, "copy.db")

    def write_on(self, client, stop, turns):
        while not stop.is_set():
            turns.append(client.prompt("busy", "stream 200 300", wait=30))

    def test_a_backup_of_a_busy_server_becomes_another_server_with_the_same_sessions(self):
        with Server() as server:
            client = server.client
            client.open(id="busy")
            client.open(id="quiet", title="über")
            client.prompt("quiet", "plan a, b\nsay done", wait=20)
            client.prompt("busy", "stream 2000 300", wait=30)
            stop, turns = threading.Event(), []
            writer = threading.Thread(target=self.write_on, args=(client, stop, turns))
            writer.start()
            shown = client.session("busy")["last_seq"]
            berth("--state", server.state, "store", "backup", self.file)
            stop.set()
            writer.join()
            self.assertEqual({turn["state"] for turn in turns}, {"completed"})
            self.assertEqual(os.stat(self.file).st_mode & 0o777, 0o600)
            original = {session: client.log(session) for session in ("busy", "quiet")}
            for command in ("export", "check"):
                self.assertIn("berth store backup", berth("--state", server.state, "store", command, expect=1))
            self.assertIn("already", berth("--state", server.state, "store", "backup", self.file, expect=1))
            reply = client.raw("POST", "/v1/backup", {"file": "copy.db"})
            self.assertEqual((reply.status, reply.json()["code"]), (422, "bad_field"))
        self.assertIn("nothing is damaged", berth("store", "check", "--from", self.file))
        lines = berth("store", "export", "--from", self.file)
        state = os.path.join(self.folder.name, "state")
        berth("--state", state, "store", "import", stdin=lines.encode())
        self.assertEqual(berth("--state", state, "store", "export"), lines)
        self.assertIn("holds sessions already",
                      berth("--state", state, "store", "import", stdin=lines.encode(), expect=1))
        with Server(state=state) as server:
            self.assertGreaterEqual(server.client.session("busy")["last_seq"], shown)
            for session, was in original.items():
                log = [e.content() for e in server.client.log(session)]
                # A turn that ran at the moment of the backup is settled by the start, behind what was.
                same = [e.content() for e in was][:len(log)]
                at = next((i for i, (a, b) in enumerate(zip(log, same)) if a != b), len(same))
                self.assertGreaterEqual(at, shown if session == "busy" else len(was))
                self.assertLessEqual({content[1] for content in log[at:]}, {"agent.exited", "turn.ended"})
            self.assertEqual(server.client.session("quiet")["title"], "über")
            server.client.open(id="new")  # the old ones' agents have lost their own files
            self.assertEqual(server.client.prompt("new", "say on", wait=20)["state"], "completed")

    def test_a_stopped_servers_store_is_copied_too_and_a_broken_import_leaves_nothing(self):
        with Server() as server:
            server.client.open(id="s")
            server.stop()
            berth("--state", server.state, "store", "backup", self.file)
            self.assertEqual(berth("--state", server.state, "store", "export"), berth("store", "export", "--from", self.file))
            lines = berth("store", "export", "--from", self.file).splitlines(keepends=True)
            state = os.path.join(self.folder.name, "state")
            told = berth("--state", state, "store", "import", stdin="".join(lines[:-1]).encode(), expect=1)
            self.assertIn("before its end", told)
            self.assertEqual([name for name in os.listdir(state) if name.startswith("berth.db")], [])


class Start(unittest.TestCase):

    @staticmethod
    def export_of(count):
        """The export of a store with so many sessions, a turn and three events in each."""
        yield '{"berth_store":1,"schema":2}\n'
        for table, row in (("sessions", {"project": "default", "agent": "scripted", "permission": "ask",
                                         "workspace_mode": "none", "directory": "/tmp", "options": "{}",
                                         "workspace_ready": 1}),
                           ("turns", {"number": 1, "state": 5, "agent": "scripted", "prompt": "[]"}),
                           ("events", {"first_seq": 1, "count": 3})):
            for no in range(1, count + 1):
                extra = {"sessions": {"no": no, "id": f"s{no}", "key": f"{no:026}", "created_ms": no},
                         "turns": {"session": no, "id": f"trn_{no}"},
                         "events": {"session": no, "frames": "".join(
                             f'id: {i}\nevent: session.archived\ndata: {{"seq":{i},"type":"session.archived","time":"2026-01-01T00:00:00.000Z","turn":null,"agent":null,"data":{{}}}}\n\n' for i in (1, 2, 3))}}[table]
                yield json.dumps({"table": table, "row": {**row, **extra}}) + "\n"
        yield json.dumps({"end": 1 + 3 * count}) + "\n"

    def ready_in(self, server):
        began = time.monotonic()
        server.start(timeout=120)
        return time.monotonic() - began

    def test_a_server_with_100_000_sessions_starts_as_one_with_none(self):
        with Server() as empty:
            empty.stop()
            before = min(self.ready_in(empty), *(empty.stop() or self.ready_in(empty) for _ in range(2)))
        server = Server()
        self.addCleanup(server.close)
        began = time.monotonic()
        berth("--state", server.state, "store", "import", stdin="".join(self.export_of(SESSIONS)).encode())
        importing = time.monotonic() - began
        times = [self.ready_in(server)]
        server.kill()
        times.append(self.ready_in(server))
        began = time.monotonic()
        found = wait_until(lambda: (check := server.client.get("/v1/info")["store"])["check"] != "running" and check, 120)
        figure(f"{SESSIONS} sessions checked beside the service", f"{time.monotonic() - began:.1f} s, {found}")
        self.assertEqual((found["check"], found["problems"]), ("sound", []))
        server.stop()
        times.append(self.ready_in(server))
        # How fast is for people to judge; that it works, and from the first request on, is for the test.
        figure(f"ready with {SESSIONS} sessions", f"{sorted(times)[1]:.3f} s (median of 3), with none {before:.3f} s; "
               f"import in {importing:.1f} s")
        last = server.client.session(f"s{SESSIONS}")
        self.assertEqual(last["last_seq"], 3)
        self.assertEqual(len(server.client.log("s1")), 3)
        page = server.client.get("/v1/sessions?limit=50")
        self.assertEqual(page["sessions"][0]["id"], f"s{SESSIONS}")
        self.assertEqual(server.client.get("/v1/info")["sessions_loaded"], 2, "only those that were asked for")


class AfterACrash(unittest.TestCase):
    """What a server finds out of a store that nobody closed."""

    def setUp(self):
        self.server = self.enterContext(Server("[limits]\njoined_text_max = 1\n"))  # many events
        for n in range(30):
            session = self.server.client.open(id=f"s{n}")["id"]
            self.server.client.prompt(session, "stream 40\nsay done", wait=20)
        self.server.stop()
        self.file = os.path.join(self.server.state, "berth.db")

    def damage(self, sql="", index=""):
        """Changes the closed store; `index`: its last leaf gets another number of cells."""
        with contextlib.closing(sqlite3.connect(self.file)) as store:
            store.execute(sql or "SELECT 1")
            store.commit()
            leaf = "SELECT max(pageno) FROM dbstat WHERE name = ? AND pagetype = 'leaf'"
            [page] = store.execute(leaf, (index,)).fetchone() if index else [0]
        for rest in ("-wal", "-shm"):
            if os.path.exists(self.file + rest):
                os.unlink(self.file + rest)
        if page:
            with open(self.file, "r+b") as file:
                file.seek((page - 1) * 4096 + 3)
                file.write(b"\x7f\x7f")

    def check_of(self, client):
        state = wait_until(lambda: (found := client.get("/v1/info")["store"])["check"] != "running" and found, 30)
        [one] = re.findall(r'berth_store_check{state="(\w+)"} 1\n', client.raw("GET", "/metrics").body.decode())
        self.assertEqual(one, state["check"])
        return state

    def after_kill(self):
        """A server that starts, dies and starts again, with what that one found."""
        self.assertEqual(self.check_of(self.server.start().client)["check"], "not_needed")
        self.server.kill()
        client = self.server.start(ready=(200, 503)).client  # 503 if it has found the worst by now
        return client, self.check_of(client)

    def owed(self):
        return os.path.exists(os.path.join(self.server.state, "check-owed"))

    def test_a_sound_store_is_found_sound_once(self):
        client, found = self.after_kill()
        self.assertEqual(found, {"check": "sound", "problems": [], "left_out": []})
        self.assertEqual(client.raw("GET", "/readyz").json(), {"status": "ready", "store": {"check": "sound", "problems": 0}})
        wait_until(lambda: not self.owed())
        self.server.stop()
        self.assertEqual(self.check_of(self.server.start().client)["check"], "not_needed")

    def test_a_log_that_is_damaged_is_named_and_its_session_alone_suffers(self):
        self.damage("UPDATE events SET frames = x'00' WHERE rowid = "
                    "(SELECT max(rowid) FROM events WHERE session = (SELECT no FROM sessions WHERE id = 's7'))")
        client, found = self.after_kill()
        self.assertEqual((found["check"], len(found["problems"])), ("damaged", 1), found)
        self.assertEqual(client.raw("GET", "/readyz").json()["store"], {"check": "damaged", "problems": 1})
        for how, accept in (("events", "application/json"), ("events?after=1", "application/json"),
                            ("events?after=40", "application/json"), ("events", "application/x-ndjson"),
                            ("transcript", "text/markdown"), ("transcript", "application/json")):
            reply = client.raw("GET", f"/v1/sessions/s7/{how}", headers={"Accept": accept})
            self.assertEqual((reply.status, reply.json()["code"]), (500, "log_gap"), (how, accept))
        self.assertEqual(client.prompt("s8", "say on", wait=20)["state"], "completed")
        self.server.stop()
        self.assertTrue(self.owed(), "the next start looks again")
        self.assertEqual(self.check_of(self.server.start().client)["check"], "damaged")

    def test_an_answer_that_comes_to_a_damage_is_cut_off(self):
        client = self.server.start().client
        client.prompt("s7", "stream 2000 200", wait=60)
        self.server.stop()
        self.damage("UPDATE events SET frames = x'00' WHERE rowid = "
                    "(SELECT max(rowid) FROM events WHERE session = (SELECT no FROM sessions WHERE id = 's7'))")
        client = self.server.start().client
        for what, accept in (("events", "application/x-ndjson"), ("transcript", "text/markdown")):
            with self.subTest(what), self.assertRaises(http.client.IncompleteRead) as cut:
                client.raw("GET", f"/v1/sessions/s7/{what}", headers={"Accept": accept})
            self.assertGreater(len(cut.exception.partial), 10_000, what)

    def test_a_page_of_the_database_that_is_damaged_stops_the_intake(self):
        self.damage(index="turns_by_id")
        client, found = self.after_kill()
        self.assertEqual(found["check"], "corrupt", found)
        self.assertTrue(found["problems"])
        for method, path, body in (("POST", "/v1/sessions", {}), ("POST", "/v1/sessions/s1/turns", {"prompt": "say no"}),
                                   ("GET", "/readyz", None)):
            reply = client.raw(method, path, body)
            self.assertEqual((reply.status, reply.json()["code"]), (503, "store_corrupt"), path)
        self.assertIn("done", text_of(client.log("s1")), "what can be read is read")
        self.assertIn("database is damaged", self.server.log_tail())
        self.server.stop()
        berth("--state", self.server.state, "store", "check", expect=1)


if __name__ == "__main__":
    main()
