#!/usr/bin/python3
"""`berth serve` over TLS: the API, event streams, the CLI, and a new certificate while all of it goes on."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_server import BINARY, Server, wait_until
from summary import main

BIG = 300_000  # characters of one prompt: many TLS records


def make_certificate(folder, name):
    """A certificate that vouches for itself and is good for 127.0.0.1 and localhost, and its key."""
    certificate, key = (os.path.join(folder, f"{name}.{end}") for end in ("pem", "key"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "1", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
                    "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


class Tls(unittest.TestCase):
    def setUp(self):
        own = tempfile.TemporaryDirectory(prefix="berth-tls-")
        self.addCleanup(own.cleanup)
        self.folder = own.name
        for name in ("first", "second"):
            make_certificate(self.folder, name)
        self.install("first")
        trust = ssl.create_default_context()
        for name in ("first", "second"):
            trust.load_verify_locations(os.path.join(self.folder, name + ".pem"))
        config = f'[tls]\ncertificate = "{self.folder}/served.pem"\nkey = "{self.folder}/served.key"\n'
        self.server = Server(config, tls=trust)
        self.addCleanup(self.server.close)
        self.server.start()
        self.client = self.server.client

    def install(self, name):
        for end in ("pem", "key"):
            link = os.path.join(self.folder, "new")
            os.symlink(f"{name}.{end}", link)
            os.replace(link, os.path.join(self.folder, "served." + end))

    def served(self):
        """The name in the certificate that a new connection is shown."""
        with socket.create_connection((self.client.host, self.client.port), timeout=10) as plain:
            with self.server._tls.wrap_socket(plain, server_hostname=self.client.host) as shown:
                return dict(pair for entry in shown.getpeercert()["subject"] for pair in entry)["commonName"]

    def berth(self, *arguments):
        return subprocess.run([BINARY, "--state", self.server.state, *arguments], capture_output=True, text=True,
                              timeout=60, env={**os.environ, "BERTH_CA_FILE": ""})

    def test_requests_and_streams_pass_through_tls(self):
        self.assertTrue(self.client.url.startswith("https://127.0.0.1:"), self.client.url)
        session = self.client.open(agent="scripted", directory=self.folder)["id"]
        with self.client.events(session) as stream:
            turn = self.client.prompt(session, "echo " + "x" * BIG)
            ended = stream.wait_for("turn.ended", turn=turn["id"])
            self.assertEqual([event.seq for event in stream.seen], list(range(1, ended.seq + 1)))
            self.assertGreater(sum(len(str(event.data)) for event in stream.seen), BIG)
        self.assertEqual([event.content() for event in self.client.log(session)],
                         [event.content() for event in stream.seen])

    def test_a_client_without_tls_or_without_trust_gets_nothing(self):
        with socket.create_connection((self.client.host, self.client.port), timeout=10) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            heard = b""
            try:
                while piece := plain.recv(4096):
                    heard += piece
            except ConnectionResetError:
                pass
        self.assertNotIn(b"HTTP/1.1", heard)
        with self.assertRaises(ssl.SSLCertVerificationError):
            with socket.create_connection((self.client.host, self.client.port), timeout=10) as plain:
                ssl.create_default_context().wrap_socket(plain, server_hostname=self.client.host)
        self.assertEqual(self.client.raw("GET", "/healthz").status, 200)

    def test_the_commands_believe_whom_they_are_told_to(self):
        refused = self.berth("session", "list")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("certificate", refused.stderr)
        listed = self.berth("--ca-file", os.path.join(self.folder, "first.pem"), "session", "list")
        self.assertEqual(listed.returncode, 0, listed.stderr)

    def test_a_hangup_brings_a_new_certificate_and_ends_nothing(self):
        self.assertEqual(self.served(), "first")
        session = self.client.open(agent="scripted", directory=self.folder)["id"]
        with self.client.events(session) as stream:
            for name in ("second", "first", "second"):  # as often as one likes
                self.install(name)
                self.server.process.send_signal(signal.SIGHUP)
                wait_until(lambda name=name: self.served() == name, what=lambda: "the new certificate")
            turn = self.client.prompt(session, "hello")
            stream.wait_for("turn.ended", turn=turn["id"])

    def test_a_broken_certificate_is_refused_and_the_old_one_stays(self):
        os.remove(os.path.join(self.folder, "served.key"))
        os.symlink("second.key", os.path.join(self.folder, "served.key"))  # not the certificate's
        self.server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "kept the certificate as it was" in self.server.log_tail())
        self.assertEqual(self.served(), "first")
        self.assertEqual(self.client.raw("GET", "/readyz").status, 200)
        self.assertEqual(self.server.stop(), 0)
        with self.assertRaisesRegex(AssertionError, "served.key"):
            self.server.start()


if __name__ == "__main__":
    main()
