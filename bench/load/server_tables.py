#!/usr/bin/python3
"""The tables of docs/performance.md about the whole server, and of README.md, out of the JSON of a run of berth bench.

    bench/load/server_tables.py RESULT.json              prints them
    bench/load/server_tables.py RESULT.json --write PAGE puts them between the page's `<!-- server: NAME -->` marks
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "common"))
import page_tables

TITLES = {"bare": "bare loop", "berth-asio": "berth on Asio", "node": "Node, in memory", "node-jsonl": "Node, JSONL", "sandbox-agent": "sandbox-agent"}


def short(value):
    """Three digits of a figure, with k and M for the large ones."""
    for unit, name in ((1e6, " M"), (1e4, " k")):
        if abs(value) >= unit:
            return f"{value / (1e6 if name == ' M' else 1e3):.3g}{name}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def delay(us):
    return f"{us / 1e3:.3g} ms" if us >= 1000 else f"{us:.0f} µs"


def hosts(scenario):
    return {host["host"]: host["figures"] for host in scenario["hosts"]}


def machine(result):
    facts = result["machine"]
    rounds = sorted({host["rounds"] for scenario in result["scenarios"] for host in scenario["hosts"]})
    lines = [f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, {facts['compiler']}, engine `{result['engine']}`; "
             f"load average {facts['load_before']} before and {facts['load_after']} after the run; medians of {rounds[-1]}."]
    lines += [f"- {TITLES.get(host['name'], host['name'])}: {host.get('version') or 'took no part: ' + host['missing']}"
              for host in result["hosts"]]
    return lines


def peer_cell(ours, theirs):
    """CPU of a peer with its ratio to berth's, and what it lost."""
    if theirs is None:
        return ""
    cell = f"{short(theirs['cpu_us'][1])} ({theirs['cpu_us'][1] / ours['cpu_us'][1]:.2g}x)"
    if theirs["p50_us"][1] > 0:
        cell += f", {delay(theirs['p50_us'][1])} / {delay(theirs['p99_us'][1])}"
    lost = theirs["lost"][1]
    return cell + (f", **{short(lost)} lost**" if lost > 0 else "")


def streams(result):
    peers = [name for name in TITLES if any(name in hosts(s) for s in result["scenarios"])]
    rows = ["| | updates/s | CPU µs each | p50 / p99 | " + " | ".join(TITLES[name] for name in peers) + " |",
            "|---|--:|--:|--:|" + "--:|" * len(peers)]
    for scenario in result["scenarios"]:
        found = hosts(scenario)
        ours = found.get("berth", {})
        if "p99_us" not in ours:
            continue
        rows.append(f"| `{scenario['name']}`: {scenario['what']} | {short(ours['updates_per_s'][1])} | {short(ours['cpu_us'][1])} | "
                    f"{delay(ours['p50_us'][1])} / {delay(ours['p99_us'][1])} | "
                    + " | ".join(peer_cell(ours, found.get(name)) for name in peers) + " |")
    return rows


def others(result):
    """Every figure of the scenarios that are no streams, as berth and the others have it."""
    names = ["berth", *(name for name in TITLES if name not in ("bare", "berth-asio"))]
    rows = ["| | figure | " + " | ".join(TITLES.get(name, name) for name in names) + " |", "|---|---|" + "--:|" * len(names)]
    for scenario in result["scenarios"]:
        found = hosts(scenario)
        if "berth" not in found or "p99_us" in found["berth"] and "cpu_us" in found["berth"]:
            continue
        for number, figure in enumerate(found["berth"]):
            title = f"`{scenario['name']}`: {scenario['what']}" if number == 0 else ""
            cells = [short(found[name][figure][1]) if figure in found.get(name, {}) else "" for name in names]
            rows.append(f"| {title} | `{figure}` | " + " | ".join(cells) + " |")
    return rows


def targets(result):
    rows = ["| wanted of berth | in | must | goal | here | |", "|---|---|--:|--:|--:|---|"]
    for target in result["targets"]:
        low, here, high = target["here"]
        spread = f"{short(here)} ({short(low)} to {short(high)})" if low != high else short(here)
        rows.append(f"| {target['what']} | `{target['scenario']}` | {short(target['must'])} | {short(target['goal'])} | "
                    f"{spread} | {target['verdict']} |")
    return rows


# What a reader of README.md wants to know: (what, scenario, how a cell is made of a host's figures).
HEADLINE = (("CPU of the server for an update, 500 sessions at full speed", "full-500", lambda f: short(f["cpu_us"]) + " µs"),
            ("updates a second, agents and readers on the same two cores", "full-500", lambda f: short(f["updates_per_s"])),
            ("from an agent's write to a client's read, 500 sessions at 20/s: p50 / p99", "paced-500",
             lambda f: f"{delay(f['p50_us'])} / {delay(f['p99_us'])}"),
            ("CPU to open a session with its agent, helpers too", "create", lambda f: f"{f['cpu_us'] + f['helpers_cpu_us']:.0f} µs"),
            ("growth of memory when a reader stalls", "stalled", lambda f: f"{max(f['rss_growth_mib'], 0):.2g} MiB"))
HEADLINERS = ("berth", "node-jsonl", "sandbox-agent")


def headline(result):
    found = {scenario["name"]: hosts(scenario) for scenario in result["scenarios"]}
    rows = ["| | " + " | ".join(TITLES.get(name, name) for name in HEADLINERS) + " |", "|---|" + "--:|" * len(HEADLINERS)]
    for what, scenario, cell in HEADLINE:
        if scenario not in found:
            continue
        cells = [cell({figure: values[1] for figure, values in found[scenario][name].items()}) if name in found[scenario] else ""
                 for name in HEADLINERS]
        rows.append(f"| {what} | " + " | ".join(cells) + " |")
    return rows


def blocks(result):
    """Name of each mark and the lines that belong there."""
    return {"machine": machine(result), "streams": streams(result), "others": others(result), "targets": targets(result),
            "headline": headline(result)}


def filled(page, result):
    """The page with all its marks filled in."""
    return page_tables.filled(page, "server", blocks(result))


if __name__ == "__main__":
    page_tables.main(sys.argv[1:], __doc__, "server", blocks)
