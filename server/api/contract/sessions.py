"""Sessions: open, list, end, and what their worktrees hold."""

from schema import (BOOLEAN, COUNT, EDIT, ETAG, FRESH, IF_MATCH, IF_NONE_MATCH, KEY, RUN, STRING, TIME, VIEW, answer, array,
                    described, enum, flag, header, number, operation, or_null, query, ref, request, response, strings)

TAG = "sessions"
PREFER = header("Prefer", STRING, "`wait=30` waits up to 30 s until a `warm` agent is ready, or has failed.")
LOCATION = {"Location": (STRING, "Where the session is.")}
PERMISSION = enum("ask", "allow", "reject")
LAUNCH = {"launch": ref("LaunchMode"), "launch_reason": STRING}

SCHEMAS = {
    "LaunchMode": enum("none", "restricted", "sandbox"),
    "Workspace": answer({
        "mode": enum("worktree", "overlay", "directory", "none"),
        "repository": or_null(STRING), "url": or_null(STRING), "directory": or_null(STRING), "branch": or_null(STRING),
        "base_commit": or_null(STRING), "ready": BOOLEAN,
        "kept": described(or_null(STRING), "Why a closed session's worktree is there still."),
    }),
    "Rule": request({
        "kind": STRING, "path": STRING, "command": STRING, "action": enum("allow", "reject", "ask"),
    }, ["action"], "How a question is answered by itself; the last rule that matches decides."),
    "McpServer": {
        "type": "object", "required": ["name"], "additionalProperties": True,
        "properties": {"name": {"type": "string", "minLength": 1}},
        "description": "As ACP's session/new takes it; a value may be {\"secret\": NAME}.",
    },
    "OpenSession": request({
        "id": described({"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"}, "Generated when left out."),
        "agent": described(STRING, "The profile of the default agent; `scripted` when left out."),
        "repository": described(STRING, "An absolute path or a URL: the session works in a new worktree of it."),
        "base": described(STRING, "The revision to begin with; needs `repository`."),
        "fetch": enum("auto", "always", "never"),
        "workspace": enum("worktree", "overlay"),
        "directory": described(STRING, "Absolute: the session works there; excludes `repository`."),
        "title": described(STRING, "At most 1,024 bytes."),
        "permission": {**PERMISSION, "default": "ask"},
        "rules": array(ref("Rule"), maxItems=256),
        "mcp_servers": array(ref("McpServer")),
        "additional_directories": array({"type": "string", "pattern": "^/"}),
        "launch": described(ref("LaunchMode"), "The least that its agents are confined by."),
    }, examples=[{"id": "fix-parser", "agent": "opencode", "repository": "/home/me/project"}]),
    "Session": answer({
        "id": STRING,
        "key": described(STRING, "Names its branch and its folders."),
        "project": STRING,
        "state": enum("open", "archived", "closed", "closing", "deleting", "deleted"),
        "title": STRING, "agent": STRING, "permission": PERMISSION, "rules": array(ref("Rule")),
        "mcp_servers": described(strings(), "Names only: the rest holds secrets."),
        "additional_directories": strings(), "workspace": ref("Workspace"),
        "first_seq": described(COUNT, "Where the log begins: older events are not kept."),
        "last_seq": described(COUNT, "The number of the last event in the log."),
        "turn": described(or_null(ref("Turn")), "The running one."),
        "queued": COUNT, "held": BOOLEAN, "stalled": BOOLEAN, "created_at": or_null(TIME), "updated_at": or_null(TIME),
    }),
    "EditSession": request({"title": {"type": "string", "maxLength": 1024}}, ["title"]),
    "SessionList": answer({
        "sessions": array(ref("Session")),
        "next": described(or_null(STRING), "The cursor of the next page; null at the end."),
    }),
    "WorktreeReport": answer({
        "exists": BOOLEAN, "dirty": BOOLEAN, "changed": COUNT, "untracked": COUNT, "unpushed": COUNT,
        "nested": described(strings(), "Repositories inside of it."),
        "unknown": described(BOOLEAN, "It could not be found out, which counts as work."),
        "reason": or_null(STRING), "head": or_null(STRING), "branch": or_null(STRING), "directory": or_null(STRING),
        "open_change": answer({"files": COUNT, "outcome": or_null(STRING)}),
        "not_there": described(answer({"submodules": strings(), "lfs_pointers": strings(), "shallow": BOOLEAN}),
                               "What of the repository's base commit berth does not fetch."),
        "running": BOOLEAN, "loses_nothing": BOOLEAN,
    }),
}


def state_change(verb, name, summary):
    return operation("POST", f"/v1/sessions/{{session}}/{verb}", name, summary,
                     {200: response("The session afterwards", ref("Session"))}, scope=EDIT, tag=TAG, problems=(404, 409, 422, 504))


OPERATIONS = [
    operation("POST", "/v1/sessions", "openSession", "Open a session",
              {200: response("It is there already, with the same options", ref("Session"), LOCATION),
               201: response("It is new", ref("Session"), LOCATION)},
              scope=RUN, tag=TAG, body=ref("OpenSession"), problems=(404, 409, 422, 504), parameters=[KEY, PREFER],
              description="Idempotent for the same id and immutable options."),
    operation("GET", "/v1/sessions", "listSessions", "Sessions, newest first",
              {200: response("A page", ref("SessionList"))}, scope=VIEW, tag=TAG, problems=(422,), parameters=[
                  number("limit", "At most so many.", 100, 1000),
                  number("after", "The cursor: `next` of the page before.", 0, 1 << 62),
                  flag("archived", "Archived ones, too."),
                  query("state", enum("open", "archived", "closed"), "Only these."),
                  query("repository", STRING, "Only of this path or URL."),
                  query("q", STRING, "Only with this in the title, ASCII case aside."),
                  query("updated_since", STRING, "RFC 3339 in UTC, or milliseconds since 1970."),
              ]),
    operation("GET", "/v1/sessions/{session}", "getSession", "One session", {200: response("It", ref("Session"), ETAG), **FRESH},
              scope=VIEW, tag=TAG, problems=(404,), parameters=[IF_NONE_MATCH]),
    operation("PATCH", "/v1/sessions/{session}", "editSession", "Change its title",
              {200: response("The session afterwards", ref("Session"), ETAG)}, scope=EDIT, tag=TAG, body=ref("EditSession"),
              body_needed=True, problems=(404, 412, 422), parameters=[IF_MATCH]),
    operation("GET", "/v1/sessions/{session}/state", "getState", "What clients keep in the session",
              {200: response("Any JSON; null when there is none", {}, ETAG), **FRESH}, scope=VIEW, tag=TAG, problems=(404,),
              parameters=[IF_NONE_MATCH]),
    operation("PUT", "/v1/sessions/{session}/state", "putState", "Keep something in the session",
              {200: response("What is kept now", {}, ETAG)}, scope=EDIT, tag=TAG, body={}, body_needed=True,
              problems=(400, 404, 412, 413), parameters=[IF_MATCH, IF_NONE_MATCH]),
    operation("DELETE", "/v1/sessions/{session}", "deleteSession", "Remove a session",
              {204: response("It is gone")}, scope=EDIT, tag=TAG, problems=(404, 409, 412, 422, 504), parameters=[
                  IF_MATCH, flag("purge", "Its log goes, too; also that of a session that was deleted before."),
                  {"name": "force", "in": "query", "required": False, "schema": enum("0", "1", "true", "false", "nested"),
                   "description": "Although its worktree holds work (a salvage commit is kept); `nested`: or repositories."},
              ], description="409 `worktree_has_work` with the WorktreeReport in `body` unless nothing is lost by it."),
    state_change("close", "closeSession", "Stop its agents and remove its worktree"),
    state_change("revive", "reviveSession", "Open a closed session again"),
    state_change("archive", "archiveSession", "Stop its agents and hide it from lists"),
    state_change("unarchive", "unarchiveSession", "Bring it back from the archive"),
    operation("GET", "/v1/sessions/{session}/worktree", "getWorktree", "What would be lost with the worktree",
              {200: response("The report", ref("WorktreeReport"))}, scope=VIEW, tag=TAG, problems=(404,)),
]
