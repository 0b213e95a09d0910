#!/usr/bin/python3
"""The tables of docs/performance.md about git out of the JSON of bench/git/run.py.

    bench/git/tables.py RESULT.json              prints them
    bench/git/tables.py RESULT.json --write PAGE puts them between the page's `<!-- git: NAME -->` marks
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "common"))
import page_tables

WARM = ("create", "changes", "changes-50k")
# (what, part, files, row, figure, must, goal, unit). A figure is a ratio to the git command unless it has a unit.
BARS = [
    *(("create a worktree", "create", files, "create worktree", "wall_ratio", 1.0, 0.6, "") for files in (10000, 50000)),
    *(("create an overlay, base prepared", "create", files, "create overlay, base prepared", "wall_ratio", 1 / 15, 1 / 15, "")
      for files in (10000, 50000)),
    *((f"change of 20 files, {name}", part, files, f"20 touched: change with patches, {name}", "wall_ratio", must, goal, "")
      for name, must, goal in (("overlay", 0.2, 0.2), ("hints", 1 / 3, 0.1), ("full scan", 1.5, 1.0))
      for part, files in (("changes", 10000), ("changes-50k", 50000))),
    *((f"snapshot of 20 files, {name}", part, files, f"20 touched: snapshot, {name}", "wall_ratio", 0.25, 0.05, "")
      for name in ("overlay", "hints") for part, files in (("changes", 10000), ("changes-50k", 50000))),
    *(("full patch of 1000 files, hints", part, files, "1000 touched: change with patches, hints", "wall_ratio", 1.5, 0.8, "")
      for part, files in (("changes", 10000), ("changes-50k", 50000))),
    ("disk of an overlay, nothing changed", "create", 10000, "disk per overlay", "ours", 2048, 64, "KiB"),
    ("100 worktrees at once: failed", "create", 1000, "failed of 100", "ours", 0, 0, ""),
]


def ms(value):
    return f"{value:.0f}" if value >= 99.5 else f"{value:.3g}"


def rows_of(result, *parts):
    return [row for part in parts for row in result.get(part, {}).get("rows", [])]


def machine(result):
    parts = {name: part["machine"] for name, part in result.items() if "machine" in part}
    if not parts:
        return []
    facts = next(iter(parts.values()))
    loads = ", ".join(f"`{name}` {part['load_before']} and {part['load_after']}" for name, part in parts.items())
    lines = [f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, {facts['compiler']}; load average before and "
             f"after each part: {loads}."]
    return lines + [f"- `{name}`: {part['skipped']}" for name, part in result.items() if "skipped" in part]


def cell(row):
    if row is None:
        return ""
    low, ratio, high = row["wall_ratio"]
    return f"{ms(row['wall_ms'])} / {ms(row['git_wall_ms'])} ({ratio:.2f}; {low:.2f}-{high:.2f}; {row['cpu_ratio'][1]:.2f})"


def pivot(rows):
    """A line for each thing, a column for each size."""
    rows = [row for row in rows if "wall_ms" in row]
    if not rows:
        return []
    sizes = sorted({row["files"] for row in rows})
    found = {(row["what"], row["files"]): row for row in rows}
    names = list(dict.fromkeys(row["what"] for row in rows))
    lines = ["| | " + " | ".join(f"{size} files" for size in sizes) + " |", "|---|" + "--:|" * len(sizes)]
    return lines + [f"| {name} | " + " | ".join(cell(found.get((name, size))) for size in sizes) + " |" for name in names]


def numbers(result):
    lines = ["| | files | berth | git | |", "|---|--:|--:|--:|---|"]
    for row in rows_of(result, "create"):
        if "unit" in row:
            theirs = "" if row["what"].startswith("100 overlays") else f"{row['git']:.4g}"
            lines.append(f"| {row['what']} | {row['files']} | {row['ours']:.4g} | {theirs} | {row['unit']} |")
    return lines


def turns(result):
    if "turns" not in result:
        return []
    figures = result["turns"]["turns"]
    lines = [f"{figures['turns']} turns that touch {figures['touched']} of {figures['files']} files each, ten queued at a time; "
             "p50 / p99 / most, ms:", "", "| | next turn waits | snapshot and list | ending after the agent's last word | skipped |",
             "|---|--:|--:|--:|--:|"]
    for mode in ("worktree", "overlay", "directory"):
        if mode in figures:
            cells = [" / ".join(f"{value:.0f}" for value in figures[mode][name]) if name in figures[mode] else ""
                     for name in ("wait_ms", "snapshot_ms", "ending_ms")]
            lines.append(f"| `{mode}` | " + " | ".join(cells) + f" | {figures[mode].get('skipped', '')} |")
    return lines


def verdict(value, must, goal):
    return "goal" if value <= goal else "must" if value <= must else "missed"


def targets(result):
    lines = ["| wanted | files | must | goal | here | by processor time | |", "|---|--:|--:|--:|--:|--:|---|"]
    for what, part, files, name, figure, must, goal, unit in BARS:
        row = next((r for r in rows_of(result, part) if r["files"] == files and r["what"] == name), None)
        if row is None:
            continue
        ratio = figure.endswith("_ratio")
        value = row[figure][1] if ratio else row[figure]
        here = f"{value:.3f} ({row[figure][0]:.3f}-{row[figure][2]:.3f})" if ratio else f"{value:.4g} {unit}".strip()
        cpu = f"{row['cpu_ratio'][1]:.3f}" if ratio else ""
        lines.append(f"| {what} | {files} | {must:.3g} | {goal:.3g} | {here} | {cpu} | {verdict(value, must, goal)} |")
    figures = result.get("turns", {}).get("turns", {})
    for mode in ("worktree", "overlay"):
        if mode in figures:
            wait = figures[mode]["wait_ms"][1]
            lines.append(f"| next turn waits for the snapshot, p99, `{mode}` | {figures['files']} | 50 ms | 5 ms | {wait:.0f} ms | | "
                         f"{verdict(wait, 50, 5)} |")
    return lines


def blocks(result):
    """Name of each mark and the lines that belong there."""
    return {"machine": machine(result), "warm": pivot(rows_of(result, *WARM)), "cold": pivot(rows_of(result, "cold")),
            "history": pivot(rows_of(result, "history")), "numbers": numbers(result), "turns": turns(result),
            "targets": targets(result)}


def filled(page, result):
    """The page with all its marks filled in."""
    return page_tables.filled(page, "git", blocks(result))


if __name__ == "__main__":
    page_tables.main(sys.argv[1:], __doc__, "git", blocks)
