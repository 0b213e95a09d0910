#!/usr/bin/python3
"""All figures of the git layer, or some parts of them, each next to the git command in the same run.

    bench/git/run.py [--quick] [--build DIR] [--json FILE] [PART...]

FILE keeps what it has of the parts that are not run. --quick is for a look whether everything works.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
# Each part takes some minutes. Cold: the page cache is dropped before each measurement, which is for root.
PARTS = {
    "create": [["create_bench", "--files", "1000,10000,50000", "--rounds", "5"]],
    "changes": [["changes_bench", "--files", "1000,10000", "--rounds", "5"]],
    "changes-50k": [["changes_bench", "--files", "50000", "--touched", "20,1000", "--rounds", "3"]],
    "history": [["create_bench", "--files", "10000", "--rounds", "3", "--commits", "20000"],
                ["changes_bench", "--files", "10000", "--touched", "20", "--rounds", "3", "--commits", "20000"]],
    "cold": [["create_bench", "--files", "10000", "--rounds", "3", "--cold"],
             ["changes_bench", "--files", "10000", "--touched", "20", "--rounds", "3", "--cold"]],
    "turns": [],
}
QUICK = {"--files": "101", "--touched": "20", "--rounds": "1", "--commits": "50"}


def quick(command):
    words = [QUICK.get(before, word) for before, word in zip(["", *command], command)]
    return words + (["--touched", "20"] if words[0] == "changes_bench" and "--touched" not in words else [])


def run_part(name, build, in_a_hurry):
    if name == "turns":
        sys.path.insert(0, HERE)
        os.environ["BERTH"] = os.path.join(build, "server", "berth")
        import turns
        return {"turns": turns.measure(*((100, 20, 10) if in_a_hurry else (10000, 20, 120)))}
    part = {"commands": [], "rows": []}
    for command in PARTS[name]:
        words = quick(command) if in_a_hurry else command
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "rows.json")
            done = subprocess.run([os.path.join(build, "bench", "git", words[0]), *words[1:], "--json", path], check=True,
                                  stdout=subprocess.PIPE, text=True)
            print(done.stdout, end="", flush=True)
            part["commands"].append(" ".join(words))
            if not os.path.exists(path):
                part["skipped"] = done.stdout.strip()
                continue
            with open(path, encoding="utf-8") as file:
                result = json.load(file)
        part["rows"] += result["rows"]
        part["machine"] = {**result["machine"], "load_before": part.get("machine", result["machine"])["load_before"]}
    return part


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--build", default=os.path.join(HERE, "..", "..", "build"))
    parser.add_argument("--json")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    options = parser.parse_args()
    for name in options.parts:
        if name not in PARTS:
            parser.error(f"no part {name}: {', '.join(PARTS)}")
    result = {}
    if options.json and os.path.exists(options.json):
        with open(options.json, encoding="utf-8") as file:
            result = json.load(file)
    for name in options.parts or PARTS:
        print(f"== {name}", flush=True)
        result[name] = run_part(name, os.path.abspath(options.build), options.quick)
        if options.json:
            with open(options.json, "w", encoding="utf-8") as file:
                json.dump({name: result[name] for name in PARTS if name in result}, file, separators=(",", ":"))
                file.write("\n")
    if "turns" in result:
        print(json.dumps(result["turns"], indent=1))


if __name__ == "__main__":
    main()
