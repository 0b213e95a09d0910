"""client.py URL TOKEN REPOSITORY: a turn by the client that make_python_client.py makes out of the contract."""

import json
import sys

from berth_api import Api, ApiProblem, TurnState

api = Api(sys.argv[1], sys.argv[2])
session = api.open_session({"repository": sys.argv[3], "permission": "ask"})["id"]
turn = api.post_turn(session, {"prompt": "say from python\nask write py.txt hello"})
seen: list[str] = []
text, state = "", None  # type: str, TurnState | None
for event in api.get_events_stream(session):
    seen.append(event["type"])
    if event["type"] == "update" and event["data"]["sessionUpdate"] == "agent_message_chunk":
        text += event["data"]["content"]["text"]  # type: ignore[typeddict-item]  # ACP's, not berth's
    elif event["type"] == "interaction.opened":
        answered = api.answer_interaction(session, event["data"]["id"], {"kind": "allow_once"})
        assert answered["state"] == "answered", answered
    elif event["type"] == "turn.ended":
        state = event["data"]["state"]
    elif event["type"] == "change.recorded" and state is not None:
        break
change = api.get_change(session)
try:
    api.get_session("nobody")
except ApiProblem as problem:
    code = problem.problem["code"]
print(json.dumps({"seen": seen, "text": text, "state": state, "files": [file["path"] for file in change["files"]],
                  "code": code}))
