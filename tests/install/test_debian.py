#!/usr/bin/python3
"""The Debian package: what is in it, that it works from its own folders, and that it is the same when made again."""
import glob
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BERTH = os.environ.get("BERTH") or os.path.join(ROOT, "build", "server", "berth")
BUILD = os.path.dirname(os.path.dirname(BERTH))
SCRIPT = os.path.join(ROOT, "server", "package", "debian.sh")


def run(*command, **options):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=120,
                          **options).stdout.strip()


class Debian(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="berth-deb-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.package = run(SCRIPT, BUILD, os.path.join(cls.folder.name, "out"))
        cls.tree = os.path.join(cls.folder.name, "tree")
        run("dpkg-deb", "-x", cls.package, cls.tree)

    def path(self, name):
        return os.path.join(self.tree, name)

    def field(self, name):
        return run("dpkg-deb", "-f", self.package, name)

    def test_says_what_it_needs(self):
        self.assertEqual("berth " + self.field("Version"), run(BERTH, "version").splitlines()[0])
        for library in ("libc6", "libgit2-1.5", "liburing2", "libsqlite3-0", "git"):
            self.assertRegex(self.field("Depends"), rf"(^|, ){library}\b")

    def test_is_the_same_when_made_again(self):
        again = run(SCRIPT, BUILD, os.path.join(self.folder.name, "again"))
        with open(self.package, "rb") as one, open(again, "rb") as other:
            self.assertEqual(one.read(), other.read())

    def test_has_the_page_the_completions_and_no_scripts_that_fail(self):
        for name in ("usr/share/man/man1/berth.1.gz", "usr/share/bash-completion/completions/berth",
                     "usr/share/zsh/vendor-completions/_berth", "usr/share/fish/vendor_completions.d/berth.fish",
                     "usr/share/doc/berth/copyright", "usr/lib/sysusers.d/berth.conf"):
            self.assertGreater(os.path.getsize(self.path(name)), 40, name)
        control = os.path.join(self.folder.name, "control")
        run("dpkg-deb", "-e", self.package, control)
        for script in ("postinst", "prerm"):
            run("sh", "-n", os.path.join(control, script))

    def test_the_service_runs_a_turn_from_the_folders_of_the_package(self):
        with open(self.path("lib/systemd/system/berth.service"), encoding="utf-8") as unit:
            start = next(line for line in unit if line.startswith("ExecStart=")).removeprefix("ExecStart=")
        command = [self.path(word[1:]) if word.startswith(("/usr/", "/etc/")) else word for word in shlex.split(start)]
        state = os.path.join(self.folder.name, "state")
        environment = {"PATH": "/usr/bin:/bin", "HOME": state, "BERTH_STATE": state}
        os.makedirs(state, mode=0o700)
        with subprocess.Popen([*command, "--listen", "127.0.0.1:0"], stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, env=environment, text=True) as server:
            try:
                self.wait_for(os.path.join(state, "endpoint.json"), server)
                berth = self.path("usr/bin/berth")
                run(berth, "session", "new", "one", env=environment)
                self.assertIn("hello from here", run(berth, "prompt", "one", "say hello from here", env=environment))
                self.assertIn("berth-keeper", run(berth, "doctor", env=environment))
                told = json.loads(run(berth, "session", "show", "one", "--json", env=environment))
                self.assertEqual(told["id"], "one")
            finally:
                server.send_signal(signal.SIGTERM)
                _, said = server.communicate(timeout=60)
        self.assertEqual(server.returncode, 0, said)

    def test_is_installed_by_dpkg_and_runs_a_first_turn_from_there(self):
        """On an overlay of this machine's files, so that dpkg has its own record of what is here to depend on."""
        place = os.path.join(self.folder.name, "machine")
        os.mkdir(place)
        root = os.path.join(place, "root")
        enter = f"""mount -t tmpfs none {place}
mkdir {place}/upper {place}/work {root}
mount -t overlay overlay -o lowerdir=/,upperdir={place}/upper,workdir={place}/work {root}
mount --rbind /dev {root}/dev
mount -t proc proc {root}/proc
mount -t tmpfs none {root}/tmp
cp {self.package} {root}/tmp/berth.deb
"""
        inside = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec"]
        if subprocess.run([*inside, enter], capture_output=True, check=False, timeout=60).returncode != 0:
            self.skipTest("no overlay of this machine can be mounted here")
        script = """export DEBIAN_FRONTEND=noninteractive HOME=/tmp/home BERTH_STATE=/tmp/home/state PATH=/usr/sbin:/usr/bin:/sbin:/bin
mkdir -m 700 -p /tmp/home && cd /tmp/home
dpkg -i /tmp/berth.deb >/tmp/said 2>&1 || { cat /tmp/said; exit 1; }
dpkg -s berth | grep ^Status:
berth serve --listen 127.0.0.1:0 >/tmp/log 2>&1 &
timeout 60 sh -c 'until [ -e state/endpoint.json ]; do sleep 0.05; done' || { cat /tmp/log; exit 1; }
berth session new one && berth prompt one 'say hello from dpkg'
kill -TERM $! && wait $!
dpkg --purge berth >/tmp/said 2>&1 || { cat /tmp/said; exit 1; }
test ! -e /usr/bin/berth && test ! -e /etc/berth && echo gone
"""
        done = subprocess.run([*inside, enter + f"exec chroot {root} sh -es"], input=script, capture_output=True,
                              text=True, check=False, timeout=240)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for told in ("Status: install ok installed", "hello from dpkg", "gone"):
            self.assertIn(told, done.stdout)

    def wait_for(self, path, server):
        deadline = time.monotonic() + 30
        while not glob.glob(path):
            self.assertIsNone(server.poll(), "the service ended")
            self.assertLess(time.monotonic(), deadline, "the service is not ready")
            time.sleep(0.02)


if __name__ == "__main__":
    program = unittest.main(verbosity=2, exit=False)
    sys.exit(not program.result.wasSuccessful())
