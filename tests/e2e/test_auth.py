#!/usr/bin/python3
"""Tokens, projects, tickets, pages and the audit log of a real server, from outside."""

import concurrent.futures
import glob
import http.client
import json
import os
import stat
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import Client, Problem, StreamEnded, session_path
from berth_server import BINARY, Server, wait_until
from summary import main

PLANTED = "planted-secret-0123456789"
CONFIG = f"""
allowed_hosts = ["build.example"]
allowed_origins = ["https://ui.example"]
[limits]
auth_failures_max = 200
audit_bytes_max = 6000
audit_files_max = 3
[secrets]
github = "PLANTED_MCP"
[agents.scripted]
env = {{ API_KEY = "{PLANTED}-env" }}
env_from = {{ OTHER_KEY = "PLANTED_ENV" }}
"""
ENVIRONMENT = {"PLANTED_MCP": PLANTED + "-mcp", "PLANTED_ENV": PLANTED + "-env-from"}
VIEW, EDIT, RUN = "sessions:view", "sessions:edit", "sessions:run"


class Auth(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.server = Server(CONFIG, environment=ENVIRONMENT).start()
        cls.admin = cls.server.client

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def make(self, *scopes, **options):
        """A token and a client that uses it."""
        made = self.admin.post("/v1/tokens", {"name": self.id().rpartition(".")[2], "scopes": scopes, **options})
        return made, Client(self.admin.url, made["token"])

    def audit(self):
        lines = []
        for path in glob.glob(os.path.join(self.server.state, "audit.jsonl*")):
            try:
                with open(path, encoding="utf-8") as file:
                    lines += [json.loads(line) for line in file]
            except FileNotFoundError:
                continue  # it was just put aside
        return lines

    def noted(self, **members):
        """The line of the audit log with these members; they are written after the answer."""
        def find():
            found = [line for line in self.audit() if members.items() <= line.items()]
            return found[-1] if found else None
        return wait_until(find, what=lambda: f"{members} in {self.audit()[-5:]}")

    def refused(self, status, code, call, *arguments, **options):
        with self.assertRaises(Problem) as caught:
            call(*arguments, **options)
        self.assertEqual((caught.exception.status, caught.exception.code), (status, code))

    def test_tokens_do_what_their_scopes_say_and_end_when_revoked(self):
        made, viewer = self.make(VIEW)
        self.admin.open(id="scoped", permission="allow")
        self.assertEqual(viewer.session("scoped")["id"], "scoped")
        self.refused(403, "forbidden_scope", viewer.open, id="mine")
        self.refused(403, "forbidden_scope", viewer.prompt, "scoped", "hello")
        self.refused(403, "forbidden_scope", viewer.get, "/v1/tokens")
        _, runner = self.make(RUN)
        self.assertEqual(runner.prompt("scoped", "text hello", wait=20)["state"], "completed")
        self.refused(403, "forbidden_scope", runner.post, "/v1/sessions/scoped/close")
        _, editor = self.make(EDIT)
        self.assertEqual(editor.post("/v1/sessions/scoped/close")["state"], "closed")
        self.admin.call("DELETE", f"/v1/tokens/{made['id']}")
        self.refused(401, "unauthorized", viewer.session, "scoped")

    def test_tokens_outlive_a_kill_and_their_ends_do_too(self):
        made, kept = self.make(VIEW)
        ended, gone = self.make(VIEW)
        self.admin.call("DELETE", f"/v1/tokens/{ended['id']}")
        self.server.kill()
        self.server.start()
        type(self).admin = self.server.client
        kept, gone = (Client(self.admin.url, client.token) for client in (kept, gone))
        self.assertEqual(kept.get("/v1/caller")["id"], made["id"])
        self.refused(401, "unauthorized", gone.get, "/v1/caller")
        states = {token["id"]: token["state"] for token in self.admin.get("/v1/tokens")["tokens"]}
        self.assertEqual((states[made["id"]], states[ended["id"]]), ("good", "revoked"))

    def test_a_stream_ends_with_its_token(self):
        self.admin.open(id="followed")
        made, viewer = self.make(VIEW)
        short, brief = self.make(VIEW, expires_in=6)
        with viewer.events("followed") as stream, brief.events("followed") as late:
            stream.wait_for("session.opened")
            self.admin.call("DELETE", f"/v1/tokens/{made['id']}")
            with self.assertRaises(StreamEnded):
                stream.wait_for("nothing", 20)
            with self.assertRaises(StreamEnded):  # looked for every five seconds
                late.wait_for("nothing", 40)
        self.refused(401, "unauthorized", brief.session, "followed")
        self.assertEqual(short["state"], "good")

    def test_a_key_is_of_its_project_and_of_its_session(self):
        key = {"Idempotency-Key": "same"}
        clients = [self.make(RUN, project=project)[1] for project in ("first", "second")]
        for path, body in (("/v1/sessions", {"title": "x"}), ("/v1/turns", {"prompt": "say x"})):
            made = [client.raw("POST", path, body, {"Idempotency-Key": path}) for client in clients]
            self.assertTrue(all(reply.status < 300 and "idempotent-replayed" not in reply.headers for reply in made), path)
        sessions = [clients[0].open()["id"] for _ in range(2)]
        turns = [clients[0].raw("POST", session_path(session, "turns"), {"prompt": "say x"}, key) for session in sessions]
        self.assertEqual([reply.status for reply in turns], [202, 202])
        self.assertEqual(len({reply.json()["id"] for reply in turns}), 2)

    def test_projects_do_not_see_each_other(self):
        _, one = self.make(VIEW, EDIT, RUN, project="one")
        _, two = self.make(VIEW, EDIT, RUN, project="two")
        first = one.open(id="same", title="of one", permission="allow")
        second = two.open(id="same", title="of two")
        self.assertNotEqual(first["key"], second["key"])
        self.assertEqual([session["title"] for session in one.get("/v1/sessions")["sessions"]], ["of one"])
        turn = one.prompt("same", "text hello", wait=20)
        one.open(id="only-one")
        self.assertEqual(turn["state"], "completed")
        for theirs, missing in (("only-one", "absent--"), ("same/turns/" + turn["id"], "same/turns/trn_absent")):
            # In one trace, whose id every problem names.
            trace = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
            answers = [two.raw("GET", "/v1/sessions/" + path, headers=trace) for path in (theirs, missing)]
            self.assertEqual([answer.status for answer in answers], [404, 404])
            bodies = [answer.body.replace(path.rpartition("/")[2].encode(), b"X")
                      for answer, path in zip(answers, (theirs, missing))]
            self.assertEqual(bodies[0], bodies[1])
        self.refused(404, "session_not_found", two.prompt, "only-one", "hello")
        self.refused(404, "session_not_found", self.admin.session, "only-one")
        admin_in_one = self.admin.call("GET", "/v1/sessions/only-one", headers={"Berth-Project": "one"})
        self.assertEqual(admin_in_one["project"], "one")

    def test_a_ticket_opens_nothing_but_a_get(self):
        self.admin.open(id="ticketed")
        path = "/v1/sessions/ticketed/turns"
        ticket = self.admin.post("/v1/tickets", {"path": path})["ticket"]
        stranger = Client(self.admin.url, "none")
        stranger._send = lambda connection, method, path, body, headers: connection.request(method, path, body, headers or {})
        self.assertEqual(stranger.raw("POST", f"{path}?ticket={ticket}", b'{"prompt":"say x"}').status, 401)
        self.assertEqual(stranger.raw("GET", f"{path}?ticket={ticket}").status, 200)

    def test_one_of_many_who_use_a_ticket_at_once_gets_in(self):
        self.admin.open(id="ticketed")
        path = "/v1/sessions/ticketed/events"
        for _ in range(5):
            ticket = self.admin.post("/v1/tickets", {"path": path})["ticket"]
            ready = threading.Barrier(8)

            def use(_):
                connection = http.client.HTTPConnection(self.admin.host, self.admin.port, timeout=20)
                connection.connect()
                ready.wait()
                connection.request("GET", f"{path}?after=0&ticket={ticket}", headers={"Accept": "text/event-stream"})
                answer = connection.getresponse()
                first = answer.read(3) if answer.status == 200 else b""
                connection.close()
                return answer.status, first

            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                answers = sorted(pool.map(use, range(8)))
            self.assertEqual(answers, [(200, b"ret")] + [(401, b"")] * 7)

    def test_pages_of_others_are_refused_and_listed_ones_are_let_in(self):
        def ask(method="GET", path="/v1/info", **headers):
            return self.admin.raw(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        for host, status in (("evil.example", 403), ("build.example:99", 200), ("localhost", 200)):
            self.assertEqual(ask(Host=host).status, status, host)
            self.assertEqual(ask(path="/healthz", Host=host).status, status, host)
        refused = ask(Origin="https://evil.example")
        self.assertEqual((refused.status, refused.json()["code"]), (403, "forbidden_origin"))
        self.assertNotIn("access-control-allow-origin", refused.headers)
        listed = ask(Origin="https://ui.example")
        self.assertEqual((listed.status, listed.headers["access-control-allow-origin"]), (200, "https://ui.example"))
        question = {"Origin": "https://ui.example", "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": "authorization"}
        for origin, status in (("https://ui.example", 204), ("https://evil.example", 403)):
            connection = http.client.HTTPConnection(self.admin.host, self.admin.port, timeout=20)
            connection.request("OPTIONS", "/v1/sessions", headers={**question, "Origin": origin})
            answer = connection.getresponse()
            allowed = answer.getheader("Access-Control-Allow-Headers", "")
            self.assertEqual((answer.status, "Authorization" in allowed), (status, status == 204))
            connection.close()
        wrong = Client(self.admin.url, "wrong").raw("POST", "/v1/sessions", {}, {"Origin": "https://ui.example"})
        self.assertEqual((wrong.status, wrong.headers["access-control-allow-origin"]), (401, "https://ui.example"))
        stream = ask(path="/v1/sessions/none/events", Origin="https://ui.example")
        self.assertEqual(stream.headers["access-control-allow-origin"], "https://ui.example")

    def test_a_token_that_asks_too_often_is_told_so(self):
        with Server("[limits]\ntoken_requests_max = 1\nauth_failures_max = 5\n") as server:
            busy, quiet = (Client(server.client.url, server.client.post("/v1/tokens", {"name": name, "scopes": [VIEW]})["token"])
                           for name in ("busy", "quiet"))
            wrong = Client(server.client.url, "wrong")
            for client, limit, let_in in ((busy, "token_requests_max", 200), (wrong, "auth_failures_max", 401)):
                answers = [client.raw("GET", "/v1/info") for _ in range(40)]
                self.assertEqual({answer.status for answer in answers}, {let_in, 429})
                told = next(answer for answer in answers if answer.status == 429)
                self.assertEqual((told.json()["limit"], told.json()["retryable"]), (limit, True))
                self.assertGreaterEqual(int(told.headers["retry-after"]), 1)
                self.assertEqual(quiet.raw("GET", "/v1/info").status, 200, "it pays for nobody else")
            self.assertEqual(server.client.raw("GET", "/v1/info").status, 200)
            self.assertGreater(server.client.get("/v1/limits")["auth"]["auth_failures_refused"], 0)

    def test_what_was_done_and_refused_is_noted_within_bounds(self):
        made, viewer = self.make(VIEW)
        self.admin.open(id="noted")
        self.noted(token="file", method="POST", route="/v1/sessions", status=201)
        viewer.raw("DELETE", "/v1/sessions/noted?force=1&x=planted-query")
        line = self.noted(token=made["id"], method="DELETE", code="forbidden_scope")
        self.assertEqual((line["arguments"], line["status"], line["project"]), (["noted"], 403, "default"))
        self.assertTrue(line["peer"].startswith("127.0.0.1:"), line)
        Client(self.admin.url, PLANTED).raw("GET", "/v1/info")
        self.assertNotIn("token", self.noted(route="/v1/info", status=401))
        for number in range(100):
            self.admin.raw("DELETE", f"/v1/tokens/none{number}")
        self.noted(arguments=["none99"])
        files = glob.glob(os.path.join(self.server.state, "audit.jsonl*"))
        self.assertEqual(len(files), 3, files)
        for path in files:
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            self.assertLessEqual(os.path.getsize(path), 6000)

    def test_secrets_are_in_no_file_and_no_answer(self):
        made, runner = self.make(RUN)
        servers = [{"name": "gh", "command": "/bin/true", "args": [],
                    "env": [{"name": "T", "value": {"secret": "github"}}]}]
        self.admin.open(id="secretive", permission="allow", mcp_servers=servers)
        runner.prompt("secretive", "text hello", wait=20)
        self.admin.raw("POST", "/v1/sessions", {"agent": "scripted", "mcp_servers": [{"env": 7}]})
        answers = [self.admin.raw("GET", path).body for path in (
            "/v1/info", "/v1/sessions/secretive", "/v1/sessions/secretive/agents", "/v1/sessions/secretive/turns",
            "/v1/sessions/secretive/events", "/v1/tokens", "/v1/limits", "/v1/agents")]
        dump = os.path.join(self.server.folder, "copy.db")
        self.admin.post("/v1/backup", {"file": dump})
        answers.append(subprocess.run([BINARY, "store", "export", "--from", dump], check=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)
        self.noted(route="/v1/backup")
        needles = {"the environment": PLANTED.encode(), "the token": made["token"].split("_", 2)[2].encode(),
                   "the file's token": self.admin.token.encode()}
        for folder, _, names in os.walk(self.server.folder):
            for name in names:
                path = os.path.join(folder, name)
                if path in (os.path.join(self.server.state, "token"), os.path.join(self.server.folder, "berth.toml")):
                    continue
                if os.path.isfile(path):
                    with open(path, "rb") as file:
                        answers.append(path.encode() + b": " + file.read())
        for what, needle in needles.items():
            for answer in answers:
                self.assertNotIn(needle, answer, what)

    def test_the_command_line_makes_lists_and_revokes(self):
        def run(*arguments, token=None):
            command = [BINARY, "--url", self.admin.url, "--token", token or self.admin.token, "token", *arguments]
            return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        made = run("create", "by hand", "--scope", VIEW, "--project", "hand", "--days", "1")
        self.assertEqual(made.returncode, 0, made.stderr)
        token = made.stdout.strip()
        self.assertEqual(Client(self.admin.url, token).get("/v1/caller")["project"], "hand")
        self.assertEqual(run("list", token=token).returncode, 1)
        listed = next(line for line in run("list").stdout.splitlines() if "by hand" in line)
        self.assertIn("good", listed)
        self.assertNotIn(token.split("_", 2)[2], listed)
        self.assertEqual(run("revoke", listed.split()[0]).returncode, 0)
        self.refused(401, "unauthorized", Client(self.admin.url, token).get, "/v1/caller")
        self.assertEqual(run("create", "x", "--scope", "all").returncode, 2)

    def test_the_commands_ask_in_the_project_that_is_named(self):
        def run(*arguments, token=None, **environment):
            command = [BINARY, "--url", self.admin.url, "--token", token or self.admin.token, *arguments]
            return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                                  env={**os.environ, "BERTH_PROJECT": "", **environment})

        def listed(*arguments, **environment):
            answer = run("--json", *arguments, "session", "list", **environment)
            self.assertEqual(answer.returncode, 0, answer.stderr)
            return [session["id"] for session in json.loads(answer.stdout)["sessions"]]
        self.assertEqual(run("--project", "named", "session", "new", "by-flag").returncode, 0)
        self.assertEqual(run("session", "new", "by-name", BERTH_PROJECT="named").returncode, 0)
        self.assertEqual(sorted(listed("--project", "named")), ["by-flag", "by-name"])
        self.assertEqual(sorted(listed(BERTH_PROJECT="named")), ["by-flag", "by-name"])
        self.assertEqual(listed("--project", "empty", BERTH_PROJECT="named"), [])
        self.assertNotIn("by-flag", listed())
        foreign = run("--project", "named", "session", "list", token=self.make(VIEW, project="own")[0]["token"])
        self.assertEqual(foreign.returncode, 1)
        self.assertIn("another project", foreign.stderr)
        odd = run("--project", "No Name", "session", "list")
        self.assertEqual(odd.returncode, 1)
        self.assertIn("Berth-Project", odd.stderr)

    def test_a_public_address_must_be_asked_for(self):
        refused = subprocess.run([BINARY, "serve", "--state", os.path.join(self.server.folder, "public"), "--listen",
                                  "0.0.0.0:0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("allow_public", refused.stdout)


if __name__ == "__main__":
    main()
