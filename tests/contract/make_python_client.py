#!/usr/bin/env python3
"""make_python_client.py openapi.json > berth_api.py: a small typed client out of the contract.

It is no product but a proof that the contract has all that a client needs: a TypedDict for each schema, a method for
each operation, an iterator for each stream of events. Standard library only; mypy checks what uses it.
"""

import builtins
import json
import keyword
import re
import sys

PRELUDE = '''"""Made out of the contract of berth's HTTP API by make_python_client.py."""

import http.client
import json
from typing import Any, Iterator, Literal, NotRequired, Optional, TypedDict, Union, cast
from urllib.parse import quote, urlencode, urlsplit


class ApiProblem(Exception):
    """An answer of 400 or above."""

    def __init__(self, problem: "Problem") -> None:
        super().__init__(problem["detail"])
        self.problem = problem

'''
RUNTIME = '''

class Api:
    """Every operation of the contract; each call is a connection of its own."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._token = parts.hostname or "", parts.port, token

    def _open(self, method: str, path: str, query: dict[str, Any], headers: dict[str, Any], body: Any,
              accept: str) -> http.client.HTTPResponse:
        given = [(name, value) for name, value in query.items() if value is not None]
        if given:
            path += "?" + urlencode(given, doseq=True)
        sent = {name: str(value) for name, value in headers.items() if value is not None}
        sent.update({"Authorization": "Bearer " + self._token, "Accept": accept})
        connection = http.client.HTTPConnection(self._host, self._port, timeout=60)
        sent_body = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, sent_body, sent)
        answer = connection.getresponse()
        if answer.status >= 400:
            raise ApiProblem(cast("Problem", json.loads(answer.read())))
        return answer

    def _call(self, method: str, path: str, query: dict[str, Any], headers: dict[str, Any], body: Any) -> Any:
        with self._open(method, path, query, headers, body, "application/json") as answer:
            held, kind = answer.read(), answer.getheader("Content-Type") or ""
            if kind.startswith("application/json"):
                return json.loads(held) if held else None
            return held.decode() if kind.startswith("text/") else held or None

    def _follow(self, method: str, path: str, query: dict[str, Any], headers: dict[str, Any]) -> Iterator[Any]:
        with self._open(method, path, query, headers, None, "text/event-stream") as answer:
            for line in answer:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
'''
PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


class Maker:
    def __init__(self, document):
        self.document = document
        self.types = []  # lines, in the order in which they were needed

    def module(self):
        for name, schema in self.document["components"]["schemas"].items():
            self.define(name, schema)
        methods = [line for path, operations in self.document["paths"].items()
                   for method, operation in operations.items() for line in self.methods(path, method, operation)]
        return PRELUDE + "\n".join(self.types) + RUNTIME + "\n".join(methods) + "\n"

    def define(self, name, schema):
        if schema.get("type") == "object" and schema.get("properties"):
            fields = []
            for field, item in schema["properties"].items():
                kind = self.expression(item, name + "".join(part.capitalize() for part in re.split(r"\W|_", field)))
                fields.append(f"    {field!r}: {kind if field in schema.get('required', ()) else f'NotRequired[{kind}]'},")
            self.types.append(f"{name} = TypedDict({name!r}, {{\n" + "\n".join(fields) + "\n})")
        else:
            self.types.append(f"{name} = {self.expression(schema, name + 'Item')}")

    def expression(self, schema, name):
        """The type as an expression; what is nested and has fields becomes a type called `name`."""
        if "$ref" in schema:
            return f'"{schema["$ref"].rpartition("/")[2]}"'
        if "const" in schema or "enum" in schema:
            words = schema.get("enum", [schema.get("const")])
            return f"Literal[{', '.join(map(repr, words))}]"
        if "oneOf" in schema:
            return f"Union[{', '.join(self.expression(item, f'{name}{at}') for at, item in enumerate(schema['oneOf']))}]"
        kinds = schema.get("type", "any")
        if isinstance(kinds, list):
            return f"Union[{', '.join(self.expression({**schema, 'type': kind}, name) for kind in kinds)}]"
        if kinds == "array":
            return f"list[{self.expression(schema.get('items', {}), name)}]"
        if kinds == "object" and schema.get("properties"):
            self.define(name, schema)
            return f'"{name}"'
        return "dict[str, Any]" if kinds == "object" else PLAIN.get(kinds, "Any")

    def methods(self, path, method, operation):
        """The lines of one operation; a stream is a second method."""
        name = re.sub(r"([A-Z])", lambda found: "_" + found.group(1).lower(), operation["operationId"])
        type_name = operation["operationId"][0].upper() + operation["operationId"][1:]
        parameters = operation.get("parameters", ())
        place = "f" + repr(re.sub(r"\{(\w+)\}", r"{quote(\1, safe='')}", path)) if "{" in path else repr(path)
        taken = ["self", *(f"{p['name']}: str" for p in parameters if p["in"] == "path")]
        keywords = [f"{argument(p['name'])}: Optional[{self.expression(p['schema'], type_name + argument(p['name']))}] = None"
                    for p in parameters if p["in"] != "path"]
        query, headers = (
            "{" + ", ".join(f"{p['name']!r}: {argument(p['name'])}" for p in parameters if p["in"] == where) + "}"
            for where in ("query", "header"))
        body = operation.get("requestBody")
        given = "None"
        if body:
            held = body["content"].get("application/json")
            kind = self.expression(held["schema"], type_name + "Body") if held else "bytes"
            taken.append(f"body: {kind}" if body.get("required") else f"body: Optional[{kind}] = None")
            given = "body"
        signature = ", ".join([*taken, *(["*", *keywords] if keywords else [])])
        answers, items = self.answers(operation, type_name)
        yield (f"\n    def {name}({signature}) -> {answers}:\n        \"\"\"{operation['summary']}.\"\"\"\n"
               f"        return cast({answers}, self._call({method.upper()!r}, {place}, {query}, {headers}, {given}))")
        if items:
            yield (f"\n    def {name}_stream({signature}) -> Iterator[{items}]:\n        \"\"\"The same, live.\"\"\"\n"
                   f"        return self._follow({method.upper()!r}, {place}, {query}, {headers})")

    def answers(self, operation, type_name):
        """(what a call gives, what its stream brings or None)"""
        kinds, items = [], None
        for status, response in operation["responses"].items():
            if not status.startswith("2"):
                continue
            for media, held in response.get("content", {}).items():
                if media == "text/event-stream":
                    items = self.expression(held.get("x-item-schema", {}), type_name + "Item")
                else:
                    is_json, is_text = media == "application/json", media.startswith("text/")
                    kinds.append(self.expression(held["schema"], type_name + "Answer") if is_json
                                 else "str" if is_text else "bytes")
            if not response.get("content"):
                kinds.append("None")
        if "application/json" in str(operation["responses"].get("200", "")):
            kinds = [kind for kind in kinds if kind not in ("str", "bytes")]  # it asks for JSON
        unique = list(dict.fromkeys(kinds)) or ["None"]
        return (unique[0] if len(unique) == 1 else f"Union[{', '.join(unique)}]"), items


def argument(name):
    plain = name.lower().replace("-", "_")
    return plain + "_" if keyword.iskeyword(plain) or hasattr(builtins, plain) else plain


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        print(Maker(json.load(file)).module(), end="")
