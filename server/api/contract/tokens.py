"""Who may come in: tokens, and tickets for one request."""

from schema import (ADMIN, BOOLEAN, NUMBER, STRING, TIME, VIEW, answer, array, described, enum, operation, or_null, ref,
                    request, response)

TAG = "tokens"
SCOPES = {"type": "array", "items": enum("sessions:view", "sessions:edit", "sessions:run", "admin")}
PROJECT = {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"}
FIELDS = {
    "id": STRING, "name": STRING, "project": described(or_null(STRING), "Null: every project."), "scopes": SCOPES,
    "state": enum("good", "expired", "revoked"), "created_at": TIME, "expires_at": or_null(TIME),
    "last_used_at": described(or_null(TIME), "To about ten minutes."), "revoked_at": or_null(TIME),
}

SCHEMAS = {
    "Token": answer(FIELDS),
    "MadeToken": answer({**FIELDS, "token": described(STRING, "Shown here and never again.")}),
    "Tokens": answer({"tokens": array(ref("Token"))}),
    "MakeToken": request({
        "name": {"type": "string", "minLength": 1, "maxLength": 128}, "scopes": {**SCOPES, "minItems": 1},
        "project": described({**PROJECT, "default": "default"}, "Left out with the scope admin."),
        "expires_in": described({**NUMBER, "minimum": 1}, "Seconds."),
    }, ["name", "scopes"], examples=[{"name": "ci", "scopes": ["sessions:run"], "expires_in": 86400}]),
    "Caller": answer({
        "id": or_null(STRING), "name": STRING, "project": STRING,
        "every_project": described(BOOLEAN, "It may name another one in the header Berth-Project."), "scopes": SCOPES,
    }),
    "MakeTicket": request({"path": described(STRING, "As it will be asked for, without a query.")}, ["path"],
                          examples=[{"path": "/v1/sessions/fix-parser/events"}]),
    "Ticket": answer({"ticket": STRING, "path": STRING, "expires_at": TIME}),
}

OPERATIONS = [
    operation("GET", "/v1/caller", "getCaller", "Whose token this is", {200: response("The caller", ref("Caller"))},
              scope=VIEW, tag=TAG),
    operation("GET", "/v1/tokens", "listTokens", "All tokens, without their secrets, oldest first",
              {200: response("The tokens", ref("Tokens"))}, scope=ADMIN, tag=TAG),
    operation("POST", "/v1/tokens", "createToken", "Make a token", {201: response(
        "It is made", ref("MadeToken"), {"Location": (STRING, "The token.")})},
              scope=ADMIN, tag=TAG, body=ref("MakeToken"), body_needed=True),
    operation("DELETE", "/v1/tokens/{token}", "revokeToken", "End a token, and what runs by it",
              {204: response("It is good no more")}, scope=ADMIN, tag=TAG, problems=(404,)),
    operation("POST", "/v1/tickets", "createTicket", "A way in for one GET, for browsers' EventSource",
              {201: response("It is good for a minute", ref("Ticket"))},
              scope=VIEW, tag=TAG, body=ref("MakeTicket"), body_needed=True),
]
