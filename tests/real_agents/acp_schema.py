#!/usr/bin/python3
"""Validates what berth sent to an agent against the official schema of the protocol.

    acp_schema.py [--v2] LOG...     logs that tee.py wrote; prints what is wrong

Our own messages must be strict: besides what the schema says, no field is sent that it does not
name, and each request of the agent is answered exactly once, with the result that fits it.
"""

import json
import os
import sys

import jsonschema

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "acp")
# An offer of version 2 says all of it in the words of version 1 too, for agents that know no other.
ALSO_KNOWN = {(2, "initialize"): {"clientInfo", "clientCapabilities"}}


class ClientSchema:
    def __init__(self, version=1, side="client"):
        self._version = version
        with open(os.path.join(FOLDER, f"{side}_v{version}.json"), encoding="utf-8") as file:
            self._schema = json.load(file)
        self._validators = {}
        self._sent, self._answered = {}, {}
        for name, definition in self._schema["$defs"].items():
            if "x-method" in definition:
                answers = name.endswith("Response")
                (self._answered if answers else self._sent)[definition["x-method"]] = name

    def problems(self, messages):
        """Everything wrong with the ">" among (direction, message) pairs of one connection.

        That a request was never answered counts only when the agent came to its own end ("=").
        """
        found, asked, ours = [], {}, set()
        for direction, message in messages:
            if direction == "=":
                return found + [f"{method} was never answered" for method in asked.values()]
            if direction == "<":
                if "method" in message and "id" in message:
                    asked[json.dumps(message["id"])] = message["method"]
                continue
            found += self._envelope(message)
            if "method" in message:
                found += self._request(message, ours)
            else:
                found += self._answer(message, asked)
        return found

    def _envelope(self, message):
        extra = set(message) - {"jsonrpc", "id", "method", "params", "result", "error"}
        wrong = [f"field {name} beside the message" for name in sorted(extra)]
        if message.get("jsonrpc") != "2.0":
            wrong.append("jsonrpc is not 2.0")
        if ("result" in message) + ("error" in message) + ("method" in message) != 1:
            wrong.append(f"neither request nor answer: {message}")
        return wrong

    def _request(self, message, ours):
        method, wrong = message["method"], []
        if "id" in message:
            if not isinstance(message["id"], int) or message["id"] in ours:
                wrong.append(f"{method}: id {message['id']!r} is no fresh integer")
            ours.add(message["id"])
        if method.startswith("_"):  # an extension, which the protocol lets anybody have
            return wrong
        if method not in self._sent:
            return wrong + [f"{method} is no method of an agent"]
        return wrong + self._check(method, self._sent[method], message.get("params", {}))

    def _answer(self, message, asked):
        method = asked.pop(json.dumps(message["id"]), None)
        if method is None:
            return [f"an answer to nothing, or a second one: {message}"]
        if "error" in message:
            return self._check(method, "Error", message["error"])
        if method not in self._answered:
            return [f"{method} got a result, yet nothing is known of it"]
        return self._check(method, self._answered[method], message["result"])

    def _check(self, what, name, value):
        if name not in self._validators:
            schema = {"$ref": f"#/$defs/{name}", "$defs": self._schema["$defs"]}
            self._validators[name] = jsonschema.Draft202012Validator(schema)
        wrong = [f"{what}: {error.message}" for error in self._validators[name].iter_errors(value)]
        known = self._known(self._schema["$defs"][name])
        if known and isinstance(value, dict):
            known |= ALSO_KNOWN.get((self._version, what), set())
            wrong += [f"{what}: unknown field {key}" for key in value if key not in known]
        return wrong

    def _known(self, schema):
        """Names of all members that a definition speaks of, also in its variants."""
        if "$ref" in schema:
            schema = self._schema["$defs"][schema["$ref"].rsplit("/", 1)[1]]
        known = set(schema.get("properties", ()))
        for variant in [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]:
            known |= self._known(variant)
        return known


def read_log(path):
    """The (direction, message) pairs of a log of tee.py."""
    messages = []
    with open(path, encoding="utf-8") as file:
        for entry in map(json.loads, file):
            if entry["d"] == "=" or "m" in entry:
                messages.append((entry["d"], entry.get("m")))
    return messages


def main():
    paths = [argument for argument in sys.argv[1:] if argument != "--v2"]
    schema, wrong = ClientSchema(2 if "--v2" in sys.argv else 1), []
    for path in paths:
        wrong += [f"{path}: {problem}" for problem in schema.problems(read_log(path))]
    print("\n".join(wrong) if wrong else "all valid")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
