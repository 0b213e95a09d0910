"""Requests made out of the contract: one that fits, then with one thing wrong. Everything follows from the seed.

    maker = RequestMaker(contract, random.Random(seed), known)   # known: what exists, by parameter
    request = maker.request()            # method, path, headers, body (bytes or None), and what was done to it
    raw = maker.raw()                    # bytes that are hardly HTTP
"""

import copy
import json
import re
from dataclasses import dataclass, field
from urllib.parse import quote

HUGE = 70_000
WORDS = ["", "a", "x" * 300, "x" * HUGE, "..", "../../etc/passwd", "%2e%2e", "a/b", "/", "\0", "a\0b", "-1", "0", "1", "true",
         "null", "é", "\U0001f6a2", "‮", "\ud800", "'; DROP TABLE sessions; --", "{}", "[]", "\r\nX: y", "base", "turn:1",
         "before:1", "turn:-1", "turn:99999999999999999999", "latest", "HEAD", "/nonexistent/none", "https://127.0.0.1:1/none",
         "file:///nonexistent/none"]
# Those of the words, whole or cut, that are names of projects: what is made in them must be found again.
PROJECTS = sorted({"default", *(cut for word in WORDS for cut in (word[:10], word)
                                if re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", cut))})
NUMBERS = [0, 1, -1, 2, 1000, 1001, 2**31, 2**32, 2**53 + 1, 2**62, 2**63, 2**64, 2**70, -2**63 - 1, 1.5, 1e300, -0.0]
OTHERS = [None, True, False, 0, -1, 1.5, "", "text", [], [[]], {}, {"a": {}}]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW", "get"]


@dataclass
class Request:
    method: str
    path: str
    headers: dict
    body: bytes | None
    wrong: str = "nothing"
    operation: dict = field(default=None, repr=False)

    def told(self):
        """For messages: short, and enough to do it again."""
        return f"{self.method} {self.path[:200]} {self.headers} {(self.body or b'')[:300]} ({self.wrong})"


class RequestMaker:
    def __init__(self, contract, random, known, skip=()):
        self.contract, self.random, self.known = contract, random, known
        self.operations = [entry for entry in contract.operations if entry[3]["operationId"] not in skip]

    def request(self):
        """Half of them have one thing wrong, a quarter several."""
        method, template, _, operation = self.random.choice(self.operations)
        if method == "DELETE" and self.random.random() < 0.8:
            return self.request()  # what is gone teaches little
        made = Request(method, "", {}, None, operation=operation)
        arguments, query = {}, []
        for parameter in operation.get("parameters", ()):
            self._give(parameter, arguments, query, made.headers)
        schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        value = self.value(schema) if schema is not None else None
        for _ in range(self.random.choice((0, 1, 1, 1, 1, 2, 3))):
            value = self._spoil(made, schema, value, arguments, query)
        if made.body is None and schema is not None:
            keep_at_home(value)
            made.body = json.dumps(value).encode()
        made.path = self._path(template, arguments, query)
        return made

    # --- what fits ---

    def _give(self, parameter, arguments, query, headers):
        name, schema = parameter["name"], parameter["schema"]
        if parameter["in"] == "path":
            arguments[name] = self.random.choice(self.known.get(name, ["unknown"]))
        elif self.random.random() < (0.02 if name == "Berth-Project" else 0.4):  # in others nothing is known
            value = self.random.choice(PROJECTS) if name == "Berth-Project" else self.value(schema)
            if parameter["in"] == "query":
                query += [(name, item) for item in (value if isinstance(value, list) else [value])]
            else:
                headers[name] = "wait=0" if name == "Prefer" else str(value)

    def value(self, schema, depth=0):
        """One that the schema takes, mostly (it does not look at patterns and paths)."""
        schema = self._resolved(schema)
        if "examples" in schema and self.random.random() < 0.3:
            return copy.deepcopy(self.random.choice(schema["examples"]))
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.random.choice(schema["enum"])
        if "oneOf" in schema:
            return self.value(self.random.choice(schema["oneOf"]), depth)
        kind = schema.get("type", "string")
        kind = self.random.choice(kind) if isinstance(kind, list) else kind
        if kind == "object":
            return {name: self.value(item, depth + 1) for name, item in schema.get("properties", {}).items()
                    if name in schema.get("required", ()) or self.random.random() < 0.3}
        if kind == "array":
            count = self.random.randint(schema.get("minItems", 0), 2) if depth < 4 else 0
            return [self.value(schema["items"], depth + 1) for _ in range(max(count, schema.get("minItems", 0)))]
        if kind == "integer":
            return self.random.randint(schema.get("minimum", 0), min(schema.get("maximum", 100), 100))
        if kind == "number":
            return self.random.random()
        if kind == "boolean":
            return self.random.random() < 0.5
        if kind == "null":
            return None
        return self.random.choice(self.known.get("strings", ["text"]))

    def _resolved(self, schema):
        while "$ref" in schema:
            schema = self.contract.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return schema

    def _path(self, template, arguments, query):
        for name, value in arguments.items():
            template = template.replace("{%s}" % name, escaped(value))
        if query:
            template += "?" + "&".join(f"{escaped(name)}={escaped(str(value))}" for name, value in query)
        return template

    # --- what does not ---

    def _spoil(self, made, schema, value, arguments, query):
        """Does one thing to the request; gives the body's value, which may be another then."""
        ways = [self._spoil_header, self._spoil_method, self._spoil_query]
        if arguments:
            ways += [self._spoil_path] * 2
        if schema is not None:
            ways += [self._spoil_value] * 8 + [self._spoil_bytes] * 3
        else:
            ways += [self._spoil_absent_body]
        return self.random.choice(ways)(made, value, arguments, query)

    def _spoil_header(self, made, value, _, __):
        name = self.random.choice(["Accept", "Content-Type", "Idempotency-Key", "Prefer", "Last-Event-ID", "If-Match",
                                   "If-None-Match", "Berth-Project", "Authorization", "Expect", "Origin", "Range",
                                   "traceparent", "X-Forwarded-For", "Forwarded", "Cookie", "X-" + "h" * 60])
        made.headers[name] = self.random.choice(WORDS).encode("utf-8", "replace").decode("latin-1").replace(
            "\r", " ").replace("\n", " ")[:self.random.choice((10, 300, 40_000))]
        made.wrong = f"header {name}"
        return value

    def _spoil_method(self, made, value, _, __):
        made.method = self.random.choice(METHODS)
        made.wrong = "method"
        return value

    def _spoil_query(self, made, value, _, query):
        name = self.random.choice(["limit", "after", "before", "from", "to", "path", "force", "stream", "until", "state",
                                   "bytes", "unknown", ""])
        query.append((name, self.random.choice([*WORDS, *map(str, NUMBERS)])))
        made.wrong = f"query {name}"
        return value

    def _spoil_path(self, made, value, arguments, _):
        name = self.random.choice(list(arguments))
        arguments[name] = self.random.choice(WORDS)
        made.wrong = f"path {name}"
        return value

    def _spoil_absent_body(self, made, value, _, __):
        made.body = self.random.choice([b"{}", b"null", b"\xff" * 10, b"x" * HUGE])
        made.wrong = "a body where none belongs"
        return value

    def _spoil_value(self, made, value, _, __):
        places = list(self._places(value, ()))
        at = self.random.choice(places)
        made.wrong = "body " + ".".join(map(str, at))
        what = self.random.randrange(6)
        if what == 0 and at and isinstance(parent(value, at), dict):
            del parent(value, at)[at[-1]]
        elif what == 1 and isinstance(within(value, at), dict):
            within(value, at)[self.random.choice([*WORDS[:8], "unknown", "__proto__"])] = self._other()
        elif what == 2:
            value = replaced(value, at, self.random.choice(NUMBERS))
        elif what == 3:
            value = replaced(value, at, self.random.choice(WORDS))
        elif what == 4:
            value = replaced(value, at, [self._other()] * self.random.choice((1, 2, 300)))
        else:
            value = replaced(value, at, self._other())
        return value

    def _other(self):
        return copy.deepcopy(self.random.choice(OTHERS))

    def _spoil_bytes(self, made, value, _, __):
        text = json.dumps(value).encode()
        cut = self.random.randint(0, len(text))
        made.wrong, made.body = self.random.choice([
            ("bad UTF-8", text[:cut] + self.random.choice([b"\xff", b"\xc3", b"\xed\xa0\x80"]) + text[cut:]),
            ("a NUL", text[:cut] + b"\0" + text[cut:]),
            ("cut", text[:cut]),
            ("nothing", b""),
            ("deep", b'{"prompt":' + b"[" * 3000 + b"]" * 3000 + b"}"),
            ("deeper", b"[" * 200_000),
            ("deep objects", b'{"a":' * 2000 + b"1" + b"}" * 2000),
            ("every field twice", text[:-1] + b"," + text[1:] if len(text) > 2 else b'{"id":1,"id":2}'),
            ("a huge number", b'{"prompt":1' + b"0" * 5000 + b"}"),
            ("a huge string", b'{"id":"' + b"x" * 300_000 + b'"}'),
            ("many fields", b"{" + b",".join(b'"f%d":1' % i for i in range(5000)) + b"}"),
            ("after the end", text + b"}"),
            ("a mark of byte order", b"\xef\xbb\xbf" + text),
        ])
        return value

    def _places(self, value, at):
        yield at
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in items:
            yield from self._places(item, (*at, key))

    # --- what is hardly HTTP ---

    def raw(self, token):
        """Bytes for a connection of their own, and whether to close the sending side after them."""
        head = f"Host: localhost\r\nAuthorization: Bearer {token}\r\n".encode()
        post, get = b"POST /v1/reap HTTP/1.1\r\n" + head, b"GET /v1/info HTTP/1.1\r\n" + head
        chunked = b"Transfer-Encoding: chunked\r\n"
        noise = bytes(self.random.randrange(256) for _ in range(self.random.randint(1, 200)))
        shapes = [
            noise,
            get + noise + b"\r\n\r\n",
            post + chunked + b"\r\n" + self.random.choice([
                b"2\r\n{}\r\n0\r\n\r\n", b"2\r\n{}0\r\n\r\n", b"zz\r\n{}\r\n0\r\n\r\n", b"-1\r\n", b"ffffffffffffffff\r\n{}",
                b"2;" + b"e" * 9000 + b"\r\n{}\r\n0\r\n\r\n", b"2\n{}\n0\n\n", b"2\r\n{}\r\n0\r\nX: " + b"t" * 99 + b"\r\n\r\n",
                b"0x2\r\n{}\r\n0\r\n\r\n", b"2 \r\n{}\r\n0\r\n\r\n"]),
            post + b"Content-Length: 2\r\n" + chunked + b"\r\n{}0\r\n\r\n",
            post + chunked + b"Content-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            post + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
            post + b"Content-Length: " + self.random.choice([b"+2", b"-2", b"2,2", b"0x2", b"9" * 30, b"", b"2 2"]) + b"\r\n\r\n{}",
            post + b"Transfer-Encoding: " + self.random.choice([b"gzip", b"chunked, chunked", b"xchunked", b"identity",
                                                               b"chunked\r\nTransfer-Encoding: x"]) + b"\r\n\r\n{}",
            (get + b"\r\n") * self.random.randint(2, 40),
            (post + b"Content-Length: 2\r\n\r\n{}") * self.random.randint(2, 20),
            get.replace(b"HTTP/1.1", self.random.choice([b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b""])) + b"\r\n",
            get + b" folded: x\r\n\r\n", get + b"Name : x\r\n\r\n", get + b"\0: x\r\n\r\n", get + b"Host: y\r\n\r\n",
            get.replace(b"\r\n", b"\n") + b"\n", get.replace(b"Host: localhost\r\n", b"") + b"\r\n",
            b"GET " + b"/a" * self.random.choice((10, 5000, 40_000)) + b" HTTP/1.1\r\n" + head + b"\r\n",
            b"GET http://localhost/v1/info HTTP/1.1\r\n" + head + b"\r\n", b"OPTIONS * HTTP/1.1\r\n" + head + b"\r\n",
            get + b"X: " + b"h" * self.random.choice((1000, 50_000)) + b"\r\n\r\n",
            get + b"".join(b"X-%d: y\r\n" % i for i in range(2000)) + b"\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\r\n\r\n" + get + b"\r\n",
            get + b"Expect: 100-continue\r\n\r\n", get + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            get + b"Content-Length: 5\r\n\r\n" + get + b"\r\n",
        ]
        data = self.random.choice(shapes)
        if self.random.random() < 0.3:
            data = data[:self.random.randint(0, len(data))]
        return data


def keep_at_home(value):
    """No request may make the server ask other machines: host:path would be one for ssh."""
    given = value.get("repository") if isinstance(value, dict) else None
    if isinstance(given, str) and ":" in given and not given.startswith(("https://127.0.0.1", "file://")):
        value["repository"] = "relative"


def escaped(text):
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def within(value, at):
    for key in at:
        value = value[key]
    return value


def parent(value, at):
    return within(value, at[:-1])


def replaced(value, at, other):
    if not at:
        return other
    parent(value, at)[at[-1]] = other
    return value
