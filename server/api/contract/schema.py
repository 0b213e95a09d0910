"""The words in which the parts of the contract are written: JSON Schema 2020-12 and OpenAPI 3.1 as Python values.

Objects of answers are open (clients must ignore fields they do not know) and list every field that the server
sends; objects of requests are closed, because the server refuses what it does not know.
"""

Any = {}
STRING = {"type": "string"}
INTEGER = {"type": "integer"}
COUNT = {"type": "integer", "minimum": 0}
NUMBER = {"type": "number"}
BOOLEAN = {"type": "boolean"}
TIME = {"type": "string", "format": "date-time"}
OPEN_OBJECT = {"type": "object", "additionalProperties": True}


def described(schema, text):
    return {**schema, "description": text}


def ref(name):
    return {"$ref": f"#/components/schemas/{name}"}


def enum(*values):
    return {"type": "string", "enum": list(values)}


def const(value):
    return {"type": "string", "const": value}


def array(items, **more):
    return {"type": "array", "items": items, **more}


def strings(**more):
    return array(STRING, **more)


def or_null(schema):
    """The value, or null when there is none."""
    if isinstance(schema.get("type"), str):
        nullable = {**schema, "type": [schema["type"], "null"]}
        if "enum" in schema:
            nullable["enum"] = [*schema["enum"], None]
        return nullable
    return {"oneOf": [schema, {"type": "null"}]}


def one_of(*schemas):
    return {"oneOf": list(schemas)}


def answer(fields, optional=None, description=None):
    """An object that the server sends. `fields` are always there, `optional` ones sometimes."""
    made = {"type": "object", "properties": {**fields, **(optional or {})}}
    if fields:
        made["required"] = list(fields)
    return described(made, description) if description else made


def request(fields, required=(), description=None, examples=None):
    """An object that the server takes; a field that it does not know is refused."""
    made = {"type": "object", "properties": fields, "additionalProperties": False}
    if required:
        made["required"] = list(required)
    if description:
        made["description"] = description
    if examples:
        made["examples"] = examples
    return made


def query(name, schema, description, repeated=False):
    made = {"name": name, "in": "query", "required": False, "schema": schema, "description": description}
    return {**made, "style": "form", "explode": True} if repeated else made


def header(name, schema, description):
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": description}


ETAG = {"ETag": (STRING, "Its strong validator.")}
IF_MATCH = header("If-Match", STRING, "Only if it has this ETag still, else 412.")
IF_NONE_MATCH = header("If-None-Match", STRING, "The ETag of what the client has.")
FRESH = {304: {"description": "The client has it"}}
KEY = header("Idempotency-Key", {"type": "string", "maxLength": 255}, "The same key and body: what the first one made.")


PROJECT = header("Berth-Project", {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"},
                 "In which project, for a token that is good for all; 403 for another's.")


def flag(name, description):
    return query(name, enum("0", "1", "true", "false"), description)


def number(name, description, default, maximum):
    """A number in the query, from 0 to `maximum`."""
    return query(name, {"type": "integer", "minimum": 0, "maximum": maximum, "default": default}, description)


# The scopes of tokens (docs/security.md): what a route needs of its caller.
NONE, VIEW, EDIT, RUN, ADMIN = "none", "sessions:view", "sessions:edit", "sessions:run", "admin"

PATH_PARAMETERS = {
    "session": "A session's id.",
    "turn": "A turn's id, `trn_...`.",
    "interaction": "A question's id, `int_...`.",
    "agent": "The profile of one of the session's agents.",
    "profile": "A profile that the server knows.",
    "name": "A named agent.",
    "file": "The name of a file.",
    "token": "A token's id.",
}

# What any request can be told before its route is asked; 500 when what it needs of the store is damaged.
EVERYWHERE = (400, 401, 403, 422, 429, 500, 503)
PUBLIC = tuple(status for status in EVERYWHERE if status not in (401, 422, 500))
# What is refused as HTTP, before anybody looks at the path: the `default` of every operation.
HTTP_STATUSES = (408, 413, 414, 417, 431, 501, 505)
PROBLEM_TITLES = {
    400: "The request is not HTTP or not JSON", 401: "The token is missing or wrong", 403: "Not allowed",
    404: "There is no such thing",
    409: "It does not fit what is there", 410: "It is over", 412: "It was changed meanwhile",
    413: "It is too large", 416: "There are no such bytes", 422: "A field does not fit; `field` names it",
    429: "Too much at once; `limit` names it",
    500: "What is stored of it is damaged: `log_gap`, `store_corrupt` or `store_failed`", 503: "Not now; `Retry-After` says when", 504: "It took too long",
}


def content(schema, media="application/json"):
    return {media: {"schema": schema}}


def stream_of(schema):
    """Server-sent events: what stands in the `data` of each, which OpenAPI 3.1 has no word of its own for."""
    return {"text/event-stream": {"schema": STRING, "x-item-schema": schema}}


def response(description, body=None, headers=None):
    """`body` is a schema (sent as JSON) or, as dict of media types, what content() and stream_of() made."""
    made = {"description": description}
    if body is not None:
        made["content"] = body if any("/" in key for key in body) else content(body)
    if headers:
        made["headers"] = {name: {"schema": schema, "description": text} for name, (schema, text) in headers.items()}
    return made


def operation(method, path, name, summary, answers, *, tag, parameters=(), body=None, body_needed=False, problems=(),
              scope, description=None):
    """One route: (path, method, what OpenAPI calls an operation object). `scope` is what its caller needs."""
    public = scope == NONE
    made = {"operationId": name, "summary": summary, "tags": [tag], "x-scope": scope}
    if description:
        made["description"] = description
    if public:
        made["security"] = []
    elif method == "GET" and scope == VIEW:
        made["security"] = [{"bearer": []}, {"ticket": []}]
    path_names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    in_path = [{"name": part, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1},
                "description": PATH_PARAMETERS[part]} for part in path_names]
    asked = [*in_path, *parameters, *([] if public else [PROJECT])]
    if asked:
        made["parameters"] = asked
    if body is not None:
        made["requestBody"] = {"required": body_needed,
                               "content": body if any("/" in key for key in body) else content(body)}
    made["responses"] = {str(status): given for status, given in answers.items()}
    common = PUBLIC if public else EVERYWHERE
    for status in sorted({*common, *problems}):
        made["responses"].setdefault(str(status), {"$ref": f"#/components/responses/Problem{status}"})
    made["responses"]["default"] = {"$ref": "#/components/responses/ProblemOfHttp"}
    return path, method.lower(), made
