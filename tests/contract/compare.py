"""What a newer contract breaks for clients that were written against an older one.

    for change in breaking(old, new): print(change)

A request may be taken more widely, an answer may say more; never the other way round. A word that leaves an enum
breaks on either side: somebody sends it or waits for it.
"""

# A bound that got tighter refuses what was taken before: (keyword, whether lower is tighter).
BOUNDS = (("maximum", True), ("maxLength", True), ("maxItems", True), ("maxProperties", True),
          ("minimum", False), ("minLength", False), ("minItems", False))


def breaking(old, new):
    """Every breaking change between two OpenAPI documents, as sentences."""
    return list(Comparison(old, new).run())


class Comparison:
    def __init__(self, old, new):
        self.old, self.new = old, new
        self._seen = set()

    def run(self):
        for path, methods in self.old["paths"].items():
            if path not in self.new["paths"]:
                yield f"{path}: the path is gone"
                continue
            for method, before in methods.items():
                now = self.new["paths"][path].get(method)
                where = f"{method.upper()} {path}"
                if now is None:
                    yield f"{where}: the operation is gone"
                else:
                    yield from self._operation(where, before, now)

    def _operation(self, where, before, now):
        if before["operationId"] != now["operationId"]:
            yield f"{where}: operationId, which names it in clients, was {before['operationId']}"
        old_parameters = {(p["in"], p["name"]): p for p in before.get("parameters", ())}
        new_parameters = {(p["in"], p["name"]): p for p in now.get("parameters", ())}
        for key, parameter in old_parameters.items():
            if key not in new_parameters:
                yield f"{where}: the {key[0]} parameter {key[1]} is gone"
            else:
                yield from self._taken(f"{where}: {key[1]}", parameter["schema"], new_parameters[key]["schema"])
        for key, parameter in new_parameters.items():
            was_required = old_parameters.get(key, {}).get("required", False)
            if parameter.get("required") and not was_required:
                yield f"{where}: the {key[0]} parameter {key[1]} is needed now"
        yield from self._body(where, before.get("requestBody"), now.get("requestBody"))
        yield from self._responses(where, before["responses"], now["responses"])

    def _body(self, where, before, now):
        if before is None:
            if now is not None and now.get("required"):
                yield f"{where}: a body is needed now"
            return
        if now is None:
            yield f"{where}: no body is taken any more"
            return
        if now.get("required") and not before.get("required"):
            yield f"{where}: the body is needed now"
        for media, content in before["content"].items():
            if media not in now["content"]:
                yield f"{where}: {media} is not taken any more"
            else:
                yield from self._taken(where, content["schema"], now["content"][media]["schema"])

    def _responses(self, where, before, now):
        for status, response in before.items():
            if not status.startswith("2"):
                continue
            if status not in now:
                yield f"{where}: {status} is never answered any more"
                continue
            for name in response.get("headers", {}):
                if name not in now[status].get("headers", {}):
                    yield f"{where}: {status} has no header {name} any more"
            for media, content in response.get("content", {}).items():
                given = now[status].get("content", {}).get(media)
                if given is None:
                    yield f"{where}: {status} is never {media} any more"
                    continue
                yield from self._sent(f"{where} -> {status}", content["schema"], given["schema"])
                if "x-item-schema" in content:
                    yield from self._sent(f"{where} -> {status} item", content["x-item-schema"],
                                          given.get("x-item-schema", {"not": {}}))

    # What clients send: all that fitted before must fit now.
    def _taken(self, where, before, now):
        yield from self._schemas(where, before, now, sent=False)

    # What clients get: all that comes now must be what they know.
    def _sent(self, where, before, now):
        yield from self._schemas(where, before, now, sent=True)

    def _schemas(self, where, before, now, sent):
        pair = (before.get("$ref"), now.get("$ref"), sent)
        if pair[0] and pair[1]:
            if pair in self._seen:
                return
            self._seen.add(pair)
        before, now = resolved(self.old, before), resolved(self.new, now)
        yield from self._types(where, before, now, sent)
        gone = [value for value in words(before) if value not in words(now)] if words(now) else []
        if gone:
            yield f"{where}: {', '.join(map(str, gone))} is no word of it any more"
        elif not sent and words(now) and not words(before):
            yield f"{where}: takes only certain words now"
        if not sent:
            yield from self._bounds(where, before, now)
        yield from self._objects(where, before, now, sent)
        if "items" in before and "items" in now:
            yield from self._schemas(where + "[]", before["items"], now["items"], sent)
        old_values, new_values = before.get("additionalProperties"), now.get("additionalProperties")
        if isinstance(old_values, dict) and isinstance(new_values, dict):
            yield from self._schemas(where + ".*", old_values, new_values, sent)
        yield from self._branches(where, before, now, sent)

    def _types(self, where, before, now, sent):
        old_types, new_types = types(before), types(now)
        fits = new_types <= old_types if sent else old_types <= new_types
        if not fits:
            yield f"{where}: was {' or '.join(sorted(old_types))}, is {' or '.join(sorted(new_types))}"

    def _bounds(self, where, before, now):
        for keyword, lower_is_tighter in BOUNDS:
            if keyword not in now:
                continue
            old, new = before.get(keyword), now[keyword]
            if old is None or (new < old if lower_is_tighter else new > old):
                yield f"{where}: {keyword} was {old}, is {new}"
        if "pattern" in now and now["pattern"] != before.get("pattern"):
            yield f"{where}: pattern was {before.get('pattern')}, is {now['pattern']}"

    def _objects(self, where, before, now, sent):
        old_fields, new_fields = before.get("properties", {}), now.get("properties", {})
        for name, schema in old_fields.items():
            at = f"{where}: {name}" if ": " not in where else f"{where}.{name}"
            if name not in new_fields:
                yield f"{at}: the field is gone"
                continue
            if sent and name in before.get("required", ()) and name not in now.get("required", ()):
                yield f"{at}: is not always there any more"
            yield from self._schemas(at, schema, new_fields[name], sent)
        if not sent:
            for name in now.get("required", ()):
                if name not in before.get("required", ()):
                    yield f"{where}: {name}: the field is needed now"

    def _branches(self, where, before, now, sent):
        for branch in before.get("oneOf", ()):
            others = now.get("oneOf", ())
            same = [other for other in others if branch.get("$ref") and branch.get("$ref") == other.get("$ref")]
            if same:
                yield from self._schemas(f"{where} ({branch['$ref'].rpartition('/')[2]})", branch, same[0], sent)
            elif not any(Comparison(self.old, self.new).fits(branch, other, sent) for other in others):
                yield f"{where}: {branch.get('$ref', branch)} is no form of it any more"

    def fits(self, before, now, sent):
        return not list(self._schemas("", before, now, sent))


def resolved(document, schema):
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def types(schema):
    """The JSON types that a schema without branches may have; none said is all."""
    if "oneOf" in schema:
        return set()  # its branches say
    given = schema.get("type", ["array", "boolean", "integer", "null", "number", "object", "string"])
    return {given} if isinstance(given, str) else set(given)


def words(schema):
    return [schema["const"]] if "const" in schema else schema.get("enum", [])
