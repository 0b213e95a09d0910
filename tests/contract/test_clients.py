#!/usr/bin/python3
"""Clients made out of the contract, in TypeScript and in Python: their types hold, and they drive a real server."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))

from berth_server import BINARY, ROOT, Server, make_repository  # noqa: E402
from summary import main  # noqa: E402

NPM = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "berth", "agents", "typescript")


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, **options)
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout[-4000:]}"
    return done.stdout


class Clients(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="berth-clients-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.contract = os.path.join(self.folder, "openapi.json")
        with open(self.contract, "w", encoding="utf-8") as file:
            subprocess.run([BINARY, "openapi"], stdout=file, check=True, timeout=60)
        self.server = Server().start()
        self.addCleanup(self.server.close)
        self.repository = make_repository(os.path.join(self.folder, "repository"))
        client = self.server.client
        self.arguments = [client.url, client.token, self.repository]

    def check_story(self, output, language, file):
        told = json.loads(output.splitlines()[-1])
        self.assertIn(f"from {language}", told["text"])
        self.assertEqual((told["state"], told["files"], told["code"]), ("completed", [file], "session_not_found"))
        self.assertLess(told["seen"].index("interaction.opened"), told["seen"].index("turn.ended"))

    def typescript(self, source):
        """Makes the types, checks `source` against them and compiles it; the folder with the program."""
        run("bash", os.path.join(ROOT, "tests/real_agents/install.sh"), os.path.join(HERE, "typescript"))
        folder = os.path.join(self.folder, "typescript")
        os.mkdir(folder)
        os.symlink(os.path.join(NPM, "node_modules"), os.path.join(folder, "node_modules"))
        for name in ("package.json", "tsconfig.json"):
            shutil.copy(os.path.join(HERE, "typescript", name), folder)
        with open(os.path.join(folder, "client.ts"), "w", encoding="utf-8") as file:
            file.write(source)
        tools = os.path.join(NPM, "node_modules")
        run("node", os.path.join(tools, "openapi-typescript/bin/cli.js"), self.contract, "-o", "berth.d.ts",
            "--default-non-nullable=false", cwd=folder)
        run("node", os.path.join(tools, "typescript/bin/tsc"), "-p", ".", cwd=folder)
        return folder

    def test_a_typescript_client_runs_a_turn(self):
        with open(os.path.join(HERE, "typescript", "client.ts"), encoding="utf-8") as file:
            source = file.read()
        folder = self.typescript(source)
        self.check_story(run("node", "out/client.js", *self.arguments, cwd=folder), "typescript", "ts.txt")
        with self.assertRaisesRegex(AssertionError, "always"):  # the types are looked at
            shutil.rmtree(folder)
            self.typescript(source.replace('permission: "ask"', 'permission: "always"'))

    def test_a_python_client_runs_a_turn(self):
        with open(os.path.join(self.folder, "berth_api.py"), "w", encoding="utf-8") as file:
            file.write(run(sys.executable, os.path.join(HERE, "make_python_client.py"), self.contract))
        program = os.path.join(self.folder, "client.py")
        shutil.copy(os.path.join(HERE, "python", "client.py"), program)
        check = (sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.path.join(self.folder, "mypy"), "client.py")
        run(*check, cwd=self.folder)
        self.check_story(run(sys.executable, program, *self.arguments), "python", "py.txt")
        with open(program, "r+", encoding="utf-8") as file:
            source = file.read().replace('"permission": "ask"', '"permission": "always"')
            file.seek(0)
            file.write(source)
        with self.assertRaisesRegex(AssertionError, "always|permission"):
            run(*check, cwd=self.folder)


if __name__ == "__main__":
    main()
