#!/usr/bin/python3
"""What a stranger gets from `meson install`: programs build with pkg-config's flags alone, each header stands alone."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BERTH = os.environ.get("BERTH") or os.path.join(ROOT, "build", "server", "berth")
BUILD = os.path.dirname(os.path.dirname(BERTH))
COMPILER = shutil.which("clang++-19") or "clang++"
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]

# What every server includes anyway. A public header may read so much more text than that to compile alone. Bytes, not
# seconds: they are the same in every run, on any machine (0.2 s of compiling are some 1.4 MB here).
VOCABULARY = ("chrono", "functional", "memory", "optional", "span", "string", "tl/expected.hpp", "vector")
TEXT_MAX = 1.15
# Asio is what this bridge is about, and nobody includes it by accident.
EXEMPT = ("berth/io/asio_interop.h",)


def build_options():
    answer = subprocess.run(["meson", "introspect", "--buildoptions", BUILD], capture_output=True, text=True, check=True)
    return {option["name"]: option["value"] for option in json.loads(answer.stdout)}


def setUpModule():
    global stage, prefix, sanitizer
    stage = tempfile.TemporaryDirectory(prefix="berth-install-")
    unittest.addModuleCleanup(stage.cleanup)
    options = build_options()
    sanitizer = [] if options["b_sanitize"] == "none" else ["-fsanitize=" + options["b_sanitize"]]
    subprocess.run(["meson", "install", "--no-rebuild", "--quiet", "--tags", "devel", "-C", BUILD, "--destdir",
                    stage.name], check=True, stdout=subprocess.PIPE)
    prefix = stage.name + options["prefix"]
    folder = os.path.join(prefix, options["libdir"], "pkgconfig")
    os.environ["PKG_CONFIG_PATH"] = folder


def pkg_config(*arguments):
    return subprocess.run(["pkg-config", *arguments], capture_output=True, text=True, check=True).stdout.split()


def headers():
    base = os.path.join(prefix, "include")
    for folder, _, names in sorted(os.walk(base)):
        for name in sorted(names):
            yield os.path.relpath(os.path.join(folder, name), base)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def fingerprint(name):
    """Of a header, all of ours that it includes (or misses), the compiler and its flags: what decides its check."""
    seen, todo = {}, [name]
    while todo:
        header = todo.pop()
        path = os.path.join(prefix, "include", header)
        if header not in seen and header.startswith("berth/"):
            seen[header] = read(path) if os.path.exists(path) else None
            todo += re.findall(r"#include <([^>]+)>", seen[header] or "")
    version = subprocess.run([COMPILER, "--version"], capture_output=True, check=True).stdout
    return hashlib.sha256(repr((name, sorted(seen.items()), version, WARNINGS)).encode()).hexdigest()


def check_header(name, flags):
    """syntax_check() of one header alone, remembered while nothing that decides it has changed."""
    folder = os.path.expanduser("~/.cache/berth/installed-headers")
    os.makedirs(folder, exist_ok=True)
    stamp = os.path.join(folder, fingerprint(name))
    if os.path.exists(stamp):
        with open(stamp, encoding="ascii") as file:
            return "", int(file.read())
    errors, size = syntax_check(f"#include <{name}>\n", flags)
    if not errors:
        with open(f"{stamp}.{os.getpid()}", "w", encoding="ascii") as file:
            file.write(str(size))
        os.replace(file.name, stamp)
    return errors, size


def syntax_check(include_lines, flags):
    """(errors, bytes of text read) of compiling nothing but these lines."""
    with tempfile.NamedTemporaryFile("r", dir=stage.name) as rule:
        done = subprocess.run([COMPILER, "-std=c++20", "-fsyntax-only", "-MD", "-MF", rule.name, *WARNINGS, *flags,
                               "-x", "c++", "-"], input=include_lines, capture_output=True, text=True)
        files = rule.read().replace("\\\n", " ").partition(":")[2].split()
    errors = (done.stderr or "failed") if done.returncode else ""
    return errors, sum(os.path.getsize(name) for name in files if name != "-")


class Strangers(unittest.TestCase):
    def build_and_run(self, source, package):
        program = os.path.join(stage.name, os.path.basename(source).removesuffix(".cc"))
        command = [COMPILER, "-std=c++20", *WARNINGS, *sanitizer, os.path.join(HERE, source), "-o", program,
                   *pkg_config("--cflags", "--libs", package)]
        built = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(built.returncode, 0, " ".join(command) + "\n" + built.stderr)
        ran = subprocess.run([program], capture_output=True, text=True, timeout=60)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        return ran.stdout

    def test_a_program_on_the_reactor_builds_and_runs(self):
        version = pkg_config("--modversion", "berth-io")[0]
        self.assertEqual(self.build_and_run("stranger.cc", "berth-io"), f"{version} through a pipe\n")

    def test_a_program_can_be_tested_on_the_simulated_machine(self):
        self.assertEqual(self.build_and_run("stranger_sim.cc", "berth-sim"), "1 60\n")

    def test_the_flags_name_the_installed_tree_and_nothing_of_the_sources(self):
        flags = pkg_config("--cflags", "--libs", "berth-core", "berth-io", "berth-sim")
        own = [os.path.realpath(f[2:]) for f in flags if f.startswith(("-I", "-L"))]
        self.assertGreaterEqual(len(own), 2)
        outside = [path for path in own if not path.startswith(os.path.realpath(prefix) + os.sep)]
        self.assertEqual(outside, [])

    def test_all_packages_carry_the_version_of_the_header(self):
        versions = {pkg_config("--modversion", package)[0] for package in ("berth-core", "berth-io", "berth-sim")}
        with open(os.path.join(prefix, "include/berth/core/version.h"), encoding="utf-8") as header:
            self.assertIn(f'kVersion = "{versions.pop()}"', header.read())
        self.assertEqual(versions, set())


class Headers(unittest.TestCase):
    def test_each_compiles_alone_without_warnings_and_reads_little(self):
        flags = pkg_config("--cflags", "berth-io")
        usual = syntax_check("".join(f"#include <{name}>\n" for name in VOCABULARY), flags)[1]
        names = list(headers())
        with ThreadPoolExecutor(max_workers=2) as pool:
            checked = list(pool.map(lambda name: check_header(name, flags), names))
        self.assertGreater(len(names), 30)
        problems = [f"{name}: {errors[:500]}" for name, (errors, _) in zip(names, checked) if errors]
        weights = {name: text for name, (_, text) in zip(names, checked) if name not in EXEMPT}
        problems += [f"{name}: reads {text} bytes, at most {TEXT_MAX * usual:.0f}: {TEXT_MAX} times what "
                     f"{', '.join(VOCABULARY)} read" for name, text in weights.items() if text > TEXT_MAX * usual]
        self.assertEqual(problems, [], "\n" + "\n".join(problems))
        dearest = max(weights, key=weights.get)
        print(f"figure: {len(names)} public headers; {dearest} reads most text, {weights[dearest] / 1e6:.1f} MB, "
              f"the standard headers that servers need anyway {usual / 1e6:.1f} MB")


if __name__ == "__main__":
    unittest.main()
