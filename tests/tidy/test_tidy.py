#!/usr/bin/python3
"""Rules of the house that a compiler does not check: sizes, includes, banned calls, formatting, true documents."""
import functools
import hashlib
import os
import re
import shutil
import subprocess
import unittest
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ("core", "io", "git", "server", "bench", "tests", "docs")
LIBRARY = ("core", "io", "git", "server")
MAY_INCLUDE = {"core": {"core"}, "io": {"core", "io"}, "git": {"core", "git"},
               "server": {"core", "io", "git", "server"}}
LINES_MAX = 800
COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 80


def tracked(*endings):
    names = subprocess.run(["git", "ls-files", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [n for n in names.splitlines() if n.endswith(endings) and os.path.exists(os.path.join(ROOT, n))]


def text(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def public_headers():
    """What meson.build says to install; tests/install compiles those alone."""
    return {f"{folder}/{name}" for folder in ("core", "io")
            for block in re.findall(r"_headers \+?= files\((.*?)\)", text(f"{folder}/meson.build"), re.S)
            for name in re.findall(r"'([^']+\.h)'", block)}


@functools.cache
def header_hash(name):
    """Of a header and all of ours that it includes: what decides whether it compiles alone."""
    seen, todo = {}, [name]
    while todo:
        header = todo.pop()
        if header not in seen and os.path.exists(os.path.join(ROOT, header)):
            seen[header] = text(header)
            todo += re.findall(r"#include <berth/([^>]+)>", seen[header])
    return hashlib.sha256(repr((name, sorted(seen.items()))).encode()).hexdigest()


def without_comments(source):
    source = re.sub(r'R"\((.|\n)*?\)"', '""', source)
    source = re.sub(r'"(\\.|[^"\\\n])*"', '""', source)
    return re.sub(r"//[^\n]*|/\*(.|\n)*?\*/", "", source)


class Tidy(unittest.TestCase):
    def complain(self, problems):
        self.assertEqual(problems, [], "\n" + "\n".join(problems))

    def test_files_and_lines_are_short(self):
        problems = []
        for name in tracked(".h", ".cc", ".py", ".mjs", ".js"):
            lines = text(name).splitlines()
            if len(lines) > LINES_MAX:
                problems.append(f"{name}: {len(lines)} lines, at most {LINES_MAX}")
            problems += [f"{name}:{i}: {len(line)} columns, at most {COLUMNS_MAX}"
                         for i, line in enumerate(lines, 1) if len(line) > COLUMNS_MAX and name.endswith((".h", ".cc"))]
        self.complain(problems)

    def test_includes_point_downward(self):
        problems = []
        for name in tracked(".h", ".cc"):
            folder = name.split("/")[0]
            for target in re.findall(r'#include <berth/(\w+)/', text(name)):
                if folder in MAY_INCLUDE and target not in MAY_INCLUDE[folder]:
                    problems.append(f"{name}: {folder} must not include {target}")
        self.complain(problems)

    def test_third_party_headers_stay_in_sources(self):
        foreign = re.compile(r"#include <(simdjson|sqlite3|git2|liburing|asio|toml|CLI|fmt|openssl|nlohmann)[./]")
        problems = [f"{name}: {found.group(0)}" for name in tracked(".h") if name.split("/")[0] in LIBRARY
                    for found in foreign.finditer(text(name))
                    if (name, found.group(1)) != ("io/asio_interop.h", "asio")]
        self.complain(problems)

    def test_the_operating_system_is_reached_through_the_platform_only(self):
        banned = re.compile(r"\b(std::filesystem|getenv|system_clock::now|steady_clock::now|random_device|std::thread|usleep|"
                            r"sleep_for|std::ifstream|std::ofstream|fopen)\b|(?<![\w>])::(open|read|write|fork|kill|socket)\(")
        problems = []
        for name in tracked(".h", ".cc"):
            if name.split("/")[0] not in ("core", "server") or name.startswith("server/cli/"):
                continue
            allowed = {"steady_clock::now"} if name == "server/sessions/workspaces_git.cc" else set()
            for number, line in enumerate(without_comments(text(name)).splitlines(), 1):
                found = banned.search(line)
                if found and found.group(0) not in allowed and name not in ("server/store/sim_vfs.cc",):
                    problems.append(f"{name}:{number}: {found.group(0)}")
        self.complain(problems)

    def test_the_library_never_prints_and_never_exits(self):
        banned = re.compile(r"\b(printf|fprintf|std::cout|std::cerr|puts|std::exit)\s*[(<]|(?<![\w])::exit\(")
        problems = []
        for name in tracked(".h", ".cc"):
            if name.split("/")[0] not in LIBRARY or name.startswith("server/cli/") or name == "core/assert.cc":
                continue
            for number, line in enumerate(without_comments(text(name)).splitlines(), 1):
                if banned.search(line):
                    problems.append(f"{name}:{number}: {line.strip()}")
        self.complain(problems)

    def test_functions_fit_on_a_screen(self):
        problems = []
        for name in tracked(".cc"):
            start = None
            for number, line in enumerate(text(name).splitlines(), 1):
                if re.match(r"^[A-Za-z].*\)( const)?( override)?( noexcept)? \{$", line):
                    start = number
                elif line == "}" and start:
                    if number - start > FUNCTION_LINES_MAX:
                        problems.append(f"{name}:{start}: a function of {number - start} lines, at most {FUNCTION_LINES_MAX}")
                    start = None
        self.complain(problems)

    def test_every_header_says_what_it_is(self):
        problems = [name for name in tracked(".h") if name.split("/")[0] in LIBRARY
                    and not re.match(rf"// {re.escape(name)} — ", text(name))]
        self.complain(problems)

    def test_public_headers_include_public_headers_only(self):
        public = public_headers()
        self.assertGreater(len(public), 30)
        problems = [f"{name} includes {target}, which is not installed" for name in sorted(public)
                    for target in re.findall(r"#include <berth/([^>]+)>", text(name)) if target not in public]
        self.complain(problems)

    def test_private_headers_compile_alone(self):
        compiler = shutil.which("clang++-19")
        headers = [n for n in tracked(".h") if n.split("/")[0] in LIBRARY and n not in public_headers()]
        proved = os.path.expanduser("~/.cache/berth/headers")  # what compiled and has not changed since
        os.makedirs(proved, exist_ok=True)

        def compile_header(name):
            stamp = os.path.join(proved, header_hash(name))
            if os.path.exists(stamp):
                return []
            done = subprocess.run([compiler, "-std=c++20", "-fsyntax-only", "-x", "c++", "-Iinclude", name], cwd=ROOT,
                                  capture_output=True, text=True)
            if done.returncode != 0:
                return [f"{name}: {done.stderr[:300]}"]
            open(stamp, "w").close()
            return []

        with ThreadPoolExecutor(max_workers=2) as pool:
            self.complain([p for problems in pool.map(compile_header, headers) for p in problems])

    def test_sources_are_formatted(self):
        formatter = shutil.which("clang-format-19")
        if formatter is None:
            self.skipTest("clang-format-19 is not installed")
        names = tracked(".h", ".cc")
        done = subprocess.run([formatter, "--dry-run", "-Werror", *names], cwd=ROOT, capture_output=True, text=True)
        bad = sorted(set(re.findall(r"^(\S+?):\d+:\d+: error", done.stderr, re.M)))
        self.complain([f"{name}: run clang-format-19 -i on it" for name in bad])

    def test_every_top_folder_has_a_readme(self):
        self.complain([folder for folder in FOLDERS if not os.path.exists(os.path.join(ROOT, folder, "README.md"))])

    def test_links_in_documents_lead_somewhere(self):
        problems = []
        names = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in names.splitlines():
            prose = re.sub(r"^```.*?^```", "", text(name), flags=re.M | re.S)
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose):
                if not os.path.exists(os.path.join(ROOT, os.path.dirname(name), target)):
                    problems.append(f"{name}: {target}")
        self.complain(problems)

    def test_each_test_that_a_document_names_is_there(self):
        """docs/sessions.md says of each known defect which test shows it absent: a test that goes leaves a promise."""
        files = {os.path.basename(name): text(name) for name in tracked(".cc", ".py") if name.startswith("tests/")}
        files["sim"] = files["crash_test.cc"]
        problems, named = [], 0
        for cell in re.findall(r"^\|.*\|(.*)\|$", text("docs/sessions.md").split("## Defects of resume")[1], re.M):
            for file, tests in re.findall(r"([\w/.]+): ((?:`[^`]+`(?:, )?)+)", cell):
                source = files.get(os.path.basename(file)) or files.get(file + "_test.cc") or ""
                for test in re.findall(r"`([^`]+)`", tests):
                    named += 1
                    suite, _, name = test.rpartition(".")
                    is_there = (rf"\({suite}, \w+" if name == "*" else rf"\({suite}, {name}\b" if suite
                                else rf"(?:\(\w+, |def ){name}\b")
                    if not re.search(is_there, re.sub(r"\(\s+", "(", re.sub(r",\s+", ", ", source))):
                        problems.append(f"{file}: {test}")
        self.assertGreater(named, 100)
        self.complain(problems)

    def test_the_lock_file_names_no_host(self):
        for name in tracked("package-lock.json"):
            self.assertNotIn("resolved", text(name), name)

    def test_every_step_of_git_is_noted_at_one_place(self):
        """So that a step at which the tests kill is one place in the code."""
        steps = re.findall(r"^  X\((\w+)\)", text("git/steps.h"), re.M)
        noted = [name for source in tracked(".cc") if source.startswith("git/")
                 for name in re.findall(r"\bStep::(\w+)", text(source))]
        self.assertGreater(len(steps), 50)
        self.assertEqual(sorted(steps), sorted(noted))
        bare = [source for source in tracked(".cc") if source.startswith("git/")
                for line in text(source).splitlines() if "patience.note(" in line and "Step::" not in line]
        self.complain(bare)

    def test_every_route_is_documented(self):
        routes = re.findall(r'\{"(GET|POST|PUT|PATCH|DELETE)", "([^"]+)"', text("server/api/api.cc"))
        self.assertGreater(len(routes), 20)
        documented = re.sub(r"\{[a-z]+\}", "{}", text("docs/api.md")).replace("…", "")
        self.complain([f"{method} {path}" for method, path in routes if f"{method} {path}" not in documented])


if __name__ == "__main__":
    unittest.main()
