#!/usr/bin/python3
"""Under a supervisor: berth serves the socket it is handed, and tells when it is ready and when it stops."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_server import BINARY
from summary import main


class Supervisor:
    """Starts berth as systemd would: LISTEN_PID is the child's own, the sockets are 3 and up."""

    def __init__(self, listeners, notify=None, environment=None):
        self.folder = tempfile.TemporaryDirectory(prefix="berth-e2e-")
        names = {"LISTEN_FDS": str(len(listeners)), **(environment or {})}
        self.heard = None
        if notify is not None:
            self.heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            path = os.path.join(self.folder.name, "notify") if notify == "path" else notify
            self.heard.bind("\0" + path[1:] if path.startswith("@") else path)
            self.heard.settimeout(20)
            names["NOTIFY_SOCKET"] = path
        # The shell keeps its pid across exec, so it can say whose the sockets are.
        high = [fcntl.fcntl(fd.fileno(), fcntl.F_DUPFD, 50) for fd in listeners]
        shell = "".join(f"exec {3 + i}<&{fd} {fd}<&-; " for i, fd in enumerate(high))
        shell += f'export LISTEN_PID=$$; exec {BINARY} serve --state {self.folder.name}/state'
        self.process = subprocess.Popen(
            ["bash", "-c", shell], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            pass_fds=high, env={**os.environ, **names})
        for fd in high:
            os.close(fd)

    def tell(self):
        return self.heard.recv(4096).decode().split("\n")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        if self.heard:
            self.heard.close()
        self.folder.cleanup()


class Systemd(unittest.TestCase):

    def supervise(self, *arguments, **options):
        supervisor = Supervisor(*arguments, **options)
        self.addCleanup(supervisor.close)
        return supervisor

    def listener(self):
        opened = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(opened.close)
        return opened

    def test_serves_the_socket_it_is_handed_and_tells_how_it_goes(self):
        listener = self.listener()
        port = listener.getsockname()[1]
        # Somebody connects before the service is there: the kernel keeps it waiting.
        early = socket.create_connection(("127.0.0.1", port), timeout=20)
        early.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        berth = self.supervise([listener], notify=f"@berth-e2e-{os.getpid()}")
        ready = json.loads(berth.process.stdout.readline())
        self.assertEqual(ready["url"], f"http://127.0.0.1:{port}")
        self.assertEqual(berth.tell(), ["READY=1", f"STATUS=serving http://127.0.0.1:{port}"])
        self.assertTrue(early.recv(100).startswith(b"HTTP/1.1 "))
        early.close()
        berth.process.send_signal(signal.SIGTERM)
        self.assertEqual(berth.tell()[0], "STOPPING=1")
        self.assertEqual(berth.process.wait(20), 0)
        # The socket is the supervisor's: it still listens for the next start.
        again = self.supervise([listener])
        self.assertEqual(json.loads(again.process.stdout.readline())["url"], f"http://127.0.0.1:{port}")

    def test_shows_signs_of_life(self):
        berth = self.supervise([self.listener()], notify="path", environment={"WATCHDOG_USEC": "400000"})
        told = [berth.tell()[0] for _ in range(4)]
        self.assertEqual(told, ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"])

    def test_refuses_what_it_cannot_serve(self):
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(datagrams.close)
        for handed, words in (([datagrams], "is no listening stream socket"),
                              ([self.listener(), self.listener()], "one socket is served, not 2")):
            berth = self.supervise(handed)
            _, errors = berth.process.communicate(timeout=20)
            self.assertEqual(berth.process.returncode, 1)
            self.assertIn(words, errors)


if __name__ == "__main__":
    main()
