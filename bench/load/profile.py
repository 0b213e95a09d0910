#!/usr/bin/python3
"""Where the server's CPU goes in scenarios of berth-bench, as perf sees it: shares, and what they are of an update.

    bench/load/profile.py full-100 paced-100                         prints the tables
    bench/load/profile.py full-100 --write docs/profiles.md          puts them between the page's `<!-- profile: NAME -->` marks
    bench/load/profile.py create --process berth-keeper              of the helper that starts agents

Needs perf and the right to record all processes (root, or kernel.perf_event_paranoid <= 0). Only what a scenario measures is
recorded, by the clock (cpu-clock), so it also works where a virtual machine has no counters. Time in which the kernel has interrupts
off counts where it switches them on again. Functions are put together by the folder of the source that has their class.
"""
import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench", "common"))
import page_tables

# A unit that the table's figures are of: the first of these that a scenario has, and how many µs it is.
UNITS = {"cpu_us": 1, "cpu_ms": 1000}
ROWS_MIN = 0.7  # percent; what is less is gathered in one row

# What somebody in the chain of callers means, nearest to the processor first; the first match counts.
KERNEL = [
    ("sleep and wake up", r"schedule$|schedule_hrtimeout|io_cqring_wait$|finish_task_switch|__schedule"),
    ("wake a reader or an agent", r"try_to_wake_up|default_wake_function|ep_poll_callback|sock_def_readable|pollwake"),
    ("page faults", r"asm_exc_page_fault|exc_page_fault"),
    ("pipe: `read`", r"anon_pipe_read|pipe_read"),
    ("pipe: `write`", r"anon_pipe_write|pipe_write"),
    ("TCP: `send`", r"__sys_sendto|__sys_sendmsg|tcp_sendmsg"),
    ("TCP: receive", r"__sys_recvfrom|tcp_recvmsg|__sys_recvmsg"),
    ("file: write", r"ksys_pwrite64|__x64_sys_pwrite64|do_pwritev|ext4_file_write_iter|__x64_sys_ftruncate|fallocate"),
    ("file: read", r"__x64_sys_pread64|ext4_file_read_iter"),
    ("file: sync", r"fsync|fdatasync"),
    ("files: open, close, stat, link", r"_sys_open|_sys_close|_sys_newfstat|_sys_newlstat|_sys_stat|_sys_rename|_sys_unlink|_sys_mkdir|_sys_link|_sys_access|_sys_getdents|_sys_readlink|_sys_symlink|_sys_statx|_sys_lstat"),
    ("inotify", r"inotify"),
    ("start a process", r"_sys_clone|_sys_execve|_sys_vfork|landlock|_sys_wait|_sys_pidfd|_sys_exit|do_exit|_sys_mount|_sys_unshare|cgroup"),
    ("memory: map, unmap", r"_sys_mmap|_sys_munmap|_sys_madvise|_sys_brk|_sys_mprotect"),
    ("`io_uring_enter`: the rest", r"io_uring_enter"),
    ("locks of threads", r"_sys_futex"),
    ("interrupts", r"asm_sysvec|asm_common_interrupt"),
    ("entering and leaving the kernel", r"entry_SYSCALL|do_syscall_64|syscall_return|syscall_exit"),
]
LIBRARIES = [("simdjson", r"libsimdjson"), ("SQLite", r"libsqlite3"), ("libgit2", r"libgit2"), ("zlib", r"libz\."), ("hashes (OpenSSL)", r"libcrypto"),
             ("start of the program", r"ld-linux")]
LIBC = [("allocation", r"malloc|free|calloc|realloc|consolidate|unlink_chunk|operator (new|delete)|sysmalloc"),
        ("copying, comparing, filling", r"^_*(mem|str)")]


def folders_of_classes():
    """Class or struct: the folder whose source defines it."""
    found = {}
    for top in ("core", "io", "git", "server"):
        for folder, _, files in os.walk(os.path.join(ROOT, top)):
            for name in files:
                if not name.endswith((".h", ".cc")):
                    continue
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    for match in re.finditer(r"^\s*(?:class|struct)\s+(?:[A-Z_]+\s+)?(\w+)[^;\n]*\{|^[\w:<>,&* ]*?\b([a-z]\w+)\([^;]*$",
                                             file.read(), re.M):
                        found.setdefault(match[1] or match[2], os.path.relpath(folder, ROOT))
    return found


class Places:
    """Which row a sample belongs to."""

    def __init__(self):
        self.classes = folders_of_classes()

    def of(self, chain):
        """`chain`: (symbol, dso) from the processor outwards."""
        symbol, dso = chain[0]
        if dso.startswith("[kernel") or dso.startswith("[guest"):
            for name, pattern in KERNEL:
                if any(re.search(pattern, caller) for caller, _ in chain):
                    return "kernel: " + name
            return "kernel: other"
        for name, pattern in LIBRARIES:
            if re.search(pattern, dso):
                return name
        if "berth" not in os.path.basename(dso):
            for name, pattern in LIBC:
                if re.search(pattern, symbol):
                    return name
            return "system libraries, other"
        return self.ours(symbol)

    def ours(self, symbol):
        plain = symbol.replace("(anonymous namespace)::", "").replace("non-virtual thunk to ", "")
        names = re.findall(r"\w+", re.sub(r"<[^<>]*>", "", plain.split("(")[0]))
        for name in names:
            if name in self.classes and name not in ("berth", "server", "v0", "io", "git", "std"):
                return self.classes[name]
        for space, folder in (("io", "io"), ("git", "git"), ("server", "server")):
            if space in names:
                return folder
        return "core" if "berth" in names else "standard library, inlined code"


def samples(data, process):
    """Chains of (symbol, dso), and the thread each is of, of the threads whose name begins with that of the process."""
    script = subprocess.Popen(["perf", "script", "-i", data, "-F", "comm,ip,sym,dso"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True, errors="replace")
    thread, chain = "", []
    for line in script.stdout:
        if not line.strip():
            if chain and wanted(thread, process):
                yield thread, chain
            chain = []
        elif not line.startswith(("\t", "    ")) or not re.match(r"\s+[0-9a-f]+ ", line):
            thread = line.strip()
        elif match := re.match(r"\s+[0-9a-f]+ (.*) \((.*)\)$", line):
            chain.append((match[1].split("+0x")[0], match[2]))


def wanted(thread, process):
    helpers = ("berth-keeper", "berth-launch", "berth-flood", "berth-bench", "berth-bare")
    if process != "berth":
        return thread.startswith(process)
    return thread.startswith("berth") and not thread.startswith(helpers)


def record(scenario, bench, frequency, folder):
    """perf's data of the window that the scenario measures, to be kept in `folder`, and its figures."""
    control, answers = os.path.join(folder, "control"), os.path.join(folder, "answers")
    os.mkfifo(control)
    os.mkfifo(answers)
    data, result = os.path.join(folder, "perf.data"), os.path.join(folder, "result.json")
    done = subprocess.run(["perf", "record", "-q", "-a", "-e", "cpu-clock", "-F", str(frequency), "-g", "-o", data, "--delay=-1",
                           f"--control=fifo:{control},{answers}", "--", bench, scenario, "--against", "none", "--json", result],
                          env={**os.environ, "BERTH_BENCH_PERF": f"{control} {answers}"}, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(("perf may not record here: " if "perf_event" in done.stderr else "") + done.stderr[-2000:])
    with open(result, encoding="utf-8") as file:
        figures = json.load(file)["scenarios"][0]["hosts"][0]["figures"]
    return data, {name: values[1] for name, values in figures.items()}


def table(scenario, options, places):
    rows, threads = collections.Counter(), collections.Counter()
    with tempfile.TemporaryDirectory(prefix="berth-profile-") as folder:
        data, figures = record(scenario, options.bench, options.frequency, folder)
        for thread, chain in samples(data, options.process):
            rows[places.of(chain)] += 1
            threads[thread] += 1
    total = sum(rows.values())
    if total == 0:
        sys.exit(f"{scenario}: perf has seen nothing of {options.process}")
    unit = next((name for name in UNITS if name in figures), None) if options.process == "berth" else None
    each = figures[unit] * UNITS[unit] if unit else None
    lines = ["| | share | µs |" if each else "| | share |", "|---|--:|--:|" if each else "|---|--:|"]
    small = 0
    for name, count in rows.most_common():
        share = 100 * count / total
        if share < ROWS_MIN:
            small += share
            continue
        lines.append(f"| {name} | {share:.1f} % |" + (f" {share * each / 100:.2f} |" if each else ""))
    if small:
        lines.append(f"| the rest, each less | {small:.1f} % |" + (f" {small * each / 100:.2f} |" if each else ""))
    about = ", ".join(f"`{name}` {100 * count / total:.0f} %" for name, count in threads.most_common(4) if count > total / 100)
    lines += ["", f"{total} samples" + (f" of {each:.3g} µs each" if each else "") + f"; threads: {about}."]
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="+")
    parser.add_argument("--write", metavar="PAGE")
    parser.add_argument("--process", default="berth", help="berth, or one of its helpers")
    parser.add_argument("--bench", default=os.path.join(ROOT, "build", "bench", "load", "berth-bench"))
    parser.add_argument("--frequency", type=int, default=5000, help="samples a second of each core")
    options = parser.parse_args()
    places = Places()
    suffix = "" if options.process == "berth" else "-" + options.process.removeprefix("berth-")
    for scenario in options.scenarios:
        lines = table(scenario, options, places)
        if options.write is None:
            print(f"{scenario}:\n" + "\n".join(lines) + "\n")
            continue
        with open(options.write, encoding="utf-8") as file:
            page = page_tables.filled(file.read(), "profile", {scenario + suffix: lines}, scenario + suffix)
        with open(options.write, "w", encoding="utf-8") as file:
            file.write(page)


if __name__ == "__main__":
    main()
