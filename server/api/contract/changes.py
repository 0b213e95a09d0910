"""What a session changed, and what people do with that."""

from schema import (BOOLEAN, COUNT, EDIT, INTEGER, STRING, TIME, VIEW, answer, array, content, described, enum, flag,
                    number, operation, or_null, query, ref, request, response, strings)

TAG = "changes"
OUTCOME = enum("recorded", "skipped", "failed")
FILE = {
    "path": STRING, "old_path": or_null(STRING), "status": enum("added", "modified", "deleted", "renamed", "typechange"),
    "additions": INTEGER, "deletions": INTEGER, "binary": BOOLEAN,
    "kind": described(or_null(enum("submodule", "lfs")), "A submodule's commit, or the pointer of a file in git-lfs."),
}
TOTALS = {"files_total": COUNT, "files_truncated": BOOLEAN, "additions": INTEGER, "deletions": INTEGER}
PATHS = array({"type": "string", "minLength": 1}, minItems=1)
REVISION = "`base`, `latest`, `turn:N`, `N` or `before:N`."
SPAN = [query("from", STRING, REVISION), query("to", STRING, REVISION)]
PATCH = [
    query("path", strings(), "Only these files.", repeated=True), *SPAN,
    flag("binary", "Binary files, too."),
    number("file_bytes", "A larger patch of one file is left out.", 1 << 20, 64 << 20),
    number("bytes", "All of it ends before that.", 8 << 20, 64 << 20),
]
CUT = {"X-Berth-Truncated": (enum("1"), "A limit left a file's patch out.")}

SCHEMAS = {
    "ChangedFile": answer(FILE, description="`additions` and `deletions` count lines."),
    "Toucher": answer({"turn": INTEGER, "agent": or_null(STRING)}),
    "BadgedFile": answer({
        **FILE, "turn": described(or_null(INTEGER), "The last that touched it."), "agent": or_null(STRING),
        "touched_by": array(ref("Toucher")), "note": or_null(STRING),
    }),
    "OpenChange": answer({
        "base": STRING, "tree": or_null(STRING), "turn_number": INTEGER, "outcome": OUTCOME,
        "pending_turns": array(ref("Toucher")), "files": array(ref("BadgedFile")), **TOTALS, "recorded_at": or_null(TIME),
    }, description="The worktree against its baseline, as of the last snapshot."),
    "ChangeBetween": answer({"from": STRING, "to": STRING, "files": array(ref("BadgedFile")), **TOTALS}),
    "ApplyChange": request({
        "to": enum("branch", "working_files"), "branch": STRING, "checkout": STRING, "paths": PATHS, "message": STRING,
        "author": request({"name": STRING, "email": STRING}),
        "trailers": {"type": "object", "additionalProperties": STRING}, "dry_run": BOOLEAN,
    }, examples=[{"branch": "main", "dry_run": True}]),
    "AppliedChange": answer({
        "applied": BOOLEAN, "dry_run": BOOLEAN, "unchanged": BOOLEAN, "to": enum("branch", "working_files"),
        "branch": or_null(STRING), "commit": or_null(STRING), "before": or_null(STRING), "checkout": or_null(STRING),
        "files": strings(),
        "conflicts": array(answer({"path": STRING, "reason": enum(
            "content", "deleted_here", "deleted_there", "added_by_both", "local_changes", "other")})),
    }),
    "DiscardChange": request({"paths": PATHS, "dry_run": BOOLEAN}),
    "RestoreChange": request({"turn": {**COUNT, "maximum": (1 << 31) - 1}, "paths": PATHS, "dry_run": BOOLEAN}, ["turn"]),
    "RestoredChange": answer({
        "turn": or_null(INTEGER), "dry_run": BOOLEAN, "files": array(answer({"path": STRING, "removed": BOOLEAN})),
        "salvage_ref": or_null(STRING), "salvage_commit": or_null(STRING),
    }),
}

CHANGES = "/v1/sessions/{session}/changes"
OPERATIONS = [
    operation("GET", CHANGES, "getChange", "The change of a session",
              {200: response("The open change; with `from` or `to` what is between them",
                             {"oneOf": [ref("OpenChange"), ref("ChangeBetween")]})},
              scope=VIEW, tag=TAG, problems=(404, 409, 422, 504), parameters=[
                  number("limit", "So many files at most.", 1000, 10_000), flag("refresh", "Look now, unless a turn runs."),
                  *SPAN]),
    operation("GET", CHANGES + "/patch", "getPatch", "It as a patch",
              {200: response("For `git apply`", content(STRING, "text/x-diff"), CUT)}, scope=VIEW, tag=TAG, parameters=PATCH,
              problems=(404, 422, 504)),
    operation("GET", CHANGES + "/mail", "getMail", "It as one mail",
              {200: response("For `git am`", content(STRING, "application/mbox"), CUT)}, scope=VIEW, tag=TAG,
              problems=(404, 422, 504), parameters=[
                  *PATCH, query("message", STRING, "The commit's."), query("author_name", STRING, "Of the commit."),
                  query("author_email", STRING, "Of the commit."),
              ]),
    operation("POST", CHANGES + "/apply", "applyChange", "Put it on a branch or into a checkout",
              {200: response("It is there (or would be)", ref("AppliedChange"))}, scope=EDIT, tag=TAG, body=ref("ApplyChange"),
              problems=(404, 409, 422, 504),
              description="409 `apply_conflicts` with the same in `body`: then nothing was changed."),
    operation("POST", CHANGES + "/discard", "discardChange", "Go back to the baseline",
              {200: response("What was done", ref("RestoredChange"))}, scope=EDIT, tag=TAG, body=ref("DiscardChange"),
              problems=(404, 409, 422, 504)),
    operation("POST", CHANGES + "/restore", "restoreChange", "Go back to the files after a turn",
              {200: response("What was done", ref("RestoredChange"))}, scope=EDIT, tag=TAG, body=ref("RestoreChange"),
              body_needed=True, problems=(404, 409, 422, 504)),
]
