"""Turns, those that wait (inputs), and what they used."""

from schema import (BOOLEAN, COUNT, ETAG, FRESH, IF_MATCH, IF_NONE_MATCH, INTEGER, KEY, NUMBER, RUN, STRING, TIME, VIEW, answer,
                    array, described, enum, header, number, operation, or_null, ref, request, response)

TAG = "turns"
TOKENS = ("inputTokens", "outputTokens", "totalTokens", "thoughtTokens", "cachedReadTokens", "cachedWriteTokens")
STATES = ("queued", "starting", "running", "waiting", "stopping", "completed", "refused", "cancelled", "failed",
          "interrupted", "expired")
LOCATION = {"Location": (STRING, "Where the turn is.")}
TURN = {
    "id": STRING, "number": described(INTEGER, "A lower number always runs first."), "session": STRING, "agent": STRING,
    "state": ref("TurnState"), "reason": or_null(STRING), "usage": or_null(ref("TurnUsage")),
    "snapshot": described(or_null(STRING), "The commit that holds the files after it."),
    "started_seq": described(or_null(COUNT), "The number of its `turn.started` event."),
    "timeout": described(or_null(NUMBER), "Seconds that it may run; null: what its agent's profile says."),
    "created_at": or_null(TIME), "started_at": or_null(TIME), "ended_at": or_null(TIME),
    "trace_id": described(or_null(STRING), "Its trace (W3C); null for turns of old."),
}

POST = {
    "prompt": ref("Prompt"),
    "agent": described(STRING, "A profile; the session's default one when left out."),
    "on_busy": {**enum("queue", "steer", "reject"), "default": "queue"},
    "timeout": described({"type": "number", "minimum": 0.001, "maximum": 366 * 24 * 3600},
                         "Seconds after which the turn is stopped and ends `expired`; while it waits for a person no time "
                         "passes. The profile's `turn_time_max` holds when it is shorter."),
}
PREFER = header("Prefer", STRING, "`wait=30` waits up to 30 s for the ending.")
TAKEN = {200: response("It has ended (with Prefer: wait)", ref("Turn"), LOCATION),
         202: response("It is in the log", ref("Turn"), LOCATION)}

SCHEMAS = {
    "TurnState": enum(*STATES),
    "Cost": answer({"amount": NUMBER, "currency": STRING}),
    "ContextUse": answer({"used": COUNT, "size": COUNT}),
    "TurnUsage": {
        "type": "object", "additionalProperties": True,
        "properties": {**{name: or_null(INTEGER) for name in TOKENS}, "cost": ref("Cost"), "context": ref("ContextUse")},
        "description": "What the agent reported, with the cost that berth made out of it.",
    },
    "UsageSums": answer({"turns": COUNT, **{name: COUNT for name in TOKENS}, "cost": array(ref("Cost"))}),
    "SessionUsage": answer({
        "session": ref("UsageSums"),
        "agents": array(answer({"agent": STRING, "usage": ref("UsageSums"), "context": or_null(ref("ContextUse"))})),
        "turns": array(answer({"turn": STRING, "number": INTEGER, "agent": STRING, "state": ref("TurnState"),
                               "usage": or_null(ref("TurnUsage"))})),
    }),
    "Turn": answer(TURN),
    "TurnList": answer({"turns": array(ref("Turn"))}),
    "Input": answer({**TURN, "prompt": array(ref("ContentBlock"))}, description="A turn that waits, with its prompt."),
    "InputList": answer({"inputs": array(ref("Input")), "held": BOOLEAN}),
    "PostTurn": request(POST, ["prompt"], examples=[{"prompt": "Fix the parser"}]),
    "PostTurnAndSession": request({**POST, "session": ref("OpenSession")}, ["prompt"]),
    "EditInput": request({"prompt": ref("Prompt"), "agent": {"type": "string", "minLength": 1}},
                         description="One of them, or both."),
    "OrderInputs": request({"order": array(STRING)}, ["order"], "Names every queued turn once."),
    "CancelRunning": request({"expected_turn": described(STRING, "Only if this one runs.")}),
    "RunningTurn": answer({"turn": or_null(ref("Turn"))}),
}

INPUT = {200: response("The turn", ref("Input"))}
ONE_INPUT = "/v1/sessions/{session}/inputs/{turn}"
OPERATIONS = [
    operation("POST", "/v1/sessions/{session}/turns", "postTurn", "Prompt an agent", TAKEN, scope=RUN, tag=TAG,
              body=ref("PostTurn"), body_needed=True, problems=(404, 409, 422), parameters=[KEY, PREFER]),
    operation("POST", "/v1/turns", "postTurnAndSession", "Prompt an agent in a new session", TAKEN, scope=RUN, tag=TAG,
              body=ref("PostTurnAndSession"), body_needed=True, problems=(404, 409, 422, 504), parameters=[KEY, PREFER]),
    operation("GET", "/v1/sessions/{session}/turns", "listTurns", "Turns, newest first",
              {200: response("A page", ref("TurnList"))}, scope=VIEW, tag=TAG, problems=(404, 422), parameters=[
                  number("limit", "At most so many.", 100, 1000),
                  number("before", "Only with a lower number; 0 is no bound.", 0, 1 << 62),
              ]),
    operation("GET", "/v1/sessions/{session}/turns/{turn}", "getTurn", "One turn", {200: response("It", ref("Turn"))},
              scope=VIEW, tag=TAG, problems=(404,)),
    operation("POST", "/v1/sessions/{session}/turns/{turn}/cancel", "cancelTurn", "Stop a turn",
              {200: response("It had ended", ref("Turn"), LOCATION),
               202: response("The agent is told", ref("Turn"), LOCATION)}, scope=RUN, tag=TAG, problems=(404, 409)),
    operation("POST", "/v1/sessions/{session}/cancel", "cancelRunning", "Stop the turn that runs",
              {200: response("The turn that is stopped, or none ran", ref("RunningTurn"))}, scope=RUN, tag=TAG,
              body=ref("CancelRunning"), problems=(404, 409, 422)),
    operation("POST", "/v1/sessions/{session}/resume-queue", "resumeQueue", "Let a held queue go on",
              {200: response("The session", ref("Session"))}, scope=RUN, tag=TAG, problems=(404,)),
    operation("GET", "/v1/sessions/{session}/inputs", "listInputs", "The turns that wait",
              {200: response("In the order in which they run", ref("InputList"), ETAG), **FRESH}, scope=VIEW, tag=TAG,
              problems=(404,), parameters=[IF_NONE_MATCH]),
    operation("PUT", "/v1/sessions/{session}/inputs", "orderInputs", "Put the turns that wait in another order",
              {200: response("The new order", ref("InputList"))}, scope=RUN, tag=TAG, body=ref("OrderInputs"), body_needed=True,
              problems=(404, 409, 412, 422), parameters=[IF_MATCH]),
    operation("PATCH", ONE_INPUT, "editInput", "Change a turn that waits", INPUT, scope=RUN, tag=TAG, body=ref("EditInput"),
              body_needed=True, problems=(404, 409, 422)),
    operation("DELETE", ONE_INPUT, "removeInput", "Take back a turn that waits", INPUT, scope=RUN, tag=TAG, problems=(404, 409)),
    operation("POST", ONE_INPUT + "/send", "sendInput", "Stop what runs and run this one now", INPUT, scope=RUN, tag=TAG,
              problems=(404, 409)),
    operation("GET", "/v1/sessions/{session}/usage", "getUsage", "Tokens and money",
              {200: response("Sums and turns", ref("SessionUsage"))}, scope=VIEW, tag=TAG, problems=(404, 422),
              parameters=[number("limit", "So many turns at most.", 100, 1000)]),
]
