#!/usr/bin/python3
"""embed.py OUTPUT FILE...: writes a C++ source with the web page's files as constants (see ui.h)."""
import hashlib
import os
import sys

TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".svg": "image/svg+xml"}
PIECE = 80  # bytes a line of the source
SIZE_MAX = 65536  # what every compiler takes in one string literal


def literal(data):
    """`data` as adjacent string literals; octal, so that no digit that follows is taken for a part."""
    def escaped(byte):
        plain = 32 <= byte < 127 and chr(byte) not in '"\\?'
        return chr(byte) if plain else f"\\{byte:03o}"
    pieces = [data[at:at + PIECE] for at in range(0, len(data), PIECE)]
    return "\n    ".join('"' + "".join(map(escaped, piece)) + '"' for piece in pieces) or '""'


def main():
    output, *names = sys.argv[1:]
    rows = []
    for name in names:
        with open(name, "rb") as file:
            data = file.read()
        if len(data) > SIZE_MAX:
            sys.exit(f"{name}: {len(data)} bytes, at most {SIZE_MAX}: split it")
        base = os.path.basename(name)
        path = "/" if base == "index.html" else f"/ui/{base}"
        tag = hashlib.sha256(data).hexdigest()[:20]
        rows.append(f'  {{"{path}", "{TYPES[os.path.splitext(base)[1]]}", "\\"{tag}\\"",\n'
                    f"   std::string_view(\n    {literal(data)},\n    {len(data)})}},\n")
    with open(output, "w", encoding="ascii") as file:
        file.write("// Made by embed.py.\n#include <berth/server/ui/ui.h>\n\nnamespace berth::server {\n\n"
                   "std::span<const UiFile> ui_files() {\n  static constexpr UiFile kFiles[] = {\n"
                   + "".join(rows) + "  };\n  return kFiles;\n}\n\n}  // namespace berth::server\n")


if __name__ == "__main__":
    main()
