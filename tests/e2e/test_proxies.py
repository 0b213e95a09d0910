#!/usr/bin/python3
"""berth behind nginx and Caddy with their default settings: streams are not held back, and come back after a cut."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import Client, session_path
from berth_server import Server, wait_until
from summary import main
from test_streams import Sse, ended, places

PREFIX = "/tools/berth"

NGINX = """
daemon off; master_process off; user root; pid nginx.pid; error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://{upstream}; }}
  }}
}}
"""

CADDY = """
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{port} {{
  reverse_proxy {upstream}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Proxy:
    """A proxy before the server; start() again after kill() for one that was restarted."""

    def __init__(self, kind, upstream):
        self._kind, self._own = kind, tempfile.TemporaryDirectory(prefix="berth-proxy-")
        self.port = free_port()
        self._file = os.path.join(self._own.name, kind)
        with open(self._file, "w", encoding="utf-8") as file:
            file.write({"nginx": NGINX, "caddy": CADDY}[kind].format(port=self.port, upstream=upstream))
        self._process = None

    def start(self):
        folder = self._own.name
        command = {"nginx": ["nginx", "-e", "stderr", "-p", folder, "-c", self._file],
                   "caddy": ["caddy", "run", "--adapter", "caddyfile", "--config", self._file]}[self._kind]
        program = shutil.which(command[0], path=os.environ["PATH"] + ":/usr/sbin")
        if program is None:
            raise AssertionError(f"{command[0]} is missing: .ci/packages.sh names its package")
        environment = {**os.environ, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder, "HOME": folder}
        with open(os.path.join(folder, "log"), "ab") as log:
            self._process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", program, *command[1:]],
                                             stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        wait_until(self._listens, 30, self._log)
        return self

    def stop(self):
        """At once: Caddy's own way waits for streams, which do not end."""
        self._process.kill()
        self._process.wait()

    def close(self):
        self.stop()
        self._own.cleanup()

    def _listens(self):
        assert self._process.poll() is None, self._log()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _log(self):
        with open(os.path.join(self._own.name, "log"), encoding="utf-8", errors="replace") as log:
            return log.read()[-2000:]


class Below(Client):
    """A client that sees the API below PREFIX."""

    def _send(self, connection, method, path, body, headers):
        super()._send(connection, method, PREFIX + path, body, headers)


class Proxies(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server(f'base_path = "{PREFIX}"\n[limits]\nheartbeat = 1\n'))

    def behind(self, kind):
        direct = self.server.client
        proxy = Proxy(kind, f"{direct.host}:{direct.port}").start()
        self.addCleanup(proxy.close)
        return proxy, Below(f"http://127.0.0.1:{proxy.port}", direct.token)

    def check_streams(self, kind):
        proxy, client = self.behind(kind)
        session = client.open()["id"]
        path = session_path(session, "events") + "?heartbeat=event"
        with Sse(client, path) as stream:
            # Each before the next is asked for: what a proxy held back would not come.
            for i in range(3):
                client.prompt(session, f"say number {i}")
                stream.wait(lambda seen: sum(1 for _, kind, _ in seen if kind == "turn.ended") == i + 1)
            stream.wait(lambda seen: sum(1 for _, kind, _ in seen if kind == "heartbeat") >= 2)
            last, before = stream.last, [data["seq"] for _, _, data in stream.seen if "seq" in data]
            proxy.stop()
            self.assertTrue(stream.ended.wait(20), "the client sees that the proxy is gone")
        self.server.client.prompt(session, "say while nobody listens", wait=20)
        proxy.start()
        with Sse(client, path, last=last) as stream:
            stream.wait(lambda seen: any(kind == "turn.ended" for _, kind, _ in seen))
            after = [data["seq"] for _, _, data in stream.seen if "seq" in data]
        self.assertEqual(before + after, list(range(1, len(before + after) + 1)), "no gap, no duplicate")
        with Sse(client, "/v1/events?sessions=" + session) as stream:
            stream.wait(lambda seen: ended(seen, session, 4))
            stream.wait(lambda _: len(stream.comments) >= 2)
            self.assertEqual([seq for _, seq in places(stream.seen)][:3], [1, 2, 3])

    def check_requests(self, kind):
        _, client = self.behind(kind)
        made = client.raw("POST", "/v1/sessions", {})
        self.assertEqual(made.status, 201)
        path = session_path(made.json()["id"])
        self.assertEqual(made.headers["location"], PREFIX + path, "as the client sees it")
        self.assertEqual(client.get(path)["id"], made.json()["id"])
        turn = client.raw("POST", path + "/turns", {"prompt": "say hi"}, {"Prefer": "wait=20"})
        self.assertEqual(client.get(turn.headers["location"].removeprefix(PREFIX))["state"], "completed")
        content = os.urandom(900_000)  # nginx takes no more than 1 MiB by default
        file = path + "/files/content?path=large"
        self.assertEqual(client.raw("PUT", file, content).status, 201)
        self.assertEqual(client.raw("GET", file).body, content)
        self.assertEqual(client.raw("GET", file, headers={"Range": "bytes=5-9"}).body, content[5:10])
        self.assertEqual(self.server.client.raw("GET", "/tools/berthing/v1/sessions").status, 404)

    def test_streams_through_nginx(self):
        self.check_streams("nginx")

    def test_streams_through_caddy(self):
        self.check_streams("caddy")

    def test_requests_through_nginx(self):
        self.check_requests("nginx")

    def test_requests_through_caddy(self):
        self.check_requests("caddy")


if __name__ == "__main__":
    main()
