"""The log of a session: every event type, as a schema of its own."""

from schema import (BOOLEAN, COUNT, INTEGER, OPEN_OBJECT, STRING, TIME, VIEW, answer, array, const, content,
                    described, enum, flag, header, number, operation, or_null, query, ref, response, stream_of,
                    strings)

from changes import OUTCOME
from sessions import LAUNCH, PERMISSION

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
    "session.titled": answer({"title": STRING}),
    "session.revived": NOTHING,
    "session.archived": NOTHING,
    "session.unarchived": NOTHING,
    "turn.queued": answer({"number": INTEGER, "prompt": array(ref("ContentBlock"))}),
    "turn.edited": answer({"number": INTEGER}, {"prompt": array(ref("ContentBlock"))}),
    "turn.started": answer({"number": INTEGER}, {"trace_id": or_null(STRING)}),
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
    }, LAUNCH),
    "egress.denied": answer({"target": STRING, "reason": STRING}),
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
SCHEMAS["SessionEvent"] = {
    "allOf": [ref("Event"), {"type": "object", "required": ["session"], "properties": {"session": STRING}}],
    "description": "An event of a session's log in a stream of several: with the session's id in front.",
}
SCHEMAS["SessionSummary"] = answer({
    "id": STRING, "state": enum("open", "archived", "closed", "closing", "deleting", "deleted"), "title": STRING,
    "agent": STRING,
    "workspace": answer({"mode": enum("worktree", "overlay", "directory", "none"), "repository": or_null(STRING),
                         "url": or_null(STRING)}),
    "turn": or_null(answer({"id": STRING, "number": INTEGER, "agent": STRING, "state": ref("TurnState")})),
    "queued": COUNT, "interactions_open": COUNT, "held": BOOLEAN, "stalled": BOOLEAN, "created_at": or_null(TIME),
    "updated_at": or_null(TIME),
}, description="How a session stands, for lists.")
SCHEMAS["TranscriptEntry"] = answer({
    "kind": enum("message", "thought", "request", "turn", "tool_call", "plan", "interaction"), "seq": COUNT, "event": STRING,
    "time": TIME, "turn": or_null(STRING), "agent": or_null(STRING),
}, {"text": described(STRING, "Of messages and thoughts."), "data": described({}, "Of the others: the event's.")})
SCHEMAS["TranscriptOfSession"] = answer({
    "session": STRING, "first_seq": described(COUNT, "Where the log begins."), "entries": array(ref("TranscriptEntry"))})
SCHEMAS["EventPage"] = answer({
    "events": array(ref("Event")), "first_seq": described(COUNT, "Where the log begins: older events are not kept."),
    "last_seq": COUNT, "more": BOOLEAN})

LAST_EVENT = header("Last-Event-ID", STRING, "The cursor of a client that comes back; wins over `after`.")
AFTER = query("after", STRING, "The same in the query.")
HEARTBEAT = query("heartbeat", enum("comment", "event"), "How a quiet stream shows that it lives.")
TYPES = query("types", STRING, "Only events of these types, with commas between them.")
UNTIL = query("until", enum("turn-end"), "Ends the stream after the next turn's ending.")

OPERATIONS = [
    operation("GET", "/v1/events", "getEventsOfSessions", "The logs of several sessions in one stream",
              {200: response("Server-sent events; `stream.opened` and `reset` are the stream's own",
                             stream_of(ref("SessionEvent")))},
              scope=VIEW, tag="events", problems=(404, 422), parameters=[
                  LAST_EVENT, AFTER, HEARTBEAT, TYPES,
                  query("sessions", STRING, "Ids with commas between them, or `*`."),
                  query("from", enum("start", "now"), "Where sessions begin that have no place yet."),
              ]),
    operation("GET", "/v1/watch", "watch", "How all sessions stand, and what changes",
              {200: response("Server-sent events `reset`, `session`, `ready`", stream_of(ref("SessionSummary")))},
              scope=VIEW, tag="events", problems=(422,), parameters=[
                  LAST_EVENT, AFTER, HEARTBEAT, flag("archived", "Archived ones, too, from the beginning.")]),
    operation("GET", "/v1/sessions/{session}/transcript", "getTranscript", "The whole story",
              {200: response("By `Accept` or `format`", {**content(STRING, "text/markdown"),
                                                         **content(ref("TranscriptOfSession"))})},
              scope=VIEW, tag="events", problems=(404, 422), parameters=[
                  query("format", enum("markdown", "json"), "Whatever `Accept` says.")]),
    operation("GET", "/v1/sessions/{session}/events", "getEvents", "The log: live, in pages, or whole",
              {200: response("By `Accept`: server-sent events, a page, or all of it a line each", {
                  **content(ref("EventPage")), **stream_of(ref("Event")),
                  "application/x-ndjson": {"schema": STRING, "x-item-schema": ref("Event")}},
                   {"Log-First-Seq": (INTEGER, "Of x-ndjson: where the log begins.")}),
               204: response("The client comes back for an ending that it has")},
              scope=VIEW, tag="events", problems=(404, 422), parameters=[
                  LAST_EVENT, HEARTBEAT, TYPES, UNTIL,
                  number("after", "Only later events.", 0, 1 << 62),
                  query("stream", enum("1"), "A stream, whatever `Accept` says."),
                  number("limit", "A page has so many at most.", 1000, 10_000),
                  number("bytes", "A page has so many bytes at most.", 1 << 20, 16 << 20),
              ]),
]
