#!/usr/bin/env python3
"""Joins the parts of the contract: `build.py openapi.json openapi.cc` writes it as JSON and as a C++ source."""

import importlib
import json
import pathlib
import sys

sys.dont_write_bytecode = True

HERE = pathlib.Path(__file__).parent
PARTS = ("common", "sessions", "turns", "events", "agents", "changes", "files", "tokens", "page")
DESCRIPTION = """berth hosts persistent coding-agent sessions. Clients must ignore fields and event types that they do not
know. docs/api.md tells the same in prose."""


def problem_response(status, title):
    made = {"description": title, "content": {"application/problem+json": {
        "schema": {"$ref": "#/components/schemas/Problem"}}}}
    if status in (429, 503):
        made["headers"] = {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds."}}
    return made


def contract():
    sys.path.insert(0, str(HERE))
    words = importlib.import_module("schema")
    problems = {f"Problem{status}": problem_response(status, title) for status, title in words.PROBLEM_TITLES.items()}
    problems["ProblemOfHttp"] = problem_response(None, "Not HTTP as berth takes it: too long, too large, too late, odd")
    problems["ProblemOfHttp"]["x-statuses"] = list(words.HTTP_STATUSES)
    paths, schemas = {}, {}
    for name in PARTS:
        part = importlib.import_module(name)
        for key, schema in part.SCHEMAS.items():
            assert key not in schemas, f"{key} is there twice"
            schemas[key] = schema
        for path, method, operation in part.OPERATIONS:
            assert method not in paths.setdefault(path, {}), f"{method} {path} is there twice"
            paths[path][method] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "berth", "version": "1.0.0", "description": DESCRIPTION,
                 "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": "http://127.0.0.1:8420"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "ticket": {"type": "apiKey", "in": "query", "name": "ticket",
                           "description": "Of POST /v1/tickets, for one GET of its path."},
            },
            "responses": problems,
            "schemas": schemas,
        },
    }


def as_source(text):
    """A C++ source that holds the text: as numbers, for a string literal ends at 64 KiB. JSON of Python is ASCII."""
    data = text.encode("ascii")
    rows = "\n".join("    " + ",".join(map(str, data[at:at + 32])) + "," for at in range(0, len(data), 32))
    return ("#include <berth/server/api/contract.h>\n\nnamespace berth::server {\n\n"
            f"namespace {{\nconstexpr char kText[] = {{\n{rows}\n}};\n}}  // namespace\n\n"
            "const std::string_view kContract(kText, sizeof kText);\n\n}  // namespace berth::server\n")


def main():
    as_json, as_cc = sys.argv[1:3]
    text = json.dumps(contract(), indent=1)
    pathlib.Path(as_json).write_text(text + "\n", encoding="utf-8")
    pathlib.Path(as_cc).write_text(as_source(text), encoding="utf-8")


if __name__ == "__main__":
    main()
