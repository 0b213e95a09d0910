"""The log of a session: every event type, as a schema of its own."""

from schema import (BOOLEAN, COUNT, INTEGER, OPEN_OBJECT, STRING, TIME, VIEW, answer, array, const, content,
                    described, enum, header, number, operation, or_null, query, ref, response, stream_of,
                    strings)

from changes import OUTCOME
from sessions import PERMISSION

NOTHING = {"type": "object", "maxProperties": 0}
FAILURE = {"code": STRING, "message": STRING, "agent_error": {}, "attempt": INTEGER, "needs_decision": BOOLEAN,
           "auth_methods": or_null(array({})), "stderr_tail": STRING}
HEAD = {"reason": STRING, "bytes": COUNT, "head": described(STRING, "The first bytes, made valid.")}

# What stands in `data` of each type.
EVENTS = {
    "update": {
        "type": "object", "required": ["sessionUpdate"], "additionalProperties": True,
        "properties": {"sessionUpdate": STRING},
        "description": "An ACP session/update object exactly as the agent sent it.",
    },
    "session.opened": answer({"workspace": ref("Workspace"), "fallback": or_null(STRING), "agent": STRING}),
    "session.closed": answer({"workspace": enum("removed", "kept"), "reason": or_null(STRING),
                              "salvage_ref": or_null(STRING), "branch_kept": or_null(STRING)}),
    "session.revived": NOTHING,
    "session.archived": NOTHING,
    "session.unarchived": NOTHING,
    "turn.queued": answer({"number": INTEGER, "prompt": array(ref("ContentBlock"))}),
    "turn.edited": answer({"number": INTEGER}, {"prompt": array(ref("ContentBlock"))}),
    "turn.started": answer({"number": INTEGER}),
    "turn.steered": answer({"turn": STRING, "number": INTEGER, "prompt": array(ref("ContentBlock"))}),
    "turn.stalled": answer({"stalled": BOOLEAN, "why": STRING}),
    "turn.ended": answer({"number": INTEGER, "state": ref("TurnState"), "reason": or_null(STRING),
                          "usage": or_null(ref("TurnUsage")), "open_tool_calls": strings()}),
    "turn.taken_back": answer({"reason": STRING}),
    "agent.attached": answer({
        "rung": enum("new", "resume", "load", "history"), "native_session_id": STRING, "pid": INTEGER,
        "attach_epoch": INTEGER, "protocol_version": INTEGER, "agent_info": or_null(OPEN_OBJECT),
        "capabilities": or_null(OPEN_OBJECT), "agent_error": {}, "reason": or_null(STRING), "continuation_owed": BOOLEAN,
        "config_failures": array({}), "attach_ms": INTEGER,
    }),
    "agent.exited": answer({"pid": INTEGER, "status": STRING, "expected": BOOLEAN, "stderr_tail": STRING}),
    "agent.evicted": answer({"limit": STRING, "idle_ms": INTEGER}),
    "agent.told": answer({
        "what": enum("continuation", "missed", "interrupted"), "from_turn": INTEGER, "to_turn": INTEGER,
        "whole": INTEGER, "digested": INTEGER, "left_out": INTEGER, "bytes": COUNT, "transcript": or_null(STRING),
    }),
    "agent.retrying": answer(FAILURE, {"retry_in_ms": INTEGER, "choices": array(ref("Choice"))}),
    "agent.failed": answer(FAILURE, {"choices": array(ref("Choice"))}),
    "agent.decided": answer({"choice": ref("Choice"), "by": STRING, "failure": or_null(ref("Decision"))}),
    "agent.forgot": NOTHING,
    "agent.junk": answer(HEAD),
    "agent.message": answer({"method": STRING, "params": {}}),
    "interaction.opened": answer({
        "id": STRING, "kind": ref("InteractionKind"), "request": OPEN_OBJECT, "child": or_null(STRING),
        "expires_at": or_null(TIME),
    }),
    "interaction.closed": answer({
        "id": STRING, "state": enum("answered", "cancelled", "expired"), "answer": or_null(ref("GivenAnswer")),
        "by": or_null(STRING),
    }),
    "policy.changed": answer({"permission": PERMISSION, "rules": array(ref("Rule"))}),
    "change.recorded": answer({
        "turn_number": INTEGER, "outcome": OUTCOME, "reason": or_null(STRING), "turns": array(ref("Toucher")),
        "files": array(ref("ChangedFile")), "files_total": COUNT, "touched": strings(), "touched_total": COUNT,
        "additions": INTEGER, "deletions": INTEGER, "snapshot": or_null(STRING), "ms": INTEGER,
    }, {"scan": enum("hinted", "full"), "scan_reason": or_null(STRING)}),
    "change.applied": ref("AppliedChange"),
    "change.restored": ref("RestoredChange"),
    "fifo.refused": answer(HEAD),
    "notice.failed": answer({"turn": STRING, "error": STRING}),
    "config.changed": answer({}, {"mode": STRING, "config": OPEN_OBJECT}),
    "queue.held": answer({"reason": STRING}),
    "queue.resumed": NOTHING,
}


def schema_name(event):
    """"turn.ended" -> "TurnEndedEvent"."""
    return "".join(word.capitalize() for word in event.replace(".", "_").split("_")) + "Event"


SCHEMAS = {
    schema_name(name): answer({
        "seq": described({"type": "integer", "minimum": 1}, "Without gaps in a session."), "time": TIME,
        "type": const(name), "turn": or_null(STRING), "agent": or_null(STRING), "data": data,
    }) for name, data in EVENTS.items()
}
SCHEMAS["Event"] = {
    "oneOf": [ref(schema_name(name)) for name in EVENTS],
    "discriminator": {"propertyName": "type", "mapping": {name: f"#/components/schemas/{schema_name(name)}"
                                                          for name in EVENTS}},
}
SCHEMAS["EventPage"] = answer({"events": array(ref("Event")), "last_seq": COUNT, "more": BOOLEAN})

OPERATIONS = [
    operation("GET", "/v1/sessions/{session}/events", "getEvents", "The log: live, in pages, or whole",
              {200: response("By `Accept`: server-sent events, a page, or all of it a line each", {
                  **content(ref("EventPage")), **stream_of(ref("Event")),
                  "application/x-ndjson": {"schema": STRING, "x-item-schema": ref("Event")}})},
              scope=VIEW, tag="events", problems=(404, 422), parameters=[
                  header("Last-Event-ID", STRING, "The cursor of a client that comes back; wins over `after`."),
                  number("after", "Only later events.", 0, 1 << 62),
                  query("stream", enum("1"), "A stream, whatever `Accept` says."),
                  query("until", enum("turn-end"), "Ends the stream after the next turn's ending."),
                  number("limit", "A page has so many at most.", 1000, 10_000),
                  number("bytes", "A page has so many bytes at most.", 1 << 20, 16 << 20),
              ]),
]
