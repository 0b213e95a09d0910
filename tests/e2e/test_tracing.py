#!/usr/bin/python3
"""W3C trace context from a client's header to its agent's `_meta`, and spans at a collector."""

import http.server
import json
import os
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import text_of
from berth_server import ROOT, Server, wait_until
from summary import main

SCRIPTED_OPENCODE = os.path.join(ROOT, "tests/unit/server/scripted_opencode.py")
SCRIPTED_COMMAND = os.path.join(os.path.dirname(os.path.dirname(os.environ.get("BERTH", os.path.join(ROOT, "build/server/berth")))),
                                "bench/agents/berth-scripted-checkpoint")
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """Takes OTLP/HTTP in JSON; answers `status`, and keeps what it took."""

    def __init__(self):
        self.spans, self.status, self.asked = [], 200, 0
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.asked += 1
                if collector.status == 200:
                    assert self.path == "/v1/traces" and self.headers["Content-Type"] == "application/json"
                    collector.take(json.loads(body))
                self.send_response(collector.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, request):
        for resource in request["resourceSpans"]:
            names = {a["key"]: a["value"]["stringValue"] for a in resource["resource"]["attributes"]}
            assert names["service.name"] == "berth under test", names
            for scope in resource["scopeSpans"]:
                self.spans += scope["spans"]

    def of(self, trace):
        return [span for span in self.spans if span["traceId"] == trace]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class TraceContext(unittest.TestCase):
    def setUp(self):
        self.server = Server().start()
        self.addCleanup(self.server.close)
        self.client = self.server.client

    def meta_of(self, session, headers):
        """The turn, and what its agent got as `_meta`."""
        reply = self.client.raw("POST", f"/v1/sessions/{session}/turns", {"prompt": "meta"},
                                {"Prefer": "wait=30", **headers})
        self.assertEqual(reply.status, 200, reply.body)
        turn = reply.json()
        self.assertEqual(turn["state"], "completed")
        log = self.client.log(session)
        answer = text_of([event for event in log if event.turn == turn["id"]])
        started = [event for event in log if event.type == "turn.started" and event.turn == turn["id"]]
        self.assertEqual(started[0].data["trace_id"], turn["trace_id"])
        return turn, json.loads(answer)

    def test_a_turn_belongs_to_the_trace_of_who_asked_for_it(self):
        self.client.post("/v1/sessions", {"id": "a"})
        turn, meta = self.meta_of("a", {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=1"})
        version, trace, span, flags = meta["traceparent"].split("-")
        self.assertEqual((version, trace, flags, meta["tracestate"]), ("00", TRACE, "01", "vendor=1"))
        self.assertEqual(turn["trace_id"], TRACE)
        self.assertEqual(len(span), 16)
        self.assertNotEqual(span, SPAN)
        # The caller's wish not to be recorded is the agent's too.
        _, meta = self.meta_of("a", {"traceparent": f"00-{TRACE}-{SPAN}-00"})
        self.assertTrue(meta["traceparent"].endswith("-00"))
        self.assertNotIn("tracestate", meta)

    def test_without_a_valid_header_it_begins_one(self):
        self.client.post("/v1/sessions", {"id": "a"})
        seen = set()
        for headers in ({}, {"traceparent": f"00-{'0' * 32}-{SPAN}-01"}, {"traceparent": "nonsense"}):
            turn, meta = self.meta_of("a", headers)
            self.assertEqual(meta["traceparent"].split("-")[1], turn["trace_id"])
            seen.add(turn["trace_id"])
        self.assertEqual(len(seen), 3)
        self.assertNotIn("0" * 32, seen)

    def test_a_queued_turn_keeps_its_trace_over_a_crash(self):
        self.client.post("/v1/sessions", {"id": "a"})
        self.client.prompt("a", "sleep 60000")
        reply = self.client.raw("POST", "/v1/sessions/a/turns", {"prompt": "say later"},
                                {"traceparent": f"00-{TRACE}-{SPAN}-01"})
        turn = reply.json()["id"]
        self.server.kill()
        self.server.start()
        self.assertEqual(self.server.client.get(f"/v1/sessions/a/turns/{turn}")["trace_id"], TRACE)

    def test_problems_name_their_trace_and_path(self):
        headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
        for method, path, body in (("GET", "/v1/sessions/missing?x=secret", None),
                                   ("POST", "/v1/sessions/missing/turns", {"prompt": "x"}),
                                   ("GET", "/nowhere", None),
                                   ("GET", "/v1/sessions/missing/events", None),
                                   ("GET", "/v1/sessions/missing/files/content?path=a", None)):
            problem = self.client.raw(method, path, body, headers).json()
            self.assertEqual((problem["trace_id"], problem["instance"]), (TRACE, path.split("?")[0]), problem)
        # Refused before the body is read.
        token, self.client.token = self.client.token, "wrong"
        problem = self.client.raw("POST", "/v1/sessions", {"id": "b"}, headers).json()
        self.assertEqual((problem["code"], problem["trace_id"]), ("unauthorized", TRACE))
        self.client.token = token

    def test_the_audit_log_and_the_log_name_it(self):
        headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
        self.client.post("/v1/sessions", {"id": "a"}, headers)
        reply = self.client.raw("POST", "/v1/sessions/a/turns", {"prompt": "error"}, {**headers, "Prefer": "wait=30"})
        self.assertEqual(reply.json()["state"], "failed")
        path = os.path.join(self.server.state, "audit.jsonl")

        def lines():
            with open(path, encoding="utf-8") as file:
                return [json.loads(line) for line in file]

        wait_until(lambda: os.path.exists(path) and len(lines()) >= 2)
        self.assertEqual({line["trace_id"] for line in lines()}, {TRACE})
        self.assertIn(f"ended failed trace_id={TRACE}", self.server.log_tail())


class Spans(unittest.TestCase):
    def setUp(self):
        self.collector = Collector()
        self.addCleanup(self.collector.close)

    def start(self, more=""):
        server = Server(f'[tracing]\notlp_endpoint = "{self.collector.url}"\nservice_name = "berth under test"\n{more}')
        server.start()
        self.addCleanup(server.close)
        return server

    def prompt(self, client, session, flags="01"):
        client.post("/v1/sessions", {"id": session})
        return client.raw("POST", f"/v1/sessions/{session}/turns", {"prompt": "say hello"},
                          {"traceparent": f"00-{TRACE}-{SPAN}-{flags}", "Prefer": "wait=30"}).json()

    def test_they_make_a_tree(self):
        server = self.start("commits_every = 1\n")
        turn = self.prompt(server.client, "a")
        names = {"POST /v1/sessions/{}/turns", "turn", "agent start"}
        wait_until(lambda: {span["name"] for span in self.collector.of(TRACE)} >= names, 30,
                   lambda: repr(self.collector.spans))
        spans = {span["name"]: span for span in self.collector.of(TRACE)}
        request, of_turn, of_start = (spans[name] for name in ("POST /v1/sessions/{}/turns", "turn", "agent start"))
        self.assertEqual((request["parentSpanId"], request["kind"]), (SPAN, 2))
        self.assertEqual(of_turn["parentSpanId"], request["spanId"])
        self.assertEqual(of_start["parentSpanId"], of_turn["spanId"])
        self.assertIn({"key": "berth.turn", "value": {"stringValue": turn["id"]}}, of_turn["attributes"])
        self.assertIn({"key": "berth.rung", "value": {"stringValue": "new"}}, of_start["attributes"])
        for span in spans.values():
            self.assertLessEqual(int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"]))
        commits = [span for span in self.collector.spans if span["name"] == "commit"]
        self.assertTrue(commits and all(span["traceId"] != TRACE for span in commits))

    def test_turns_of_every_driver_have_them_and_tell_their_agents(self):
        store = self.enterContext(tempfile.TemporaryDirectory())
        agents = {"opencode": ("trace", f'command = "/usr/bin/python3"\nargs = ["{SCRIPTED_OPENCODE}"]\n'
                                        f'env = {{ SCRIPTED_STORE = "{store}" }}'),
                  "checkpoint": ("trace", f'command = "{SCRIPTED_COMMAND}"'),
                  "oneshot": ("env TRACEPARENT", f'command = "{SCRIPTED_COMMAND}"')}
        server = self.start("".join(f'[agents.{driver}]\ndriver = "{driver}"\n{config}\n'
                                    for driver, (_, config) in agents.items()))
        for number, (driver, (prompt, _)) in enumerate(agents.items()):
            with self.subTest(driver):
                trace = f"{number + 1:032x}"
                server.client.post("/v1/sessions", {"id": driver, "agent": driver})
                turn = server.client.raw("POST", f"/v1/sessions/{driver}/turns", {"prompt": prompt},
                                         {"traceparent": f"00-{trace}-{SPAN}-01", "tracestate": "vendor=1",
                                          "Prefer": "wait=30"}).json()
                self.assertEqual(turn["state"], "completed", turn)
                wait_until(lambda: {span["name"] for span in self.collector.of(trace)} >= {"turn", "agent start"}, 30,
                           lambda: repr(self.collector.of(trace)))
                spans = {span["name"]: span for span in self.collector.of(trace)}
                self.assertEqual(spans["agent start"]["parentSpanId"], spans["turn"]["spanId"])
                self.assertIn({"key": "berth.agent", "value": {"stringValue": driver}}, spans["turn"]["attributes"])
                said = text_of([event for event in server.client.log(driver) if event.turn == turn["id"]])
                told = f"00-{trace}-{spans['turn']['spanId']}-01"
                as_headers = f"traceparent: {told}\ntracestate: vendor=1"
                self.assertEqual(said.strip(), {"opencode": f"{told} vendor=1", "oneshot": told}.get(driver, as_headers))

    def test_an_agent_that_stays_is_told_the_trace_of_each_turn(self):
        server = self.start(f'[agents.checkpoint]\ndriver = "checkpoint"\ncommand = "{SCRIPTED_COMMAND}"\n')
        server.client.post("/v1/sessions", {"id": "a", "agent": "checkpoint"})
        for number in range(1, 31):
            turn = server.client.raw("POST", "/v1/sessions/a/turns", {"prompt": "trace"},
                                     {"traceparent": f"00-{number:032x}-{SPAN}-01", "Prefer": "wait=30"}).json()
            said = text_of([event for event in server.client.log("a") if event.turn == turn["id"]])
            self.assertTrue(said.startswith(f"traceparent: 00-{number:032x}-") and "tracestate" not in said, said)
        self.assertEqual(len([event for event in server.client.log("a") if event.type == "agent.attached"]), 1)

    def test_tool_calls_are_children_of_their_turn(self):
        server = self.start()
        server.client.post("/v1/sessions", {"id": "a", "permission": "allow"})
        turn = server.client.raw("POST", "/v1/sessions/a/turns", {"prompt": "write secret.txt x\nopen-tool secret"},
                                 {"traceparent": f"00-{TRACE}-{SPAN}-01", "Prefer": "wait=30"}).json()
        calls = {event.data["toolCallId"] for event in server.client.log("a")
                 if event.type == "update" and event.data["sessionUpdate"].startswith("tool_call")}
        wait_until(lambda: "turn" in {span["name"] for span in self.collector.of(TRACE)}, 30)
        wait_until(lambda: len([span for span in self.collector.of(TRACE) if span["name"] == "tool call"]) >= 2, 30)
        spans = [span for span in self.collector.of(TRACE) if span["name"] == "tool call"]
        of_turn, = [span for span in self.collector.of(TRACE) if span["name"] == "turn"]
        self.assertEqual({span["parentSpanId"] for span in spans}, {of_turn["spanId"]})
        self.assertEqual([span.get("status", {}).get("message") for span in spans], [None, "no result"])
        told = [{a["key"]: a["value"]["stringValue"] for a in span["attributes"]} for span in spans]
        self.assertEqual({of["gen_ai.tool.call.id"] for of in told}, calls)
        self.assertEqual({of["berth.turn"] for of in told}, {turn["id"]})
        self.assertNotIn("secret", json.dumps(spans), "what it is about stays the session's")
        for span in spans:
            self.assertLessEqual(int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"]))

    def test_who_does_not_want_to_be_recorded_is_not(self):
        server = self.start()
        self.prompt(server.client, "a", flags="00")
        self.prompt(server.client, "b")
        wait_until(lambda: "turn" in {span["name"] for span in self.collector.of(TRACE)}, 30)
        self.assertEqual(len([span for span in self.collector.of(TRACE) if span["name"] == "turn"]), 1)

    def test_a_collector_that_is_away_harms_nobody(self):
        self.collector.status = 503
        server = self.start("spans_max = 8\n")
        self.assertEqual(self.prompt(server.client, "a")["state"], "completed")
        for _ in range(20):
            server.client.get("/v1/info")
        wait_until(lambda: self.collector.asked >= 1, 30)
        dropped = 'berth_spans_total{outcome="dropped"}'
        wait_until(lambda: [line for line in server.client.raw("GET", "/metrics").body.decode().splitlines()
                            if line.startswith(dropped) and float(line.split()[-1]) > 0], 30)
        self.assertIn("does not take spans", server.log_tail())
        self.collector.status = 200
        wait_until(lambda: self.collector.spans, 60)
        self.assertLess(len(self.collector.spans), 30)

    def test_a_collector_that_cannot_be_meant_is_refused(self):
        for endpoint in ("https://127.0.0.1:4318", "http://collector.example", "nonsense"):
            server = Server(f'[tracing]\notlp_endpoint = "{endpoint}"\n')
            self.addCleanup(server.close)
            with self.assertRaisesRegex(AssertionError, "otlp_endpoint"):
                server.start()


if __name__ == "__main__":
    main()
