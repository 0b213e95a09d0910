"""Holds every answer that the tests get against the contract of the program under test.

    contract.check("GET", "/v1/sessions/a?x=1", 200, headers, body)   raises Breach when they differ
    contract.check_event(data)                                        the same for what a stream brings

The program prints the contract (`berth openapi`); objects are closed here, so that a field which it does not
name is a breach. Answers to requests that name no route of it must be problems, no more.
"""

import functools
import json
import os
import re
import subprocess

from jsonschema import Draft202012Validator, RefResolver, ValidationError, validators

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("BERTH", os.path.join(ROOT, "build", "server", "berth"))


# The codes of a 500: the store is damaged. Any other 500 is a mistake of ours.
DAMAGED = {"log_gap", "store_corrupt", "store_failed"}


class Breach(AssertionError):
    """An answer that the contract does not allow."""


def one_of(validator, branches, instance, schema):
    """`oneOf` by the discriminator where there is one: to try every type of event on every event takes long."""
    if "discriminator" not in schema:
        yield from Draft202012Validator.VALIDATORS["oneOf"](validator, branches, instance, schema)
        return
    word = instance.get(schema["discriminator"]["propertyName"]) if isinstance(instance, dict) else None
    target = schema["discriminator"]["mapping"].get(word)
    if target is None:
        yield ValidationError(f"{word!r} is no type that the contract knows")
    else:
        yield from validator.descend(instance, {"$ref": target})


Validator = validators.extend(Draft202012Validator, {"oneOf": one_of})


def closed(value):
    """The schema, with every object that lists its fields allowing no others."""
    if isinstance(value, list):
        return [closed(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {key: closed(item) for key, item in value.items()}
    if made.get("type") == "object" and isinstance(made.get("properties"), dict):
        made.setdefault("additionalProperties", False)
    return made


class Contract:
    """A parsed contract and the checks of answers against it. Threads may share it."""

    def __init__(self, document):
        self.document = document
        self.operations = [(method.upper(), template, pattern_of(template), operation)
                           for template, methods in document["paths"].items()
                           for method, operation in methods.items()]
        # Words before `{}`: as the server's table would decide if both fitted.
        self.operations.sort(key=lambda entry: entry[1].count("{"))
        whole = closed(document)
        self._resolver = RefResolver("", whole)
        self._events = whole["components"]["schemas"]["Event"]["discriminator"]["mapping"]
        self._http_statuses = document["components"]["responses"]["ProblemOfHttp"]["x-statuses"]
        self._validators = {}

    def operation(self, method, path):
        """The operation that a request asks for; None when there is none."""
        path = path.partition("?")[0]
        wanted = "GET" if method == "HEAD" else method
        for known, _, pattern, operation in self.operations:
            if known == wanted and pattern.fullmatch(path):
                return operation
        return None

    def check(self, method, path, status, headers, body):
        operation = self.operation(method, path)
        where = f"{method} {path}: {status}"
        if operation is None:
            self._check_problem(where, status, headers, body, method)
            return
        response = operation["responses"].get(str(status))
        if response is None and status in self._http_statuses:
            response = operation["responses"]["default"]
        if response is None:
            raise Breach(f"{where}: {operation['operationId']} does not know that status: {body[:300]}")
        if "$ref" in response:
            self._check_problem(where, status, headers, body, method)
            return
        for name in response.get("headers", {}):
            if name == "Location" and "location" not in headers:
                raise Breach(f"{where}: no {name}")
        self._check_content(where, response.get("content", {}), headers, body, method)

    def check_event(self, data):
        schema = self._events.get(data.get("type"))
        if schema is None:
            raise Breach(f"an event of a type that the contract does not know: {str(data)[:300]}")
        self._hold(f"event {data.get('seq')} {data['type']}", {"$ref": schema}, data)

    def _check_problem(self, where, status, headers, body, method):
        if status < 400:
            raise Breach(f"{where}: no route of the contract")
        if headers.get("content-type") != "application/problem+json":
            raise Breach(f"{where}: no problem document but {headers.get('content-type')}")
        if status in (429, 503) and "retry-after" not in headers:
            raise Breach(f"{where}: no Retry-After")
        if method == "HEAD":
            return
        problem = json.loads(body)
        self._hold(where, {"$ref": "#/components/schemas/Problem"}, problem)
        if status == 500 and problem["code"] not in DAMAGED:
            raise Breach(f"{where}: a mistake of the server: {body[:300]}")
        if problem["status"] != status:
            raise Breach(f"{where}: the problem says {problem['status']}")

    def _check_content(self, where, content, headers, body, method):
        if not content:
            if body:
                raise Breach(f"{where}: a body where none belongs: {body[:100]}")
            return
        media = headers.get("content-type", "").partition(";")[0]
        if media not in content:
            raise Breach(f"{where}: {media or 'no content type'}, not {', '.join(content)}")
        if method == "HEAD":
            return
        if media == "application/json":
            self._hold(where, content[media]["schema"], json.loads(body))
        elif media == "application/x-ndjson":
            for line in body.splitlines():
                self.check_event(json.loads(line))
        elif media.startswith("text/") and media != "text/x-diff":  # which holds the bytes of files
            body.decode()

    def _hold(self, where, schema, value):
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            self._validators[key] = Validator(closed(schema), resolver=self._resolver)
        error = next(self._validators[key].iter_errors(value), None)
        if error is not None:
            deepest = min([error, *error.context], key=lambda e: -len(e.absolute_path)) if error.context else error
            at = "/".join(str(part) for part in deepest.absolute_path)
            raise Breach(f"{where}: {at or 'the body'}: {deepest.message[:400]}")


def pattern_of(template):
    """`/v1/sessions/{session}` as a regular expression: a parameter takes one segment."""
    words = [re.escape(word) for word in re.split(r"\{\w+\}", template)]
    return re.compile("[^/]+".join(words))


@functools.cache
def of_program():
    """The contract of the program under test."""
    done = subprocess.run([BINARY, "openapi"], stdout=subprocess.PIPE, check=True, timeout=60)
    return Contract(json.loads(done.stdout))


def check(method, path, status, headers, body):
    of_program().check(method, path, status, headers, body)


def check_event(data):
    of_program().check_event(data)
