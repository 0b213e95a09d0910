#!/usr/bin/python3
"""Every command that README and docs tell people to type is run as it stands there, or is named with the test that runs it.

A command that is new on a page fails this test until a story below runs it. Only folders, ports and ids differ: `here`.
"""

import glob
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_server import BINARY, ROOT, Server, make_repository, wait_until
from named_rig import AGENT as COMMAND_LINE_AGENT
from summary import main

BUILD = os.path.dirname(os.path.dirname(BINARY))
# The scripted agents stand in for those that the pages name; tests/real_agents has the real ones.
CONFIG = f"""
[agents.opencode]
driver = "acp"
command = "{BUILD}/bench/agents/berth-scripted-agent"
args = []
[agents.mine]
command = "{BUILD}/bench/agents/berth-scripted-agent"
[agents.worker]
driver = "checkpoint"
command = "{COMMAND_LINE_AGENT}"
provider = "none"
model = "scripted"
"""
# Who runs what is not run here.
ELSEWHERE = {
    "./test": "tests/run.py",
    "./test install": "tests/run.py",
    "./test instructions": "tests/run.py",
    "./test page": "tests/run.py",
    "./run demo --agent opencode": "tests/real_agents/test_acp_agents.py",
    "meson install -C build --tags devel": "tests/install/test_install.py",
    "meson setup build -Dbuildtype=release && meson install -C build --tags devel": "tests/install/test_install.py",
    "clang++-19 -std=c++20 host.cc $(pkg-config --cflags --libs berth-io)": "tests/install/test_install.py",
    "clang++-19 -std=c++20 host.cc $(pkg-config --cflags --libs berth-io) -o host": "tests/install/test_install.py",
    "apt-get install ./berth_0.1.0_amd64.deb": "tests/install/test_debian.py",
    "systemctl enable --now berth": "tests/install/test_debian.py",
    "build/bench/reactor/berth-reactor-bench --json bench/reactor/result.json": "tests/e2e/test_reactor_bench.py",
    "bench/reactor/tables.py bench/reactor/result.json --write docs/performance.md": "tests/e2e/test_reactor_bench.py",
    "server/package/debian.sh build server/package": "tests/install/test_debian.py",
    "podman build -t berth server/package": "tests/e2e/test_container.py",
    "npx openapi-typescript --default-non-nullable=false openapi.json -o berth.d.ts": "tests/contract/test_clients.py",
    "berth bench --runs 3 --against bare,berth-asio,node-jsonl,sandbox-agent --json bench/load/result.json": "tests/e2e/test_bench.py",
    "berth bench --scenario full-100,paced-500 --against bare,node --runs 3": "tests/e2e/test_bench.py",
    "bench/load/server_tables.py bench/load/result.json --write docs/performance.md": "tests/e2e/test_bench.py",
    "bench/load/profile.py full-100 paced-100 --write docs/profiles.md": "tests/e2e/test_bench.py",
    "bench/git/run.py --json bench/git/result.json": "tests/e2e/test_git_bench.py",
    "bench/git/tables.py bench/git/result.json --write docs/performance.md": "tests/e2e/test_git_bench.py",
    "tests/real_agents/install.sh bench/peers": "tests/e2e/test_bench.py",
}
COMMAND = re.compile(r"(berth |\./run\b|\./test\b|build/|bench/|tests/|server/package/|meson |clang\+\+|apt-get |systemctl |podman |npx )")
# A form with something to fill in: NAME, [OPTIONS], a|b, ...
FORM = re.compile(r"(?<= )[A-Z]{1,}\b|\[|\w\|\w|\.\.\.")


def pages():
    return [os.path.join(ROOT, "README.md"), *sorted(glob.glob(os.path.join(ROOT, "docs", "*.md")))]


def text_of_page(page):
    with open(page, encoding="utf-8") as file:
        return file.read()


def commands_of_the_tour():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        return re.findall(r"`(\./run -- (?:session new|prompt|attach|diff) [^`]+)`", file.read())


def commands_of(text):
    """What a page tells its reader to type: examples, lines set apart, and code within lines."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    if "\nExample: `" in text:  # the page of the command line: all else in it are forms
        return re.findall(r"^Example: `(.+)`$", text, re.M)
    found = [line[4:] for line in re.findall(r"^    .+$", text, re.M)]
    # Of code within lines, what is more than a command's name.
    found += re.findall(r"`((?:berth [^`]* ?(?:-|>)|\./|npx |server/package/\S+ )[^`]*)`", text)
    found = [re.sub(r"(\s{3,}|\s+#).*$", "", line).strip() for line in found]
    return [command for command in found if COMMAND.match(command) and not FORM.search(command)]


def forms_of(text):
    """All that is said of `berth` as code, with or without something to fill in; `stop|start` is two."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    found = re.findall(r"^    (berth .+)$", text, re.M) + re.findall(r"`(?:\./run -- |(?=berth ))((?:berth )?[^`\n]+)`", text)
    found = [re.sub(r"(\s{3,}|\s+#).*$", "", form).strip() for form in found]
    found = [form if form.startswith("berth ") else f"berth {form}" for form in found]
    several = [re.match(r"(berth(?: \w+)*) (\w+(?:\|\w+)+)(.*)", form) for form in found]
    return [f"{match[1]} {name}{match[3]}" for match in several if match for name in match[2].split("|")] + [
        form for form, match in zip(found, several) if not match]


class Finding(unittest.TestCase):

    def test_commands_are_found_and_forms_are_not(self):
        page = ("Try `berth doctor --reap` or `berth doctor`, not `berth session show ID`.\n\n    berth agent ls     # all\n"
                "    berth rm NAME [OPTIONS]\n    ./run demo     tells a story\n    prose berth\n\n```\n./run &\n```\n")
        self.assertEqual(commands_of(page), ["berth agent ls", "./run demo", "berth doctor --reap"])
        self.assertEqual(commands_of("x\nExample: `berth version`\n\n    berth form x\n"), ["berth version"])

    def test_who_runs_a_command_elsewhere_is_there(self):
        for command, where in ELSEWHERE.items():
            self.assertTrue(os.path.exists(os.path.join(ROOT, where)), f"{command}: {where}")


    def test_what_is_named_without_being_an_example_is_a_command_with_such_options(self):
        with open(os.path.join(ROOT, "docs/cli.md"), encoding="utf-8") as file:
            common, *sections = re.split(r"^## `(berth [^`]+)`$", file.read(), flags=re.M)

        def options_of(section):
            return set(re.findall(r"(--?[a-z][a-z-]*)`", "\n".join(re.findall(r"^\| `-.*", section, re.M))))
        known = {name: options_of(section) | options_of(common) for name, section in zip(sections[::2], sections[1::2])}
        known["berth"] = options_of(common)
        groups = {" ".join(name.split()[:n]) for name in known for n in (1, 2)}
        seen = 0
        for page in pages():
            for form in forms_of(text_of_page(page)):
                words = re.split(r"[|<>](?=\s)|\s--\s", form)[0].split()
                options = {word.split("=")[0].strip("[].") for word in words if word.lstrip("[").startswith("-")}
                names = [" ".join(words[:n]) for n in (3, 2, 1)]
                command = next((name for name in names if name in known), None) or next(n for n in names if n in groups)
                rest = words[len(command.split()):]
                with self.subTest(page=os.path.basename(page), form=form):
                    if rest and (command == "berth" or command not in known):
                        self.assertRegex(rest[0], "^-|^[A-Z]+$|^reference$", "no such command")
                    self.assertEqual(options - known.get(command, set()) - {"--", "-"}, set(), "no such option")
                seen += 1
        self.assertGreater(seen, 80)


class Rig(unittest.TestCase):

    def setUp(self):
        self.server = self.enterContext(Server(CONFIG))
        self.client = self.server.client
        self.folder = self.server.folder
        self.repository = make_repository(os.path.join(self.folder, "repository"))
        for name in ("bin", "backup", "var/backups", ".config/systemd/user", ".local/share/bash-completion/completions"):
            os.makedirs(os.path.join(self.folder, name))
        os.symlink(BINARY, os.path.join(self.folder, "bin", "berth"))
        with open(os.path.join(self.repository, "run"), "w", encoding="utf-8") as file:
            file.write(f'exec bash {ROOT}/run "$@"\n')
        os.chmod(file.name, 0o755)
        self.environment = {**os.environ, "BERTH_STATE": self.server.state, "HOME": self.folder, "NO_COLOR": "1",
                            "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        for role in ("AUTHOR", "COMMITTER"):
            self.environment |= {f"GIT_{role}_NAME": "A", f"GIT_{role}_EMAIL": "a@example.org"}
        self.token = "tok_01"
        self.ran = set()

    def git(self, *arguments):
        return subprocess.run(["git", "-C", self.repository, *arguments], check=True, capture_output=True, text=True).stdout

    def here(self, command):
        """The command of a page with this test's folders, port and ids."""
        command = re.sub(r"(?<= )/(backup|var/backups)/", rf"{self.folder}/\1/", command)
        command = re.sub(r"(?<= )/tmp/copy", f"{self.folder}/copy", command)
        command = re.sub(r"^build/", f"{BUILD}/", command)
        return command.replace("tok_01", self.token).replace("127.0.0.1:8420", "127.0.0.1:0")

    def start(self, command, environment=None):
        self.ran.add(command)
        return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "bash", "-c", "set -o pipefail\n" + self.here(command)],
                                cwd=self.repository, env={**self.environment, **(environment or {})}, text=True,
                                start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)

    def type(self, command, wanted="", code=0, environment=None):
        """Runs the command to its end; what it printed has `wanted` in it, and is returned."""
        process = self.start(command, environment)
        out, _ = process.communicate("", timeout=120)
        self.assertEqual(process.returncode, code, f"{command}:\n{out}")
        self.assertIn(wanted, out, command)
        return out

    def watch(self, command, wanted, again=lambda: None, environment=None):
        """Runs one that does not end by itself until it has printed something; then Ctrl-C.

        `again` is what happens meanwhile: every second, as nobody knows when a follower has begun to follow.
        """
        process = self.start(command, environment)
        seen, late = "", time.monotonic() + 60
        while wanted not in seen:
            if select.select([process.stdout], [], [], 1)[0]:
                got = os.read(process.stdout.fileno(), 65536).decode()
                seen += got
                if got:
                    continue
                self.fail(f"{command} ended with {process.wait()} before {wanted!r}:\n{seen}")
            self.assertLess(time.monotonic(), late, f"{command} never said {wanted!r}:\n{seen}")
            again()
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)

    def prompt(self, text):
        self.assertEqual(self.client.prompt("fix-parser", text, wait=30)["state"], "completed")

    def wait_until_idle(self):
        wait_until(lambda: self.client.session("fix-parser")["turn"] is None, timeout=60)

    def read(self, name):
        with open(os.path.join(self.folder, name), encoding="utf-8") as file:
            return file.read()


class Commands(Rig):
    """One person, one server, all commands in an order in which they make sense."""

    def test_every_command_of_the_pages_works(self):
        self.a_session_and_its_change()
        self.a_session_and_its_life()
        self.tasks_editors_and_agents()
        self.an_agent_with_a_name()
        self.tokens_and_contract()
        self.facts()
        self.the_store()
        self.servers()
        shown = {command for page in pages() for command in commands_of(text_of_page(page))}
        run = self.ran | set(ELSEWHERE) | set(commands_of_the_tour())
        self.assertEqual(sorted(shown - run), [], "on a page, and run by no test: add it to the story")
        self.assertEqual(sorted(run - shown), [], "on no page any more")

    def a_session_and_its_change(self):
        self.type("berth session new fix-parser --repo . --agent opencode", "fix-parser")
        self.type("berth session list --limit 20", "fix-parser")
        self.assertEqual(json.loads(self.type("berth session show fix-parser --json"))["agent"], "opencode")
        self.type('berth prompt fix-parser "make the tests pass" --timeout 600', "make the tests pass")
        self.watch("berth attach fix-parser", "ahoy", lambda: self.prompt("say ahoy"))
        self.type("berth session transcript fix-parser", "make the tests pass")
        self.prompt("write src/parser.c better\nwrite src/scratch.c rubbish")
        self.type("berth discard fix-parser src/scratch.c", "src/scratch.c")
        self.type("berth diff fix-parser | git apply")
        self.assertEqual(self.read("repository/src/parser.c"), "better\n")
        os.remove(f"{self.repository}/src/parser.c")
        self.type("berth diff fix-parser > x.patch")
        self.assertIn("+better", self.read("repository/x.patch"))
        self.type("berth diff --mail fix-parser | git am", "Applying")
        self.git("reset", "-q", "--hard", "HEAD~")
        self.type("berth restore fix-parser 2 --dry-run", "would")
        self.type("berth apply fix-parser src/parser.c")
        self.assertEqual(self.read("repository/src/parser.c"), "better\n")
        self.git("add", "src")
        self.git("-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q", "-m", "Take it")
        self.prompt("write src/parser.c best")
        self.type('berth apply fix-parser --branch main -m "Fix the parser"')
        self.assertIn("Fix the parser", self.git("log", "-1", "--format=%s", "main"))

    def a_session_and_its_life(self):
        self.client.prompt("fix-parser", "ask write asked.txt yes")
        wait_until(lambda: self.client.get("/v1/sessions/fix-parser/interactions")["interactions"])
        self.type("berth permit fix-parser --allow")
        self.wait_until_idle()
        self.client.prompt("fix-parser", "sleep 100000")
        wait_until(lambda: self.client.session("fix-parser")["turn"])
        self.type("berth session cancel fix-parser")
        self.wait_until_idle()
        self.type("berth agent decide fix-parser opencode history", "no_decision", code=1)
        self.type("berth session archive fix-parser")
        self.type("berth session unarchive fix-parser")
        self.type("berth session close fix-parser")
        self.type("berth session revive fix-parser")
        self.type("berth session delete fix-parser --force")

    def tasks_editors_and_agents(self):
        with open(f"{self.repository}/tasks.jsonl", "w", encoding="utf-8") as file:
            json.dump({"instance_id": "one", "repository": self.repository, "prompt": "write one.txt 1"}, file)
        self.type("berth batch tasks.jsonl -j 8 --agent opencode --timeout 1800")
        self.assertIn("one.txt", json.loads(self.read("repository/tasks.predictions.jsonl"))["model_patch"])
        self.type("berth batch tasks.jsonl -j 8 --agent opencode --permission allow --timeout 1800")
        self.type("berth acp --agent opencode --worktree")  # its editor is gone at once
        self.type("berth agent ls", "opencode")
        self.type("./run -- agent ls", "opencode")
        self.type("berth agent probe opencode", "opencode")
        self.type("./run -- agent probe mine", "mine")

    def an_agent_with_a_name(self):
        self.type("./run -- agent start clerk --profile worker", "clerk")
        self.type('berth agent prompt clerk "sort the mail" --detach')
        self.watch("berth agent logs clerk -n 100 -f", "sort the mail")
        self.watch("berth agent attach clerk", "ahoy", lambda: self.client.prompt("clerk", "say ahoy"))
        self.type("berth agent restart clerk")
        self.type("berth agent reset clerk")
        self.assertEqual(json.loads(self.type("berth agent status clerk --json"))["name"], "clerk")
        self.type("berth agent unit clerk > ~/.config/systemd/user/berth-agent-clerk.service")
        self.assertIn("[Service]", self.read(".config/systemd/user/berth-agent-clerk.service"))
        self.type("berth agent stop clerk --now")
        self.type("berth agent rm clerk --force")
        self.type("berth agent start clerk --profile worker --repo . -- --verbose")
        self.type("berth agent stop clerk --now")
        self.type("berth agent purge clerk")

    def tokens_and_contract(self):
        self.type("berth token create page --scope sessions:view --days 30", "berth_")
        self.type("berth token list", "page")
        self.token = json.loads(self.type("berth token list --json"))["tokens"][0]["id"]
        self.ran.remove("berth token list --json")
        self.type("berth token revoke tok_01")
        self.type("berth openapi > openapi.json")
        self.assertEqual(json.loads(self.read("repository/openapi.json"))["openapi"][:3], "3.1")

    def facts(self):
        self.type("berth version", "berth ")
        self.assertTrue(json.loads(self.type("berth doctor --json"))["ok"])
        self.type("berth doctor --reap")
        with open(f"{self.repository}/berth.toml", "w", encoding="utf-8") as file:
            file.write('[agents.mine]\ncommand = "/bin/true"\n')
        self.type("berth config print --config berth.toml", "/bin/true")
        self.type("berth completions bash > ~/.local/share/bash-completion/completions/berth")
        self.assertIn("complete ", self.read(".local/share/bash-completion/completions/berth"))
        self.type("berth agent unit > ~/.config/systemd/user/berth.service")
        self.assertIn("[Service]", self.read(".config/systemd/user/berth.service"))
        self.type("berth --help", "session")

    def the_store(self):
        self.type("berth store backup /backup/berth.db")
        self.type("berth store check --from /backup/berth.db")
        self.type("berth store backup /var/backups/berth.db")
        self.assertEqual(self.server.stop(), 0)
        self.type("berth store export > berth.jsonl")
        self.type("berth store import --state /tmp/copy < berth.jsonl")

    def servers(self):
        self.watch("berth serve --config berth.toml --listen 127.0.0.1:8420", "token")
        listen = {"BERTH_LISTEN": "127.0.0.1:0"}
        self.watch("berth serve --take-over", "token", environment=listen)
        self.watch("berth serve --log json", '"level"', environment=listen)
        self.watch("./run", "token", environment=listen)
        self.watch("./run --config berth.toml", "token", environment=listen)
        self.type("./run demo", "Nothing is left running.")


class Tour(Rig):

    def test_the_tour_of_the_readme_does_what_it_says(self):
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
            script, = re.findall(r"^```sh\n(.*?)^```", file.read(), re.M | re.S)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.assertEqual((script.count("./run &"), script.count("127.0.0.1:8420")), (1, 1))
        # A person would wait for its line.
        script = script.replace("./run &", "./run >server.log & trap 'kill $!; wait' EXIT\n"
                                "until grep -q token server.log; do sleep 0.1; done;", 1).replace("8420", str(port))
        commands = commands_of_the_tour()
        self.assertEqual(len(commands), 4)
        more = [command if " attach " not in command else f"timeout -s INT 5 {command} || test $? = 124" for command in commands]
        script = script.replace("\n# what changed, and away with it", "\n".join(["", *more[1:], ""]), 1)
        environment = {"BERTH_LISTEN": f"127.0.0.1:{port}", "BERTH_STATE": ""}
        process = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=self.repository, capture_output=True,
                                 text=True, timeout=120, env={**self.environment, **environment})
        self.assertEqual(process.returncode, 0, process.stdout + process.stderr)
        for wanted in ('"id":"tour"', '"state":"completed"', "event: turn.ended", "hello\n✔ completed", "+it works"):
            self.assertIn(wanted, process.stdout)


if __name__ == "__main__":
    main()
