"""Starts model_server.mjs and stops it again."""

import json
import os
import subprocess


class ModelServer:
    """A running scripted model server; it ends with the `with` block, or with this process."""

    def __init__(self, log=None):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "model_server.mjs")
        arguments = ["--log", log] if log else []
        self._process = subprocess.Popen(["node", script, *arguments], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE)
        ready = self._process.stdout.readline()
        if not ready:
            raise RuntimeError("the model server did not start (is node 18 or newer installed?)")
        self.port = json.loads(ready)["port"]

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=5)
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
