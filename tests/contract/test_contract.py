#!/usr/bin/python3
"""The contract of the HTTP API: it is well-formed, says what the program and the documents say, and never breaks."""

import copy
import json
import os
import re
import subprocess
import sys
import unittest

from jsonschema import Draft202012Validator, RefResolver

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))

import contract  # noqa: E402
from berth_server import BINARY, ROOT, Server  # noqa: E402
from compare import breaking  # noqa: E402
from summary import main  # noqa: E402

RELEASED = os.path.join(HERE, "released.json")  # make it anew at a release: berth openapi > released.json
JSON = {"content-type": "application/json"}


def references(value):
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref":
                yield item
            else:
                yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


class Document(unittest.TestCase):
    def setUp(self):
        self.document = contract.of_program().document

    def test_every_reference_leads_somewhere_and_every_schema_is_one(self):
        for reference in references(self.document):
            value = self.document
            for word in reference.removeprefix("#/").split("/"):
                self.assertIn(word, value, reference)
                value = value[word]
        for name, schema in self.document["components"]["schemas"].items():
            with self.subTest(name):
                Draft202012Validator.check_schema(schema)
        used = {reference.rpartition("/")[2] for reference in references(self.document)}
        self.assertEqual(set(self.document["components"]["schemas"]) - used, set(), "nobody needs them")

    def test_examples_are_what_their_schemas_say(self):
        resolver, count = RefResolver("", self.document), 0
        for name, schema in self.document["components"]["schemas"].items():
            for example in schema.get("examples", ()):
                Draft202012Validator(schema, resolver=resolver).validate(example)
                count += 1
        self.assertGreater(count, 3)

    def test_operations_have_names_of_their_own(self):
        names = [operation["operationId"] for _, _, _, operation in contract.of_program().operations]
        self.assertEqual(sorted(names), sorted(set(names)))

    def test_it_has_the_routes_and_scopes_of_the_program_and_no_others(self):
        done = subprocess.run([BINARY, "openapi", "--routes"], stdout=subprocess.PIPE, check=True, text=True, timeout=60)
        served = set(done.stdout.splitlines())
        self.assertGreater(len(served), 40)
        written = {f"{method} {re.sub(r'{[a-z]+}', '{}', path)} {operation['x-scope']}"
                   for method, path, _, operation in contract.of_program().operations}
        self.assertEqual(sorted(served - written), [], "server/api/contract lacks these routes")
        self.assertEqual(sorted(written - served), [], "the program lacks these routes")

    def test_it_has_the_event_types_of_the_documentation_and_of_the_sources(self):
        known = set(self.document["components"]["schemas"]["Event"]["discriminator"]["mapping"])
        with open(os.path.join(ROOT, "docs", "api.md"), encoding="utf-8") as file:
            section = file.read().partition("## Events")[2].partition("\n## ")[0]
        documented = set(re.findall(r"`((?:session|turn|agent|interaction|policy|change|fifo|notice|config|queue|egress)"
                                    r"\.[a-z_]+|update)`", section))
        self.assertEqual(sorted(known ^ documented), [])
        appended = set()
        for folder, _, files in os.walk(os.path.join(ROOT, "server")):
            for name in files:
                if name.endswith(".cc"):
                    with open(os.path.join(folder, name), encoding="utf-8") as file:
                        appended |= set(re.findall(r'append(?:_to)?\([^;"]*"((?:\w+\.)?\w+)"', file.read()))
        self.assertGreater(len(appended & known), 20)
        self.assertEqual(sorted(name for name in appended - known if "." in name), [])

    def test_the_server_shows_it_to_strangers(self):
        with Server() as server:
            client = server.client
            client.token = "wrong"
            self.assertEqual(client.call("GET", "/openapi.json"), self.document)


class Checks(unittest.TestCase):
    """An answer that differs is a breach: each of these would pass if the checks did not look."""

    def refused(self, words, method, path, status, headers, value):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        with self.assertRaises(contract.Breach) as caught:
            contract.check(method, path, status, headers, body)
        self.assertIn(words, str(caught.exception))

    def test_what_the_contract_says_passes(self):
        contract.check("GET", "/healthz", 200, JSON, b'{"status":"ok"}')
        contract.check("HEAD", "/healthz", 200, JSON, b"")
        contract.check("GET", "/v1/sessions?limit=1", 200, JSON, b'{"sessions":[],"next":null}')

    def test_fields_that_are_new_missing_or_of_another_type(self):
        self.refused("more", "GET", "/healthz", 200, JSON, {"status": "ok", "more": 1})
        self.refused("next", "GET", "/v1/sessions", 200, JSON, {"sessions": []})
        self.refused("next", "GET", "/v1/sessions", 200, JSON, {"sessions": [], "next": 7})
        self.refused("sessions/0", "GET", "/v1/sessions", 200, JSON, {"sessions": [{"id": "a"}], "next": None})

    def test_statuses_types_and_routes_that_are_not_there(self):
        self.refused("201", "GET", "/healthz", 201, JSON, {"status": "ok"})
        self.refused("text/html", "GET", "/healthz", 200, {"content-type": "text/html"}, {"status": "ok"})
        self.refused("no route", "GET", "/v1/secret", 200, JSON, {})
        self.refused("no problem", "GET", "/v1/secret", 404, JSON, {})
        self.refused("500", "GET", "/healthz", 500, {"content-type": "application/problem+json"}, {})
        self.refused("Location", "POST", "/v1/sessions", 201, JSON, {})

    def test_problems_without_what_problems_have(self):
        problem = {"type": "https://berth.example/problems/x", "title": "x", "status": 404, "detail": "x", "code": "x",
                   "kind": "not_found", "retryable": False}
        headers = {"content-type": "application/problem+json"}
        contract.check("GET", "/v1/sessions/a", 404, headers, json.dumps(problem).encode())
        self.refused("says 404", "GET", "/v1/sessions/a", 401, headers, problem)
        self.refused("Retry-After", "GET", "/v1/sessions/a", 503, headers, {**problem, "status": 503})
        self.refused("mistake", "GET", "/v1/sessions/a", 500, headers, {**problem, "status": 500})
        damaged = {**problem, "status": 500, "code": "log_gap"}
        contract.check("GET", "/v1/sessions/a/transcript", 500, headers, json.dumps(damaged).encode())
        for name in problem:
            self.refused(name, "GET", "/v1/sessions/a", 404, headers,
                         {key: value for key, value in problem.items() if key != name})

    def test_events_of_unknown_types_and_with_unknown_fields(self):
        event = {"seq": 1, "time": "2026-11-21T05:04:57.123Z", "type": "turn.started", "turn": "trn_1", "agent": "a",
                 "data": {"number": 1}}
        contract.check_event(event)
        for change in ({"type": "turn.invented"}, {"data": {"number": "1"}}, {"data": {"number": 1, "more": 2}},
                       {"more": 1}, {"seq": 0}):
            with self.subTest(change), self.assertRaises(contract.Breach):
                contract.check_event({**event, **change})


class Released(unittest.TestCase):
    """Clients of the last release go on working."""

    @classmethod
    def setUpClass(cls):
        with open(RELEASED, encoding="utf-8") as file:
            cls.released = json.load(file)

    def test_nothing_that_was_released_is_broken(self):
        self.assertEqual(breaking(self.released, contract.of_program().document), [])

    def found_after(self, change):
        """What is breaking once `change` was done to a copy."""
        changed = copy.deepcopy(self.released)
        change(changed["paths"], changed["components"]["schemas"])
        return " | ".join(breaking(self.released, changed))

    def test_every_kind_of_break_is_found(self):
        turns = "/v1/sessions/{session}/turns"
        breaks = [
            ("the path is gone", lambda paths, _: paths.pop(turns)),
            ("the operation is gone", lambda paths, _: paths[turns].pop("get")),
            ("operationId", lambda paths, _: paths[turns]["get"].update(operationId="turns")),
            ("before is gone", lambda paths, _: paths[turns]["get"]["parameters"].pop()),
            ("is needed now", lambda paths, _: paths[turns]["get"]["parameters"][-1].update(required=True)),
            ("maximum was", lambda paths, _: paths[turns]["get"]["parameters"][1]["schema"].update(maximum=10)),
            ("no body is taken", lambda paths, _: paths["/v1/reap"]["post"].pop("requestBody")),
            ("the body is needed", lambda paths, _: paths["/v1/reap"]["post"]["requestBody"].update(required=True)),
            ("202 is never", lambda paths, _: paths[turns]["post"]["responses"].pop("202")),
            ("no header Location", lambda paths, _: paths[turns]["post"]["responses"]["202"].pop("headers")),
            ("state: the field is gone", lambda _, schemas: schemas["Turn"]["properties"].pop("state")),
            ("not always there", lambda _, schemas: schemas["Turn"]["required"].remove("state")),
            ("was integer, is string", lambda _, schemas: schemas["Turn"]["properties"]["number"].update(type="string")),
            ("was string, is null or string",
             lambda _, schemas: schemas["Turn"]["properties"]["id"].update(type=["string", "null"])),
            ("on_busy: the field is gone", lambda _, schemas: schemas["PostTurn"]["properties"].pop("on_busy")),
            ("agent: the field is needed", lambda _, schemas: schemas["PostTurn"]["required"].append("agent")),
            ("steer is no word", lambda _, schemas: schemas["PostTurn"]["properties"]["on_busy"]["enum"].remove("steer")),
            ("waiting is no word", lambda _, schemas: schemas["TurnState"]["enum"].remove("waiting")),
            ("certain words", lambda _, schemas: schemas["PostTurn"]["properties"]["agent"].update(enum=["a"])),
            ("maxItems was 256", lambda _, schemas: schemas["OpenSession"]["properties"]["rules"].update(maxItems=2)),
            ("pattern was", lambda _, schemas: schemas["OpenSession"]["properties"]["id"].update(pattern="^a$")),
            ("no form of it", lambda _, schemas: schemas["Prompt"]["oneOf"].pop(0)),
            ("TurnEndedEvent is no form", lambda _, schemas: schemas["Event"]["oneOf"].remove(
                {"$ref": "#/components/schemas/TurnEndedEvent"})),
            ("open_tool_calls: the field is gone",
             lambda _, schemas: schemas["TurnEndedEvent"]["properties"]["data"]["properties"].pop("open_tool_calls")),
        ]
        for words, change in breaks:
            with self.subTest(words):
                self.assertIn(words, self.found_after(change))

    def test_what_only_adds_breaks_nothing(self):
        turns = "/v1/sessions/{session}/turns"
        additions = [
            lambda paths, _: paths.update({"/v1/new": paths[turns]}),
            lambda paths, _: paths[turns].update(put=paths[turns]["get"]),
            lambda paths, _: paths[turns]["get"]["parameters"].append(
                {"name": "new", "in": "query", "required": False, "schema": {"type": "string"}}),
            lambda paths, _: paths[turns]["get"]["parameters"][1]["schema"].update(maximum=1 << 40),
            lambda _, schemas: schemas["Turn"]["properties"].update(new={"type": "string"}),
            lambda _, schemas: schemas["PostTurn"]["properties"].update(new={"type": "string"}),
            lambda _, schemas: schemas["TurnState"]["enum"].append("thinking"),
            lambda _, schemas: schemas["PostTurn"]["properties"]["on_busy"]["enum"].append("drop"),
            lambda _, schemas: schemas["PostTurn"].update(required=[]),
        ]
        for number, change in enumerate(additions):
            with self.subTest(number):
                self.assertEqual(self.found_after(change), "")


if __name__ == "__main__":
    main()
