"""What the parts share: problems, prompts, health, limits."""

from schema import (ADMIN, BOOLEAN, COUNT, INTEGER, NONE, NUMBER, OPEN_OBJECT, STRING, VIEW, answer, const, content,
                    described, enum, operation, or_null, ref, request, response, strings)

TAG = "server"

SCHEMAS = {
    "Problem": answer({
        "type": {"type": "string", "format": "uri"},
        "title": STRING,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": described(STRING, "Says it to a person: the field or limit, and what is wrong with it."),
        "code": described(STRING, "What programs decide by; never changes its meaning."),
        "kind": enum("invalid", "not_found", "conflict", "busy", "overloaded", "unavailable", "timed_out", "cancelled",
                     "unsupported", "denied", "internal"),
        "retryable": described(BOOLEAN, "The same request may succeed later."),
    }, {
        "field": described(STRING, "The field of the body, the query parameter or the header that does not fit."),
        "limit": described(STRING, "The limit that was reached."),
        "body": described({}, "What a conflict is about."),
        "instance": described({"type": "string", "format": "uri-reference"}, "The path that was asked for."),
        "trace_id": described(STRING, "The trace of the request (W3C), as in the log."),
    }, "RFC 9457, as application/problem+json."),
    "ContentBlock": {
        "type": "object", "required": ["type"], "additionalProperties": True,
        "properties": {"type": STRING, "text": STRING},
        "description": "A content block of the Agent Client Protocol, passed on as it is.",
    },
    "Prompt": {
        "oneOf": [{"type": "string", "minLength": 1},
                  {"type": "array", "minItems": 1, "items": ref("ContentBlock")}],
    },
    "Health": answer({"status": const("ok")}),
    "StoreCheck": {"type": "string", "enum": ["not_needed", "running", "sound", "damaged", "corrupt", "stopped"]},
    "Readiness": answer({"status": const("ready"), "store": answer({"check": ref("StoreCheck"), "problems": COUNT})}),
    "Info": answer({
        "name": const("berth"), "version": STRING, "engine": STRING, "pid": INTEGER, "state_dir": STRING,
        "agents": described(strings(), "The profiles of agents."),
        "process_kill": STRING, "sessions_loaded": COUNT, "sse_clients": COUNT,
        "sse_closed": answer({"client_gone": COUNT, "stalled": COUNT, "finished": COUNT, "failed": COUNT}),
        "journal": answer({"commits": COUNT, "events": COUNT, "event_bytes": COUNT, "retries": COUNT}),
        "store": answer({"check": ref("StoreCheck"), "problems": strings(), "left_out": strings()}),
        "rss_bytes": COUNT, "cpu_microseconds": COUNT,
    }, {
        "launch": answer({"default": ref("LaunchMode"), "reason": STRING, "sandbox": BOOLEAN, "sandbox_reason": STRING}),
        "egress": answer({"doors": COUNT, "connections": COUNT, "allowed": COUNT, "denied": COUNT, "failed": COUNT,
                          "overloaded": COUNT, "bytes_out": COUNT, "bytes_in": COUNT}),
    }),
    "Limits": answer({
        "agents": answer({
            "live": COUNT, "starting": COUNT, "idle": COUNT, "busy": COUNT, "ending": COUNT, "waiting": COUNT,
            "memory_bytes": COUNT, "starts": COUNT, "refused": COUNT,
            "evicted": {"type": "object", "additionalProperties": COUNT},
            "limits": answer({
                "agents_live_max": COUNT, "agents_per_project_max": COUNT, "agents_memory_max": COUNT,
                "agents_idle_ttl": NUMBER, "agents_starting_max": COUNT, "starts_waiting_max": COUNT,
                "start_wait_max": NUMBER,
            }),
        }),
        "auth": answer({
            "auth_failures": COUNT, "auth_failures_refused": COUNT, "token_requests_refused": COUNT,
            "hosts_refused": COUNT, "origins_refused": COUNT, "tokens": COUNT, "tickets": COUNT,
            "audit_written": COUNT, "audit_dropped": COUNT,
            "limits": answer({
                "auth_failures_max": COUNT, "token_requests_max": COUNT, "tokens_max": COUNT, "tickets_max": COUNT,
                "ticket_life": NUMBER, "audit_bytes_max": COUNT, "audit_files_max": COUNT,
            }),
        }),
        "table": {"type": "array", "items": answer({
            "name": STRING, "unit": enum("count", "bytes", "seconds"),
            "value": described(or_null(NUMBER), "Null: none, or the machine decides."),
            "fixed": described(BOOLEAN, "There is no key for it in the configuration."),
            "refused": described(COUNT, "Requests that were refused by it since the start."),
        })},
    }, description="How full the server is, and what bounds it; times in seconds."),
    "Probe": answer({
        "agent": STRING, "ok": {"type": "boolean", "const": True}, "protocol_version": INTEGER,
        "agent_info": or_null(OPEN_OBJECT), "capabilities": or_null(OPEN_OBJECT),
        "auth_methods": or_null({"type": "array", "items": {}}),
        "proved": described(BOOLEAN, "The tests of berth run the agent of this profile."), "ms": INTEGER,
    }),
    "Reap": request({"dry_run": {"type": "boolean", "default": True}, "age_min_s": {**COUNT, "default": 3600}}),
    "Reaped": answer({
        "dry_run": BOOLEAN,
        "items": {"type": "array", "items": answer({
            "kind": enum("worktree", "folder", "registration", "ref", "layer", "repository", "clone"), "name": STRING, "key": STRING,
            "verdict": enum("removed", "would remove", "kept", "failed"), "reason": STRING, "age_s": INTEGER,
            "bytes": COUNT,
        })},
    }),
    "BackUp": request({"file": described(STRING, "Absolute, on the server's machine; nothing is there yet.")},
                      ["file"]),
    "Backup": answer({"file": STRING, "ms": INTEGER}),
}

OPERATIONS = [
    operation("GET", "/healthz", "getHealth", "Whether the loop turns", {200: response("It does", ref("Health"))},
              scope=NONE, tag=TAG),
    operation("GET", "/readyz", "getReadiness", "Whether it takes work", {200: response("It does", ref("Readiness"))},
              scope=NONE, tag=TAG),
    operation("GET", "/openapi.json", "getContract", "This document",
              {200: response("OpenAPI 3.1", OPEN_OBJECT)}, scope=NONE, tag=TAG),
    operation("GET", "/v1/info", "getInfo", "What runs here", {200: response("Facts and counters", ref("Info"))}, scope=VIEW, tag=TAG),
    operation("GET", "/v1/limits", "getLimits", "What bounds the server", {200: response("Limits and use", ref("Limits"))},
              scope=VIEW, tag=TAG),
    operation("GET", "/metrics", "getMetrics", "Figures for a scraper",
              {200: response("OpenMetrics", content(STRING, "application/openmetrics-text"))}, scope=ADMIN, tag=TAG),
    operation("POST", "/v1/agents/{profile}/probe", "probeAgent", "Start an agent, ask what it can, end it",
              {200: response("What it says of itself", ref("Probe"))}, scope=ADMIN, tag="agents", problems=(404, 409, 422, 504)),
    operation("POST", "/v1/reap", "reap", "Remove what no session needs any more",
              {200: response("What was found", ref("Reaped"))}, scope=ADMIN, tag=TAG, body=ref("Reap"), problems=(422,),
              description="Nothing with work is removed. Without `dry_run: false` it only tells."),
    operation("POST", "/v1/backup", "backUp", "Copy the store while everything goes on",
              {201: response("The copy is whole", ref("Backup"))}, scope=ADMIN, tag=TAG, body=ref("BackUp"), body_needed=True,
              problems=(404, 409, 422)),
]
