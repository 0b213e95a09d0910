"""Runs berth for the end-to-end tests: the server, the repositories and processes around it."""

import json
import os
import signal
import subprocess
import tempfile
import time

from berth_client import Client

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# `./test --full` runs a sanitizer, which keeps freed memory on purpose: RSS says nothing then.
RSS_COUNTS = not os.environ.get("BERTH_FULL")
BINARY = os.environ.get("BERTH", os.path.join(ROOT, "build", "server", "berth"))


class Server:
    """A `berth serve` process with its state directory; kill it and start it again at will."""

    def __init__(self, config="", state=None, arguments=(), environment=None, launcher=(), tls=None):
        self._own = tempfile.TemporaryDirectory(prefix="berth-e2e-")
        self.folder = self._own.name
        self.state = state or os.path.join(self.folder, "state")
        self.log_path = os.path.join(self.folder, "berth.log")
        self._config = os.path.join(self.folder, "berth.toml")
        self._arguments, self._environment = list(arguments), environment or {}
        self._launcher = list(launcher)
        self._tls = tls  # the client's ssl.SSLContext
        self.process = self.client = None
        with open(self._config, "w", encoding="utf-8") as file:
            file.write(config)

    @property
    def pid(self):
        return self.process.pid

    def start(self, timeout=20, ready=(200,)):
        """Starts the process and waits until /readyz answers with one of `ready`."""
        command = [BINARY, "serve", "--state", self.state, "--listen", "127.0.0.1:0", "--config",
                   self._config, *self._arguments]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._launcher, *command],  # it never outlives the test
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **self._environment})
        wait_until(lambda: self._readiness() in ready, timeout, lambda: f"berth is not ready:\n{self.log_tail()}")
        return self

    def kill(self):
        """SIGKILL, as a crash."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout=20):
        """An orderly end that waits for no turn: the second signal insists. Returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"berth ignores SIGTERM:\n{self.log_tail()}") from None

    def log_tail(self, size=4000):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()[-size:]

    def close(self):
        if self.process and self.process.poll() is None:
            self.stop()
        self._own.cleanup()

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            if self.process:
                self.kill()
            self._own.cleanup()
            raise

    def __exit__(self, *_):
        self.close()

    def _readiness(self):
        if self.process.poll() is not None:
            raise AssertionError(f"berth ended with {self.process.returncode}:\n{self.log_tail()}")
        try:
            with open(os.path.join(self.state, "endpoint.json"), encoding="utf-8") as file:
                endpoint = json.load(file)
            if endpoint["pid"] != self.pid:
                return None  # left by an earlier process
            with open(endpoint["token_file"], encoding="utf-8") as file:
                self.client = Client(endpoint["url"], file.read().strip(), self._tls)
            return self.client.raw("GET", "/readyz").status
        except (FileNotFoundError, ConnectionError, json.JSONDecodeError):
            return None


def wait_until(condition, timeout=10, what=lambda: "condition"):
    """Waits until `condition()` is true and returns its value; `what` tells of the failure."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what()}")
        time.sleep(0.02)
    return value


def settled(look, seconds=0.5, timeout=30):
    """What `look()` says once it has said the same for so long: berth sees a moment later that the last call hung up."""
    last, since = look(), time.monotonic()
    deadline = since + timeout
    while time.monotonic() - since < seconds:
        time.sleep(0.02)
        if (now := look()) != last:
            last, since = now, time.monotonic()
        if time.monotonic() > deadline:
            raise AssertionError(f"does not settle within {timeout} s: {last}")
    return last


def make_repository(path):
    """A git repository with one commit; returns `path`."""
    def git(*arguments):
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", "-C", path, *identity, *arguments], check=True)

    subprocess.run(["git", "init", "-q", "-b", "main", path], check=True)
    with open(os.path.join(path, "README.md"), "w", encoding="utf-8") as file:
        file.write("# sample\n")
    git("add", ".")
    git("commit", "-q", "-m", "Start")
    return path


def processes_with(entry):
    """Pids of the living processes with this "NAME=value" in the environment they began with.

    Children inherit it, so this finds all that an agent started, whatever session or parent they
    have now. Zombies have no environment and are not alive.
    """
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ:
                if entry.encode() in environ.read().split(b"\0"):
                    found.append(int(pid))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def alive(pid):
    """False for a zombie too: it only waits for its parent to look."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before it was opened, or before it was read
        return False


def describe(pids):
    """Command lines of processes, for messages."""
    lines = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
                lines.append(f"{pid}: {cmdline.read().replace(bytes(1), b' ').decode()[:200]}")
        except (FileNotFoundError, ProcessLookupError):
            continue
    return lines
