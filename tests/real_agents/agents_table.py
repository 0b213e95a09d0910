"""The table of real agents in docs/agents.md: written by a run of test_acp_agents.py --record."""

import os

PAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
                    "docs", "agents.md")
BEGIN, END = "<!-- table of the last recorded run -->", "<!-- end of table -->"
COLUMNS = (("name", "agent"), ("version", "version"), ("turn", "turn"), ("diff", "diff"),
           ("permission", "permission"), ("cold", "first turn"), ("warm", "warm turn with a tool"),
           ("cancel", "cancel"), ("cancel in permission", "cancel, permission open"),
           ("parallel", "sessions at once"), ("killed", "kill -9 to ending"),
           ("restore", "restored by"), ("restored in", "restored and answered in"),
           ("valid", "messages sent, all valid"))
_rows = {}


def row(name):
    """The cells of one agent, to be filled by its tests."""
    return _rows.setdefault(name, {"name": name})


def write():
    """Puts the rows of this run in place of the rows of the same agents; other rows stay.

    An agent that did not come through all steps is no row.
    """
    with open(PAGE, encoding="utf-8") as page:
        before, rest = page.read().split(BEGIN)
    old, after = rest.split(END)
    kept = {}
    for line in old.splitlines()[3:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == len(COLUMNS):
            kept[cells[0]] = dict(zip((key for key, _ in COLUMNS), cells))
    lines = [" | ".join(title for _, title in COLUMNS), " | ".join("---" for _ in COLUMNS)]
    proved = {name: cells for name, cells in _rows.items()
              if "restored in" in cells and "valid" in cells}
    for cells in {**kept, **proved}.values():
        lines.append(" | ".join(cells.get(key, "-") for key, _ in COLUMNS))
    table = "\n".join(f"| {line} |" for line in lines)
    with open(PAGE, "w", encoding="utf-8") as page:
        page.write(f"{before}{BEGIN}\n{table}\n{END}{after}")
