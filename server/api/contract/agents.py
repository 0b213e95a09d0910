"""Agents of a session, questions they ask, and agents with a name."""

from schema import (ADMIN, BOOLEAN, COUNT, INTEGER, OPEN_OBJECT, RUN, STRING, TIME, VIEW, answer, array, described,
                    enum, flag, operation, or_null, query, ref, request, response, strings)

from sessions import LAUNCH

TAG = "agents"
QUESTIONS = "interactions"
ANSWER = {
    "option_id": {"type": "string", "minLength": 1}, "kind": {"type": "string", "minLength": 1},
    "action": enum("accept", "decline", "cancel"), "content": OPEN_OBJECT, "outcome": enum("cancelled"),
}
EITHER = "Exactly one of option_id, kind, action and outcome; `content` with the action accept."

SCHEMAS = {
    "Decision": answer({"code": STRING, "message": STRING, "agent_error": {}, "attempts": INTEGER,
                        "choices": array(ref("Choice"))}),
    "Choice": enum("retry", "history", "fail"),
    "SessionAgent": answer({
        "agent": STRING, "state": enum("live", "sleeping", "crashed", "needs_decision"),
        "native_session_id": or_null(STRING),
        "native_history": array(answer({"id": STRING, "from_turn": INTEGER, "to_turn": INTEGER})),
        "pid": or_null(INTEGER), "attach_epoch": INTEGER,
        "next": described(or_null(enum("live", "resumed", "history", "new")), "What a prompt would find."),
        "told_turn": INTEGER, "continuation_owed": BOOLEAN, "decision": or_null(ref("Decision")),
        "agent_info": or_null(OPEN_OBJECT), "stderr_tail": STRING, "health": enum("well", "quiet", "stalled"),
        "health_reason": or_null(STRING), "last_trouble": or_null(STRING),
    }, {"rss_bytes": COUNT, **LAUNCH}),
    "SessionAgentList": answer({"agents": array(ref("SessionAgent"))}),
    "Decide": request({"choice": ref("Choice")}, ["choice"]),
    "SetConfig": request({"mode": STRING, "config": {"type": "object", "additionalProperties": {
        "type": ["string", "boolean"]}}}, description="One of them, or both."),
    "ConfigSet": answer({}),
    "Interaction": answer({
        "id": STRING, "turn": STRING, "agent": STRING, "kind": ref("InteractionKind"),
        "state": enum("open", "answered", "cancelled", "expired"),
        "child": described(or_null(STRING), "The native session of the sub-agent that asks."),
        "request": described(or_null(OPEN_OBJECT), "The ACP params."), "answer": or_null(ref("GivenAnswer")),
        "answered_by": or_null(STRING), "opened_at": or_null(TIME), "closed_at": or_null(TIME),
        "expires_at": or_null(TIME),
    }),
    "InteractionKind": enum("permission", "elicitation", "client_tool"),
    "GivenAnswer": answer({}, {"option_id": STRING, "action": STRING, "content": OPEN_OBJECT}),
    "InteractionList": answer({"interactions": array(ref("Interaction"))}),
    "Answer": request(ANSWER, description=EITHER, examples=[{"kind": "allow_once"}]),
    "AnswerOf": request({"id": {"type": "string", "minLength": 1}, **ANSWER}, ["id"], EITHER),
    "Answers": request({"answers": array(ref("AnswerOf"), minItems=1, maxItems=100)}, ["answers"],
                       "All are taken, or none."),
    "SetPermission": request({"permission": enum("ask", "allow", "reject"), "rules": array(ref("Rule"), maxItems=256)}),
    "StartNamed": request({
        "profile": described(STRING, "Needed when the agent is new."), "provider": STRING, "model": STRING,
        "args": strings(), "directory": STRING, "repository": STRING, "base": STRING,
        "workspace": enum("worktree", "overlay"), "permission": enum("ask", "allow", "reject"),
    }),
    "Now": request({"now": described(BOOLEAN, "Without waiting for the running turn.")}),
    "NamedAgent": answer({
        "name": STRING,
        "state": enum("idle", "working", "starting", "crashed", "needs_decision", "stopping", "stopped"),
        "wanted": BOOLEAN, "session": STRING, "profile": STRING, "provider": STRING, "model": STRING, "args": strings(),
        "pid": or_null(INTEGER), "turn": or_null(ref("Turn")), "queued": COUNT, "held": BOOLEAN, "directory": STRING,
        "folder": STRING, "output": STRING, "fifo": STRING,
        "usage": {"oneOf": [ref("UsageSums"), {"type": "object", "maxProperties": 0}]}, "stderr_tail": STRING,
    }),
    "NamedAgentList": answer({"agents": array(ref("NamedAgent"))}),
}

AGENT = "/v1/sessions/{session}/agents/{agent}"
ASKED = "/v1/sessions/{session}/interactions"
NAMED = {200: response("The agent", ref("NamedAgent"))}


def named_verb(verb, name, summary):
    return operation("POST", f"/v1/agents/{{name}}/{verb}", name, summary, NAMED, scope=RUN, tag=TAG, body=ref("Now"),
                     problems=(404, 409, 422))


OPERATIONS = [
    operation("GET", "/v1/sessions/{session}/agents", "listSessionAgents", "The agents of a session",
              {200: response("None before the first prompt", ref("SessionAgentList"))}, scope=VIEW, tag=TAG, problems=(404,)),
    operation("POST", AGENT + "/kill", "killAgent", "End its process tree at once",
              {200: response("The session", ref("Session"))}, scope=RUN, tag=TAG, problems=(404,)),
    operation("POST", AGENT + "/decision", "decideAgent", "Say how an agent that cannot go on goes on",
              {200: response("The session", ref("Session"))}, scope=RUN, tag=TAG, body=ref("Decide"), body_needed=True,
              problems=(404, 409, 422)),
    operation("PUT", AGENT + "/config", "setAgentConfig", "Set its mode or options",
              {200: response("Stored, and sent to a live agent", ref("ConfigSet"))}, scope=RUN, tag=TAG, body=ref("SetConfig"),
              body_needed=True, problems=(404, 409, 422)),
    operation("GET", ASKED, "listInteractions", "The questions of agents",
              {200: response("At most 1000", ref("InteractionList"))}, scope=VIEW, tag=QUESTIONS, problems=(404, 422),
              parameters=[query("state", enum("open"), "Only those that wait for an answer.")]),
    operation("POST", ASKED, "answerInteractions", "Answer several questions together",
              {200: response("All were answered", ref("InteractionList"))}, scope=RUN, tag=QUESTIONS, body=ref("Answers"),
              body_needed=True, problems=(404, 409, 410, 422)),
    operation("POST", ASKED + "/{interaction}", "answerInteraction", "Answer a question",
              {200: response("It was answered", ref("Interaction"))}, scope=RUN, tag=QUESTIONS, body=ref("Answer"), body_needed=True,
              problems=(404, 409, 410, 422), description="The first answer wins; later ones are 409 `already_answered`."),
    operation("PUT", "/v1/sessions/{session}/permission", "setPermission", "Change the policy for questions to come",
              {200: response("The session", ref("Session"))}, scope=RUN, tag=QUESTIONS, body=ref("SetPermission"),
              problems=(404, 422)),
    operation("GET", "/v1/agents", "listNamedAgents", "The agents with a name",
              {200: response("All", ref("NamedAgentList"))}, scope=VIEW, tag=TAG),
    operation("GET", "/v1/agents/{name}", "getNamedAgent", "One of them", NAMED, scope=VIEW, tag=TAG, problems=(404,)),
    operation("POST", "/v1/agents/{name}/start", "startNamedAgent", "Make it if it is new, and keep it running", NAMED,
              scope=ADMIN, tag=TAG, body=ref("StartNamed"), problems=(404, 409, 422, 504)),
    named_verb("stop", "stopNamedAgent", "End it after the running turn"),
    named_verb("restart", "restartNamedAgent", "End it and start it again"),
    named_verb("reset", "resetNamedAgent", "Start it again with an empty memory"),
    operation("DELETE", "/v1/agents/{name}", "deleteNamedAgent", "Forget it", {204: response("It is gone")}, scope=ADMIN, tag=TAG,
              problems=(404, 409), parameters=[flag("force", "Although it runs."), flag("purge", "With its log.")]),
]
