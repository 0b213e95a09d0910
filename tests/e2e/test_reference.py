#!/usr/bin/python3
"""What is made of the parser: the page in docs, the man page, completions in the shells themselves."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_server import BINARY, ROOT
from summary import main


def berth(*arguments):
    return subprocess.run([BINARY, *arguments], check=True, capture_output=True, text=True).stdout


class Reference(unittest.TestCase):

    def completed(self, shell, script):
        """Runs a script with the completion of that shell in $completion; returns its lines."""
        if shutil.which(shell) is None:
            self.skipTest(f"{shell} is not installed")
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "completion")
            with open(path, "w", encoding="utf-8") as file:
                file.write(berth("completions", shell))
            arguments = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
            done = subprocess.run([shell, *arguments, "-c", script], capture_output=True, text=True, timeout=60,
                                  env={**os.environ, "completion": path, "HOME": folder})
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout.splitlines()

    def test_the_page_is_what_the_parser_says(self):
        with open(os.path.join(ROOT, "docs", "cli.md"), encoding="utf-8") as file:
            self.assertEqual(file.read(), berth("reference", "markdown"),
                             "write it anew: build/server/berth reference markdown > docs/cli.md")

    def test_every_command_has_an_example_and_says_how_it_ends(self):
        page = berth("reference", "markdown")
        sections = re.findall(r"^## `(.*?)`\n(.*?)(?=^## |\Z)", page, re.M | re.S)
        self.assertGreater(len(sections), 35)
        for command, text in sections:
            example = re.search(r"^Example: `(.+)`$", text, re.M)
            self.assertTrue(example, f"{command} has no example: add it in server/cli/describe.cc")
            self.assertTrue(example[1].startswith(command), example[1])
            self.assertIn("Exit codes: 0 done, 1 ", text)
        self.assertIn("124 the time was over", dict(sections)["berth prompt"])
        told = berth("session", "new", "--help")
        self.assertIn("Example:\n  berth session new", told)
        self.assertIn("130 Ctrl-C", told)

    def test_the_man_page_is_sound(self):
        page = berth("reference", "man")
        self.assertIn(".SS \"berth session new\"", page)
        if shutil.which("groff") is None:
            self.skipTest("groff is not installed")
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=page, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        shown = re.sub(".\b", "", done.stdout)  # bold is typed twice
        self.assertIn("--permission ask|allow|reject", shown)

    def test_the_limits_are_told_as_the_table_has_them(self):
        with open(os.path.join(ROOT, "docs", "configuration.md"), encoding="utf-8") as file:
            section = re.search(r"^## `\[limits\]`\n.*?(?=^## `\[worktrees)", file.read(), re.M | re.S)[0]
        self.assertEqual(section.strip(), berth("reference", "limits").strip(),
                         "write that section anew: build/server/berth reference limits")

    def test_every_limit_that_an_error_names_is_in_the_table(self):
        table = set(re.findall(r"^\| `(\w+)`", berth("reference", "limits"), re.M))
        named = set()
        for folder in ("server", "io", "core"):
            for place, _, files in os.walk(os.path.join(ROOT, folder)):
                for name in (name for name in files if name.endswith(".cc")):
                    with open(os.path.join(place, name), encoding="utf-8") as file:
                        named |= set(re.findall(r'"(?:[^"]*above the limit )?([a-z_]+_max)(?:: | \(| is reached|")',
                                                " ".join(re.findall(r"(?:fail|make_error|refuse)\([^;]*;", file.read()))))
        self.assertGreaterEqual(len(named), 8, named)
        inner = {"shard_mailbox_max"}  # between shards, of which a server has one
        self.assertEqual(named - inner - table, set())

    def test_every_key_of_the_configuration_is_documented_with_its_default(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BERTH_")}
        printed = subprocess.run([BINARY, "config", "print", "--json"], check=True, capture_output=True, text=True,
                                 env=environment).stdout
        values = {value["key"]: value["value"] for value in json.loads(printed)["values"]}
        documented, section = {}, ""
        with open(os.path.join(ROOT, "docs", "configuration.md"), encoding="utf-8") as file:
            for line in file:
                if line.startswith("## "):
                    table = re.match(r"## `\[([a-z]+)\]`", line)
                    section = table[1] + "." if table else "?"
                elif row := re.match(r"\| (`[^|]*) \| ([^|]*) \|", line):
                    keys, defaults = re.findall(r"`(\w+)`", row[1]), row[2].split(", ")
                    for i, key in enumerate(keys):
                        documented[section + key] = defaults[i if len(defaults) == len(keys) else 0]
        self.assertEqual([key for key in values if key not in documented], [])
        self.assertEqual([key for key in documented if key.startswith("limits.") and key not in values], [])
        numbers = {key: text for key, text in documented.items() if key in values and re.fullmatch(r"[\d.]+", text)}
        self.assertGreater(len(numbers), 30)
        self.assertEqual({key: float(values[key]) for key in numbers},
                         {key: float(text) for key, text in numbers.items()})

    def test_bash_completes(self):
        def complete(*words):
            quoted = " ".join(f"'{word}'" for word in words)
            return self.completed("bash", f'source "$completion"; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1};'
                                          ' _berth; printf "%s\\n" "${COMPREPLY[@]}"')
        self.assertEqual(complete("berth", "sess"), ["session"])
        self.assertEqual(complete("berth", "session", "c"), ["close", "cancel"])
        self.assertEqual(complete("berth", "--json", "session", "new", "--perm"), ["--permission"])
        self.assertEqual(complete("berth", "session", "new", "--permission", ""), ["ask", "allow", "reject"])
        self.assertEqual(complete("berth", "serve", "--config", ""), [""])  # files, by default
        self.assertIn("--state", complete("berth", "attach", "x", "--"))

    def test_zsh_completes(self):
        def complete(*words):
            quoted = " ".join(f"'{word}'" for word in words)
            return self.completed("zsh", 'compdef() { :; }; _files() { print files; }; compadd() { print -l "$@"; };'
                                         '_describe() { print -l -- ${(P)2}; }; source "$completion";'
                                         f' words=({quoted}); CURRENT={len(words)}; _berth')
        self.assertIn("session:open, list, show, close and delete sessions", complete("berth", ""))
        self.assertTrue(any(line.startswith("--permission:") for line in complete("berth", "session", "new", "")))
        self.assertEqual(complete("berth", "session", "new", "--permission", ""), ["ask", "allow", "reject"])
        self.assertEqual(complete("berth", "--state", ""), ["files"])

    def test_fish_completes(self):
        def complete(line):
            shown = self.completed("fish", f'source $completion; complete -C "{line}"')
            return [each.split("\t")[0] for each in shown]
        self.assertIn("session", complete("berth se"))
        self.assertEqual(sorted(complete("berth session c")), ["cancel", "close"])
        self.assertEqual(complete("berth session new --permission r"), ["reject"])
        self.assertIn("--permission", complete("berth session new --"))
        self.assertIn("--state", complete("berth attach --"))


if __name__ == "__main__":
    main()
