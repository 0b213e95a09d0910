#!/usr/bin/python3
"""What agents may do with the machine: work that must work, and ways out that must not be, tried by real processes."""

import glob
import http.server
import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import Client, text_of
from berth_server import BINARY, Server, make_repository, wait_until
from summary import main

AGENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shell_agent.py")
NOBODY = 65534


def profile(name, **settings):
    lines = [f"[agents.{name}]", f"command = {json.dumps(AGENT)}"]
    return "\n".join(lines + [f"{key} = {json.dumps(value)}" for key, value in settings.items()]) + "\n"


class Machine(unittest.TestCase):
    """A server with a shell as its agent, and a home that is nobody's but this test's."""

    config = ""

    def setUp(self):
        self.server = Server(self.config, environment=self.environment())
        self.home = os.path.join(self.server.folder, "home")
        os.mkdir(self.home)
        self.server._environment["HOME"] = self.home
        self.enterContext(self.server)
        self.client = self.server.client
        self.repository = make_repository(os.path.join(self.server.folder, "repository"))

    def environment(self):
        return {}

    def open(self, session, agent, **options):
        options = {"repository": self.repository, **options}
        return self.client.open(id=session, agent=agent, **{k: v for k, v in options.items() if v is not None})

    def run_in(self, session, command):
        """(exit code, output) of a shell command by the session's agent."""
        turn = self.client.prompt(session, command, wait=60)
        self.assertEqual(turn["state"], "completed", f"{turn}\n{self.server.log_tail()}")
        said = text_of(e for e in self.client.log(session) if e.turn == turn["id"])
        code, output = said.split("] ", 1)
        return int(code[1:]), output

    def works(self, session, command):
        code, output = self.run_in(session, command)
        self.assertEqual(code, 0, f"{command}\n{output}")
        return output

    def fails(self, session, command):
        code, output = self.run_in(session, command)
        self.assertNotEqual(code, 0, f"{command}\n{output}")
        return output

    def attached(self, session):
        return [e.data for e in self.client.log(session) if e.type == "agent.attached"][-1]

    def check_work(self, agent):
        """An agent edits and commits; the change is recorded, the checkout is not touched."""
        view = self.open("work", agent)
        self.assertEqual(self.works("work", "pwd").strip(), view["workspace"]["directory"])
        self.works("work", "echo more >> README.md && mkdir src && echo 'int x;' > src/x.c && git add -A && "
                           "git -c user.name=A -c user.email=a@example.org commit -qm 'By the agent' && git status --short")
        wait_until(lambda: sorted(file["path"] for file in self.client.get("/v1/sessions/work/changes")["files"])
                   == ["README.md", "src/x.c"], what=lambda: self.client.get("/v1/sessions/work/changes"))
        subject = subprocess.run(["git", "-C", self.repository, "log", "-1", "--format=%s", view["workspace"]["branch"]],
                                 check=True, capture_output=True, text=True).stdout
        self.assertEqual(subject.strip(), "By the agent")
        self.works("work", "echo scratch > $TMPDIR/x && cat $TMPDIR/x && mktemp")
        self.works("work", "sleep 300 & kill $!")

    def check_overlay(self, agent):
        view = self.open("over", agent, workspace="overlay")
        if view["workspace"]["mode"] != "overlay":
            self.skipTest("no overlays here")
        self.works("over", "echo more >> README.md && git -c user.name=A -c user.email=a@example.org commit -qam Over")
        self.client.call("DELETE", "/v1/sessions/over?force=1")

    def check_files(self, agent):
        """Neither what is berth's nor another session's can be read or changed."""
        self.open("mine", agent)
        theirs = self.open("theirs", "free")["workspace"]["directory"]
        self.works("theirs", "echo secret > note; cat note")
        note = os.path.join(theirs, "note")
        token = os.path.join(self.server.state, "token")
        self.works("theirs", f"cat {token} && ls {self.server.state}/worktrees | grep -q {os.path.basename(theirs)}")
        for target in (note, token, os.path.join(self.server.state, "berth.db")):
            for attempt in (f"cat {target}", f"cp {target} here", f"ln {target} here", f"mv {target} here", f"rm {target}",
                            f"truncate -s 0 {target}", f"ln -sf {target} link && cat link", f"cat /proc/self/root{target}",
                            f"cat /proc/{self.server.pid}/root{target}", f"cd $(dirname {target}) && cat $(basename {target})"):
                self.fails("mine", attempt)
        self.fails("mine", f"ls {self.server.state}/worktrees | grep -q {os.path.basename(theirs)}")
        git = os.path.join(self.repository, ".git")
        for planted in (f"{theirs}/new", f"{self.repository}/planted", f"{git}/hooks/post-commit", f"{git}/config.new",
                        f"{git}/refs/heads/mine", "/usr/local/planted", f"{self.home}/planted"):
            self.run_in("mine", f"mkdir -p $(dirname {planted}); echo x > {planted}")  # a sandbox has a /tmp and home of its own
            self.assertFalse(os.path.exists(planted), planted)
        self.fails("mine", f"git config -f {git}/config core.pager evil")
        with open(note, encoding="utf-8") as file:
            self.assertEqual(file.read(), "secret\n")

    def check_processes(self, agent):
        """Neither berth nor other sessions' agents can be signalled, traced or looked into."""
        self.open("mine", agent)
        self.open("theirs", "free")
        self.works("theirs", "true")
        other = self.client.agents("theirs")[0]["pid"]
        self.works("mine", "true")
        for pid in (self.server.pid, other):
            self.fails("mine", f"kill -STOP {pid}")
            self.fails("mine", f"kill -KILL {pid}")
            self.fails("mine", f"grep -q . /proc/{pid}/environ")
            self.fails("mine", f"readlink /proc/{pid}/fd/0")
            self.fails("mine", f"head -c 1 /proc/{pid}/mem")
            self.fails("mine", "/usr/bin/python3 -c 'import ctypes, sys; libc = ctypes.CDLL(None); "
                               f"sys.exit(libc.ptrace(16, {pid}, 0, 0) != 0)'")
        self.assertEqual(self.client.agents("theirs")[0]["pid"], other)
        self.works("theirs", "true")

    def check_privileges(self, agent):
        self.open("mine", agent)
        self.works("mine", "grep -q 'NoNewPrivs:.1' /proc/self/status")
        self.fails("mine", "mount -t tmpfs none .")
        self.fails("mine", "echo 1 > /proc/sys/vm/drop_caches")
        self.fails("mine", "for disk in /dev/vda /dev/sda /dev/nvme0n1; do head -c 1 $disk && exit 0; done; exit 1")


class Restricted(Machine):
    config = profile("shell") + profile("free", launch="none")

    def setUp(self):
        super().setUp()
        self.open("probe", "shell", repository=None)
        self.works("probe", "true")
        if self.attached("probe")["launch"] != "restricted":
            self.skipTest(self.attached("probe")["launch_reason"])

    def test_is_what_an_agent_gets_that_asks_for_nothing(self):
        agent = self.client.agents("probe")[0]
        self.assertEqual(agent["launch"], "restricted")
        self.assertIn("Landlock", agent["launch_reason"])
        launch = self.client.get("/v1/info")["launch"]
        self.assertEqual((launch["default"], launch["reason"]), ("restricted", agent["launch_reason"]))
        self.open("free", "free")
        self.works("free", f"touch {self.server.folder}/anywhere")
        self.assertEqual(self.attached("free")["launch"], "none")
        self.assertEqual(self.attached("free")["launch_reason"], "asked for")

    def test_a_session_makes_it_stronger_and_never_weaker(self):
        self.open("strong", "free", launch="restricted")
        self.fails("strong", f"touch {self.server.folder}/anywhere")
        self.assertEqual(self.attached("strong")["launch"], "restricted")
        self.open("weak", "shell", launch="none")
        self.works("weak", "true")
        self.assertEqual(self.attached("weak")["launch"], "restricted")
        refused = self.client.raw("POST", "/v1/sessions", {"id": "odd", "agent": "shell", "launch": "much"})
        self.assertEqual(refused.status, 422)
        self.assertIn("launch", refused.json()["detail"])

    def test_work_works(self):
        self.check_work("shell")

    def test_work_works_in_an_overlay(self):
        self.check_overlay("shell")

    def test_files_of_others_are_out_of_reach(self):
        self.check_files("shell")

    def test_processes_of_others_are_out_of_reach(self):
        self.check_processes("shell")

    def test_no_privilege_is_left(self):
        self.check_privileges("shell")

    def test_transcripts_that_it_is_told_of_can_be_read_and_no_others(self):
        mine, theirs = self.open("mine", "shell")["key"], self.open("theirs", "shell")["key"]
        for session in ("mine", "theirs"):
            self.works(session, "true")
        for key in (mine, theirs):  # as berth does, while the agent runs: by a rename
            folder = os.path.join(self.server.state, "transcripts", key)
            for words in ("old", "new"):
                with open(os.path.join(folder, "next"), "w", encoding="utf-8") as file:
                    file.write(words)
                os.rename(os.path.join(folder, "next"), os.path.join(folder, "transcript.md"))
        read = f"cat {self.server.state}/transcripts/"
        self.assertEqual(self.works("mine", read + mine + "/transcript.md").strip(), "new")
        self.fails("mine", read + theirs + "/transcript.md")
        self.fails("mine", f"echo x > {self.server.state}/transcripts/{mine}/transcript.md")

    def test_has_the_network(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            def greet():
                connection = listener.accept()[0]
                with connection:
                    connection.sendall(b"hello")

            threading.Thread(target=greet, daemon=True).start()
            port = listener.getsockname()[1]
            self.works("probe", f"/usr/bin/python3 -c 'import socket; s = socket.create_connection((\"127.0.0.1\", {port})); "
                                "assert s.recv(5) == b\"hello\"'")

    def test_a_client_cannot_name_what_is_anothers(self):
        theirs = self.open("theirs", "free")["workspace"]["directory"]
        for folder in (theirs, self.server.state, os.path.join(self.server.state, "worktrees")):
            self.open("thief-" + os.path.basename(folder), "shell", repository=None, directory=folder)
            turn = self.client.prompt("thief-" + os.path.basename(folder), "true", wait=30)
            self.assertEqual(turn["state"], "failed")
            self.assertIn("part of berth's state", turn["reason"])
        link = os.path.join(self.server.folder, "link")
        os.symlink(self.server.state, link)
        for name, folder in (("linked", link), ("up", f"{theirs}/../../../state")):
            self.open(name, "shell", repository=None, directory=folder)
            self.assertEqual(self.client.prompt(name, "cat token", wait=30)["state"], "failed")


class Outside(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        body = b"from outside\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Sandbox(Machine):
    """The outside is an HTTP server on this machine's loopback device; `listed` is allowed, `other` is not."""

    @classmethod
    def setUpClass(cls):
        cls.servers = {}
        for name in ("listed", "named", "other", "guild", "guild_named"):
            cls.servers[name] = Outside(("127.0.0.1", 0), Answers)
            threading.Thread(target=cls.servers[name].serve_forever, daemon=True).start()
        cls.ports = {name: server.server_address[1] for name, server in cls.servers.items()}
        listed = [f"127.0.0.1:{cls.ports['listed']}", f"localhost:{cls.ports['named']}", "localhost"]
        of_project = [f"127.0.0.1:{cls.ports['guild']}", f"localhost:{cls.ports['guild_named']}", listed[0]]
        cls.config = (profile("shell", launch="sandbox", egress=listed) + profile("free", launch="none") +
                      f"[projects.guild]\negress = {json.dumps(of_project)}\n")

    @classmethod
    def tearDownClass(cls):
        for server in cls.servers.values():
            server.shutdown()
            server.server_close()

    def setUp(self):
        super().setUp()
        for server in self.servers.values():
            server.asked = []
        info = self.client.get("/v1/info")
        if not info["launch"]["sandbox"]:
            self.skipTest(info["launch"]["sandbox_reason"])

    def test_says_what_it_is(self):
        self.open("mine", "shell")
        self.works("mine", "true")
        self.assertEqual(self.attached("mine")["launch"], "sandbox")
        self.assertEqual(self.client.agents("mine")[0]["launch"], "sandbox")

    def test_work_works(self):
        self.check_work("shell")

    def test_work_works_in_an_overlay(self):
        self.check_overlay("shell")

    def test_files_of_others_are_out_of_reach(self):
        self.check_files("shell")

    def test_processes_of_others_are_out_of_reach(self):
        self.check_processes("shell")
        self.assertLess(int(self.works("mine", "ls -d /proc/[0-9]* | wc -l")), 10)

    def test_no_privilege_is_left(self):
        self.check_privileges("shell")
        self.works("mine", "grep -q 'CapEff:.0000000000000000$' /proc/self/status")
        self.fails("mine", "find /etc -type f ! -perm -o=r -readable -size +0 2>/dev/null | grep .")
        self.fails("mine", "unshare -U true")

    def test_home_and_tmp_are_its_own(self):
        with open(os.path.join(self.home, "diary"), "w", encoding="utf-8") as file:
            file.write("mine")
        self.open("mine", "shell")
        self.fails("mine", "cat $HOME/diary")
        kept = f"kept-{os.getpid()}"
        self.works("mine", f"echo x > $HOME/{kept} && echo x > /tmp/{kept} && touch $(mktemp)")
        self.assertFalse(os.path.exists(os.path.join(self.home, kept)))
        self.assertFalse(os.path.exists(f"/tmp/{kept}"))
        self.client.call("POST", "/v1/sessions/mine/agents/shell/kill")
        self.works("mine", f"cat $HOME/{kept} /tmp/{kept}")
        self.open("other", "shell")
        self.fails("other", f"cat $HOME/{kept} || cat /tmp/{kept}")

    def connects(self, port):
        return f"/usr/bin/python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 5)'"

    def connects_to_socket(self, path):
        return f"/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect({json.dumps(path)})'"

    def test_has_no_network_but_the_proxy(self):
        self.open("mine", "shell")
        self.open("free", "free")
        for port in (self.ports["other"], self.server_port()):
            self.works("free", self.connects(port))
            self.fails("mine", self.connects(port))
        abstract = f"berth-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX) as named, socket.socket(socket.AF_UNIX) as hidden:
            named.bind(os.path.join(self.server.folder, "daemon"))
            hidden.bind("\0" + abstract)
            for listener in (named, hidden):
                listener.listen(8)
            for attempt in (self.connects_to_socket(named.getsockname()), self.connects_to_socket("\0" + abstract)):
                self.works("free", attempt)
                self.fails("mine", attempt)
        # Nor another's way to the proxy.
        self.open("theirs", "shell")
        self.works("theirs", "true")
        for door in os.listdir(os.path.join(self.server.state, "egress")):
            self.works("free", self.connects_to_socket(os.path.join(self.server.state, "egress", door)))
            self.fails("mine", self.connects_to_socket(os.path.join(self.server.state, "egress", door)))
        self.assertEqual(self.works("mine", "ls /sys/class/net 2>/dev/null; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '")
                         .split(), ["lo"])
        self.fails("mine", "/usr/bin/python3 -c 'import socket; socket.socket().connect((\"192.0.2.1\", 443))'")

    def server_port(self):
        with open(os.path.join(self.server.state, "endpoint.json"), encoding="utf-8") as file:
            return json.load(file)["url"].rsplit(":", 1)[1]

    def through_proxy(self, url, *options):
        return " ".join(["curl -sS --noproxy '' -m 10", *options, url])

    def test_the_proxy_lets_through_what_is_listed(self):
        self.open("mine", "shell")
        url = f"http://localhost:{self.ports['named']}/x"
        self.assertEqual(self.works("mine", self.through_proxy(url)), "from outside\n")
        self.assertEqual(self.works("mine", self.through_proxy(url, "--proxytunnel")), "from outside\n")
        # What is listed as a port of this machine is there as if it were inside.
        self.assertEqual(self.works("mine", f"curl -sS http://127.0.0.1:{self.ports['listed']}/y"), "from outside\n")
        self.assertEqual(self.servers["named"].asked, ["/x", "/x"])
        self.assertEqual(self.servers["listed"].asked, ["/y"])
        stats = self.client.get("/v1/info")["egress"]
        self.assertEqual((stats["allowed"], stats["denied"], stats["doors"]), (3, 0, 1))

    def test_a_project_reaches_what_is_listed_for_it_and_no_other_project_does(self):
        tunnel = f"curl -sS http://127.0.0.1:{self.ports['guild']}/tunnel"
        proxied = self.through_proxy(f"http://localhost:{self.ports['guild_named']}/proxied", "-f")
        self.open("mine", "shell")
        for way in (tunnel, proxied):
            self.fails("mine", way)
        granted = self.client.post("/v1/tokens", {"name": "guild", "scopes": ["sessions:run"], "project": "guild"})
        self.client = Client(self.client.url, granted["token"])
        self.open("mine", "shell")
        for way in (tunnel, proxied, f"curl -sS http://127.0.0.1:{self.ports['listed']}/both"):
            self.assertEqual(self.works("mine", way), "from outside\n")
        self.fails("mine", self.through_proxy(f"http://127.0.0.1:{self.ports['other']}/", "-f"))
        self.assertEqual((self.servers["guild"].asked, self.servers["guild_named"].asked), (["/tunnel"], ["/proxied"]))
        self.assertEqual(self.servers["other"].asked, [])

    def test_the_proxy_refuses_the_rest_and_says_so(self):
        self.open("mine", "shell")
        port = self.ports["other"]
        for url in (f"http://127.0.0.1:{port}/", f"http://localhost:{port}/", f"http://[::1]:{port}/", f"http://0.0.0.0:{port}/",
                    f"http://127.1:{port}/", "http://example.org/", "http://169.254.169.254/latest/meta-data/",
                    "http://localhost/"):
            output = self.works("mine", self.through_proxy(url, "-w '%{http_code}'"))
            self.assertTrue(output.endswith("403"), f"{url}: {output}")
            self.fails("mine", self.through_proxy(url, "--proxytunnel"))
        self.fails("mine", self.through_proxy(f"http://127.0.0.1:{self.server_port()}/healthz", "-f"))
        self.assertEqual(self.servers["other"].asked, [])
        denied = [e.data["target"] for e in self.client.log("mine") if e.type == "egress.denied"]
        self.assertEqual(denied.count(f"127.0.0.1:{port}"), 1)
        self.assertIn("169.254.169.254:80", denied)
        audited = [json.loads(line) for line in self.audit_lines()]
        self.assertEqual([(e["peer"], e["arguments"], e["code"]) for e in audited if e.get("route") == "egress"],
                         [("agent shell", ["mine", target], "egress_denied") for target in denied])
        self.assertIn("not a public address",
                      next(e.data["reason"] for e in self.client.log("mine") if e.type == "egress.denied"
                           and e.data["target"] == "localhost:80"))

    def audit_lines(self):
        path = os.path.join(self.server.state, "audit.jsonl")
        wanted = [e for e in self.client.log("mine") if e.type == "egress.denied"]

        def lines():
            with open(path, encoding="utf-8") as file:
                return file.readlines()

        wait_until(lambda: sum('"egress_denied"' in line for line in lines()) >= len(wanted), what=lines)
        return lines()

    def test_ends_as_the_agent_does_and_leaves_nothing(self):
        self.open("mine", "shell")
        self.works("mine", f"setsid sleep {self.nap(1)} > /dev/null 2>&1 &")
        self.client.call("POST", "/v1/sessions/mine/agents/shell/kill")
        wait_until(lambda: not self.sleepers(self.nap(1)), what=lambda: "the sandbox lives")
        self.works("mine", "true")
        self.works("mine", f"setsid sleep {self.nap(2)} > /dev/null 2>&1 &")
        turn = self.client.prompt("mine", "kill -SEGV $PPID", wait=30)
        self.assertEqual(turn["state"], "interrupted")
        exited = [e.data["status"] for e in self.client.log("mine") if e.type == "agent.exited"]
        self.assertEqual(exited[-1], "killed by signal 11")
        wait_until(lambda: not self.sleepers(self.nap(2)), what=lambda: "the sandbox lives")

    def test_nothing_outlives_berth(self):
        self.open("mine", "shell")
        self.works("mine", f"setsid sleep {self.nap(3)} > /dev/null 2>&1 &")
        wait_until(lambda: self.sleepers(self.nap(3)), what=lambda: "nobody sleeps")
        self.server.kill()
        wait_until(lambda: not self.sleepers(self.nap(3)), what=lambda: "the sandbox lives")

    @staticmethod
    def nap(number):
        """Seconds that nobody else on this machine sleeps."""
        return os.getpid() * 10 + number

    @staticmethod
    def sleepers(seconds):
        return subprocess.run(["pgrep", "-x", "-f", f"sleep {seconds}"], capture_output=True, text=True, check=False).stdout.split()


class OrdinaryUser(unittest.TestCase):
    """The same where berth is not root's: then all rests on user namespaces."""

    def test_gets_the_same_sandbox(self):
        if os.geteuid() != 0:
            self.skipTest("the other tests are an ordinary user's already")
        with tempfile.TemporaryDirectory(prefix="berth-user-") as folder:
            programs = ("berth", "../io/berth-keeper", "../io/berth-launch")
            here = os.path.dirname(AGENT)
            for file in [os.path.join(os.path.dirname(BINARY), program) for program in programs] + glob.glob(f"{here}/*.py"):
                shutil.copy(file, folder)  # where he can read them
            os.chmod(folder, 0o755)
            own = os.path.join(folder, "own")
            os.mkdir(own)
            os.chown(own, NOBODY, NOBODY)
            environment = {**os.environ, "BERTH": os.path.join(folder, "berth"), "HOME": own, "TMPDIR": own}
            done = subprocess.run(
                ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "/usr/bin/python3",
                 os.path.join(folder, os.path.basename(__file__)), "Sandbox"],
                cwd=own, env=environment, capture_output=True, text=True, timeout=300, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            if done.stdout.rstrip().endswith("\n0 passed, 0 failed"):
                self.skipTest(done.stdout.split("skipped: ", 1)[1].splitlines()[0])


if __name__ == "__main__":
    main()
