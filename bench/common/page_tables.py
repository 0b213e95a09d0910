"""Tables of a page that are made of a bench's JSON: between `<!-- PREFIX: NAME -->` and `<!-- end -->`."""
import json
import re
import sys


def filled(page, prefix, blocks, name=r"[\w-]+"):
    """The page with the lines of `blocks` (name of a mark: lines) at all its marks, or at those of one name."""
    mark = re.compile(rf"(<!-- {prefix}: ({name}) -->\n).*?(<!-- end -->\n)", re.S)
    return mark.sub(lambda m: m.group(1) + "".join(line + "\n" for line in blocks[m.group(2)]) + m.group(3), page)


def main(arguments, usage, prefix, blocks_of):
    """RESULT.json prints the tables, RESULT.json --write PAGE puts them there."""
    if len(arguments) not in (1, 3) or (len(arguments) == 3 and arguments[1] != "--write"):
        sys.exit(usage)
    with open(arguments[0], encoding="utf-8") as file:
        blocks = blocks_of(json.load(file))
    if len(arguments) == 1:
        for lines in blocks.values():
            print("\n".join(lines) + "\n")
        return
    with open(arguments[2], encoding="utf-8") as file:
        page = filled(file.read(), prefix, blocks)
    with open(arguments[2], "w", encoding="utf-8") as file:
        file.write(page)
