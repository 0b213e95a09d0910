#!/usr/bin/python3
"""The example programs of docs/examples do what the pages say, and the pages quote them word for word.

    tests/install/test_examples.py --write      brings the quotes in docs/*.md up to date
"""
import glob
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BERTH = os.environ.get("BERTH") or os.path.join(ROOT, "build", "server", "berth")
BUILD = os.path.dirname(os.path.dirname(BERTH))
# <!-- docs/examples/foreign_loop.cc: foreign-loop --> and the block of code after it.
QUOTE = re.compile(r"(<!-- (docs/examples/\w+\.cc): ([\w-]+) -->\n```cpp\n)(.*?)(```\n)", re.S)


def run(name, *arguments):
    done = subprocess.run([os.path.join(BUILD, "docs", "examples", "example_" + name), *arguments],
                          capture_output=True, text=True, timeout=60)
    if done.returncode != 0 or done.stderr:
        raise AssertionError(f"{name} ended with {done.returncode}: {done.stderr}")
    return done.stdout.splitlines()


def part(path, name):
    """What stands between the two lines `// [name]` of a file, moved to the left."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        pieces = re.split(rf"^ *// \[{re.escape(name)}\]\n", file.read(), flags=re.M)
    if len(pieces) != 3:
        raise AssertionError(f"{path}: no part [{name}] between two such lines")
    lines = pieces[1].strip("\n").split("\n")
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "".join(line[indent:] + "\n" for line in lines)


def pages():
    return sorted(glob.glob(os.path.join(ROOT, "docs", "*.md")))


class Examples(unittest.TestCase):
    def test_own_threads_posts_each_result_to_the_host(self):
        lines = run("own_threads")
        self.assertEqual(sorted(lines[:3]), ["host: agent 0", "host: agent 1", "host: agent 2"])
        self.assertEqual(lines[3:], ["3 names from 3 pipes"])

    def test_foreign_loop_serves_both_and_comes_to_an_end(self):
        lines = run("foreign_loop")
        self.assertEqual(lines.count("host: tick"), 4)
        self.assertEqual([line for line in lines if line.startswith("berth")],
                         ["berth: one", "berth: two", "berth: three"])
        # The host was not held up by berth's waiting, nor berth by the host's.
        self.assertLess(lines.index("host: tick"), lines.index("berth: three"))
        self.assertEqual(lines[-1], "both are done")

    def test_tour_comes_to_its_end(self):
        self.assertEqual(run("tour"), ["lines: 2 and 1", "ticks: some", "heard: aye", "you said ahoy",
                                       "exit code 3", "users: read"])

    def test_asio_tokens_joins_both_worlds(self):
        self.assertEqual(run("asio_tokens"),
                         ["short trip: arrived", "long trip: patience ended", "the host's timer: came"])

    def test_asio_host_has_one_thread_for_both(self):
        lines = run("asio_host")
        self.assertEqual(sorted(lines[:-1]), ["berth: bytes of a pipe", *3 * ["host: tick"]])
        self.assertEqual(lines[-1], "nothing left to do")

    def test_whole_server_runs_a_turn_without_a_socket(self):
        with tempfile.TemporaryDirectory(prefix="berth-example-") as folder:
            repository = os.path.join(folder, "repository")
            for command in (["init", "-q", repository],
                            ["-C", repository, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q",
                             "--allow-empty", "-m", "first"]):
                subprocess.run(["git", *command], check=True)
            state = os.path.join(folder, "state")
            os.mkdir(state)
            lines = run("whole_server", state, repository, os.path.join(BUILD, "bench/agents/berth-scripted-agent"))
            self.assertEqual(lines[:2], ["session: 201", "turn: 200"])
            self.assertIn("event: turn.started", lines)
            self.assertIn("event: turn.ended", lines)
            self.assertFalse(os.path.exists(os.path.join(state, "endpoint.json")))


class LineServer(unittest.TestCase):
    def setUp(self):
        self.server = subprocess.Popen([os.path.join(BUILD, "docs/examples/example_line_server")],
                                       stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.end)
        url = self.server.stdout.readline().strip()
        self.port = int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/lines", url).group(1))

    def end(self):
        self.server.stdout.close()
        if self.server.poll() is None:
            self.server.kill()
        self.server.wait()

    def ask(self, method, path="/lines", body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body, headers or {})
        self.addCleanup(connection.close)
        return connection.getresponse()

    def post(self, text):
        return json.load(self.ask("POST", body=json.dumps({"text": text})))["seq"]

    def follow(self, headers=None):
        """A stream of events, from behind the comment that says that it began."""
        answer = self.ask("GET", headers=headers)
        self.assertEqual(self.frame(answer), ": hello\n\n")
        return answer

    @staticmethod
    def frame(answer):
        text = b""
        while not text.endswith(b"\n\n"):
            byte = answer.read(1)
            if not byte:
                break
            text += byte
        return text.decode()

    def test_followers_get_what_was_and_what_comes(self):
        self.assertEqual(self.post("first\nwith a line end"), 1)
        follower = self.follow()
        self.assertEqual(follower.getheader("Content-Type"), "text/event-stream")
        self.assertEqual(self.frame(follower), 'id: 1\nevent: line\ndata: "first\\nwith a line end"\n\n')
        self.assertEqual(self.post("second"), 2)
        self.assertEqual(self.frame(follower), 'id: 2\nevent: line\ndata: "second"\n\n')

    def test_who_comes_back_goes_on_where_it_was(self):
        for number in range(1, 4):
            self.assertEqual(self.post(f"line {number}"), number)
        follower = self.follow({"Last-Event-ID": "2"})
        self.assertEqual(self.frame(follower), 'id: 3\nevent: line\ndata: "line 3"\n\n')

    def test_refuses_what_it_does_not_know(self):
        self.assertEqual(self.ask("POST", body="{").status, 400)
        self.assertEqual(self.ask("POST", body='{"text":7}').status, 400)
        self.assertEqual(self.ask("GET", "/other").status, 404)

    def test_ends_in_order_with_a_follower_that_waits(self):
        follower = self.follow()
        self.server.send_signal(signal.SIGTERM)
        self.assertEqual(follower.read(), b"")
        self.assertEqual(self.server.wait(timeout=20), 0)

    def test_holds_on_the_simulated_machine(self):
        self.assertEqual(run("line_server_sim"), ["200 seeds passed"])


class Pages(unittest.TestCase):
    def test_quotes_are_what_is_compiled(self):
        quotes = 0
        for page in pages():
            with open(page, encoding="utf-8") as file:
                text = file.read()
            for quote in QUOTE.finditer(text):
                quotes += 1
                self.assertEqual(quote.group(4), part(quote.group(2), quote.group(3)),
                                 f"{page} quotes {quote.group(2)} [{quote.group(3)}]: {__file__} --write")
        self.assertGreater(quotes, 3)

    def test_every_block_of_code_is_a_quote(self):
        for name in ("reactor.md", "embedding.md"):
            with open(os.path.join(ROOT, "docs", name), encoding="utf-8") as file:
                text = file.read()
            self.assertEqual(text.count("```cpp"), len(QUOTE.findall(text)), name)


def write():
    for page in pages():
        with open(page, encoding="utf-8") as file:
            text = file.read()
        new = QUOTE.sub(lambda quote: quote.group(1) + part(quote.group(2), quote.group(3)) + quote.group(5), text)
        if new != text:
            with open(page, "w", encoding="utf-8") as file:
                file.write(new)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    else:
        unittest.main()
