#!/usr/bin/python3
"""The tables of docs/performance.md out of the JSON of a run of berth-reactor-bench.

    bench/reactor/tables.py RESULT.json              prints them
    bench/reactor/tables.py RESULT.json --write PAGE puts them between the page's `<!-- reactor: NAME -->` marks
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "common"))
import page_tables

# The columns of both tables, and who stands in them: (title, contestants of which the first that took part counts).
PIPES = (("plain epoll", ("epoll",)), ("floor: reads alone", ("reads",)), ("`uring`", ("uring",)),
         ("`uring`, coroutines", ("uring-streams",)), ("`asio` engine", ("berth-asio",)),
         ("Asio, epoll", ("asio-epoll",)), ("Asio, io_uring", ("asio-uring",)))
OTHERS = (("bare system calls", ("epoll",)), ("at most a write a socket", ("writev",)), ("`uring`", ("uring",)),
          ("`asio` engine", ("berth-asio",)), ("Asio, epoll", ("asio-epoll",)), ("Asio, io_uring", ("asio-uring",)))
TRIPS = (("plain epoll", "epoll"), ("`uring`", "uring"), ("into provided buffers", "uring-buffers"),
         ("coroutines", "uring-streams"), ("`asio` engine", "berth-asio"), ("Asio", "asio-epoll"),
         ("Asio on io_uring", "asio-uring"))
NAMES = {"epoll": "plain epoll", "asio-epoll": "Asio, epoll"}


def contestants(scenario):
    return {contestant["name"]: contestant for contestant in scenario["contestants"]}


def cell(contestant, is_reference):
    if contestant is None:
        return ""
    low, ratio, high = contestant["ratio"]
    figure = f"{contestant['cpu_ns'][1]:.0f}"
    return figure if is_reference else f"{figure} ({ratio:.2f}; {low:.2f}-{high:.2f})"


def table(scenarios, columns):
    rows = ["| | " + " | ".join(title for title, _ in columns) + " |", "|---|" + "--:|" * len(columns)]
    for scenario in scenarios:
        took_part = contestants(scenario)
        cells = [cell(next((took_part[n] for n in names if n in took_part), None), names[0] == "epoll")
                 for _, names in columns]
        rows.append(f"| `{scenario['name']}`: {scenario['what']}; a {scenario['unit']} | " + " | ".join(cells) + " |")
    return rows


def machine(result):
    facts = result["machine"]
    rounds = sorted({scenario["rounds"] for scenario in result["scenarios"]})
    return [f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, {facts['compiler']}; load average "
            f"{facts['load_before']} before and {facts['load_after']} after the run; "
            f"{rounds[0]} to {rounds[-1]} rounds a scenario."]


def spawns(result):
    found = [contestants(s) for s in result["scenarios"] if s["name"] == "spawn-5000"]
    if not found:
        return []
    bare, ours = found[0]["epoll"], found[0]["uring"]
    return [f"A tiny child started and reaped with 5000 others alive, p50 of the time it takes: {bare['p50_ns'][1] / 1e3:.0f} µs "
            f"by posix_spawn and waitpid, {ours['p50_ns'][1] / 1e3:.0f} µs by the keeper ({ours['p50_ratio'][1]:.2f}; "
            f"{ours['p50_ratio'][0]:.2f}-{ours['p50_ratio'][2]:.2f})."]


def ping_pong(result):
    found = [contestants(s) for s in result["scenarios"] if s["name"] == "ping-pong"]
    if not found:
        return []
    parts = [f"{title} {found[0][name]['p50_ns'][1] / 1e3:.2f} / {found[0][name]['p99_ns'][1] / 1e3:.2f}"
             for title, name in TRIPS if name in found[0]]
    return ["Ping-pong, p50 / p99 in µs of a round trip: " + ", ".join(parts) + "."]


def shards(result):
    parts = []
    for scenario in result["scenarios"]:
        took_part = contestants(scenario)
        if "uring-2-shards" in took_part:
            one, two = took_part["uring-1-shard"], took_part["uring-2-shards"]
            parts.append(f"`{scenario['name']}` {one['per_second'][1] / 1e6:.2f} / {two['per_second'][1] / 1e6:.2f} million "
                         f"({two['per_second'][1] / one['per_second'][1]:.2f} times), {one['cpu_ns'][1]:.0f} / {two['cpu_ns'][1]:.0f} ns of CPU each")
    return ["Lines a second by one shard and by two, each a thread on a core of its own: " + "; ".join(parts) + "."] if parts else []


def targets(result):
    rows = ["| wanted of `uring` | against | must | goal | here | |", "|---|---|--:|--:|--:|---|"]
    for target in result["targets"]:
        low, ratio, high = target["ratio"]
        verdict = "goal" if ratio <= target["goal"] else "must" if ratio <= target["must"] else "missed"
        rows.append(f"| `{target['scenario']}`{', p50' if target['of'] == 'p50' else ''} | {NAMES[target['against']]} | "
                    f"{target['must']:.2f} | {target['goal']:.2f} | {ratio:.2f} ({low:.2f}-{high:.2f}) | {verdict} |")
    return rows


def blocks(result):
    """Name of each mark and the lines that belong there."""
    pipes = [s for s in result["scenarios"] if s["name"].startswith(("pipes-", "raw-"))]
    return {"machine": machine(result), "pipes": table(pipes, PIPES),
            "others": table([s for s in result["scenarios"] if s not in pipes and s["unit"] != "child"], OTHERS),
            "ping-pong": ping_pong(result), "shards": shards(result), "spawns": spawns(result), "targets": targets(result)}


def filled(page, result):
    """The page with all its marks filled in."""
    return page_tables.filled(page, "reactor", blocks(result))


if __name__ == "__main__":
    page_tables.main(sys.argv[1:], __doc__, "reactor", blocks)
