#!/usr/bin/python3
"""What a scraper and a collector of logs get, read by a parser of their own."""

import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from berth_server import BINARY, Server, wait_until
from summary import main


class Metrics(unittest.TestCase):

    def setUp(self):
        self.server = Server().start()
        self.addCleanup(self.server.close)

    def scrape(self):
        """(name, labels) -> value, by the parser that Prometheus' own client has."""
        reply = self.server.client.raw("GET", "/metrics")
        self.assertEqual(reply.status, 200)
        self.assertIn("application/openmetrics-text", reply.headers["content-type"])
        families = list(text_string_to_metric_families(reply.body.decode()))
        for family in families:
            self.assertTrue(family.documentation, family.name)
        return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value
                for family in families for sample in family.samples}

    def test_figures_follow_what_happens(self):
        client = self.server.client
        before = self.scrape()
        version = client.get("/v1/info")["version"]
        builds = [dict(labels)["version"] for name, labels in before if name == "berth_build_info"]
        self.assertEqual(builds, [version])
        self.assertEqual(before[("berth_agent_starts_total", ())], 0)
        client.post("/v1/sessions", {"id": "watched"})
        client.prompt("watched", "say hello", wait=30)
        with client.events("watched"):
            client.prompt("watched", "sleep 60000")
            running = ("berth_turns", (("state", "running"),))
            wait_until(lambda: self.scrape()[running] == 1)
            wait_until(lambda: self.scrape()[("berth_sse_clients", ())] == 1)
            client.prompt("watched", "say later")
            after = self.scrape()
        self.assertEqual(after[("berth_turns", (("state", "queued"),))], 1)
        self.assertEqual(after[("berth_agents", (("phase", "busy"),))], 1)
        self.assertEqual(after[("berth_agent_starts_total", ())], 1)
        self.assertEqual(after[("berth_turns_ended_total", (("outcome", "completed"),))], 1)
        self.assertGreater(after[("berth_events_appended_total", ())], before[("berth_events_appended_total", ())])
        self.assertGreater(after[("process_resident_memory_bytes", ())], 1 << 20)
        wait_until(lambda: self.scrape()[("berth_sse_closed_total", (("reason", "client_gone"),))] == 1)

    def test_refusals_are_counted_by_the_limit_that_the_problem_names(self):
        client = self.server.client
        client.post("/v1/sessions", {"id": "full"})

        def refused(limit):
            counted = self.scrape()[("berth_refusals_total", (("limit", limit),))]
            row, = [row for row in client.get("/v1/limits")["table"] if row["name"] == limit]
            self.assertEqual(row["refused"], counted)
            return counted, row["value"]
        self.assertEqual(refused("client_state_bytes_max"), (0, 16384))
        reply = client.raw("PUT", "/v1/sessions/full/state", {"much": "x" * 20_000})
        self.assertEqual((reply.status, reply.json()["limit"]), (413, "client_state_bytes_max"))
        self.assertEqual(refused("client_state_bytes_max"), (1, 16384))
        for path, headers, status, limit in (("/" + "x" * 70_000, {}, 414, "target_max"),
                                             ("/healthz", {"X": "x" * 40_000}, 431, "head_max"),
                                             ("/healthz", {f"X{i}": "x" for i in range(200)}, 431, "headers_max")):
            reply = client.raw("GET", path, headers=headers)
            self.assertEqual((reply.status, reply.json()["limit"]), (status, limit))
            self.assertEqual(refused(limit)[0], 1)
        self.assertFalse([name for name, _ in self.scrape() if name.startswith("berth_requests_refused")])
        for _ in range(65):
            client.prompt("full", "sleep 60000")
            reply = client.raw("POST", "/v1/sessions/full/turns", {"prompt": "sleep 60000"})
            if reply.status == 429:
                break
        self.assertEqual(reply.json()["limit"], "queue_max")
        self.assertEqual(refused("queue_max"), (1, 64))

    def test_histograms_say_how_long_things_take(self):
        client = self.server.client
        client.post("/v1/sessions", {"id": "timed"})
        client.prompt("timed", "sleep 300", wait=30)
        for _ in range(5):
            client.get("/v1/sessions/timed")
        wait_until(lambda: self.scrape()[("berth_loop_delay_seconds_count", ())] > 0)
        figures = self.scrape()  # its parser refuses buckets that do not add up
        asked = (("method", "GET"), ("route", "/v1/sessions/{}"))
        self.assertEqual(figures[("berth_request_duration_seconds_count", asked)], 5)
        self.assertEqual(figures[("berth_turn_duration_seconds_count", ())], 1)
        self.assertEqual(figures[("berth_turn_duration_seconds_bucket", (("le", "0.1"),))], 0)
        self.assertGreater(figures[("berth_turn_duration_seconds_sum", ())], 0.29)
        self.assertEqual(figures[("berth_agent_start_duration_seconds_count", ())], 1)
        self.assertEqual(figures[("berth_commit_duration_seconds_count", ())], figures[("berth_commits_total", ())])
        shown = figures[("berth_shown_delay_seconds_count", ())]
        self.assertTrue(0 < shown <= figures[("berth_commits_total", ())])
        self.assertGreaterEqual(figures[("berth_agent_memory_max_bytes", ())], 0)

    def test_the_store_and_the_lanes_of_blocking_work_are_told(self):
        client, before = self.server.client, self.scrape()
        client.post("/v1/sessions", {"id": "written"})
        client.prompt("written", "say " + "x" * 200_000 + "\nsleep 20\nsay one\nsleep 20\nsay two", wait=30)

        def sizes():
            paths = (os.path.join(self.server.state, "berth.db" + suffix) for suffix in ("-wal", "-log"))
            return tuple(os.path.getsize(path) for path in paths)

        def told():
            figures = self.scrape()
            part = {name: figures[("berth_store_bytes", (("part", name),))] for name in ("data", "unused", "wal", "log")}
            return figures, part, (part["wal"], part["log"])
        wait_until(lambda: told()[2] == sizes(), what=lambda: (told()[1], sizes()))
        after, part, _ = told()
        self.assertGreater(part["wal"], 200_000)
        self.assertGreater(part["data"] + part["unused"], 200_000)
        store = (("lane", "store"),)
        begun = ("berth_offload_wait_seconds_count", store)
        self.assertGreater(after[begun], before[begun] + 1)
        self.assertGreater(after[("berth_offload_wait_seconds_sum", store)], 0)
        for lane in ("store", "git", "files"):
            self.assertGreaterEqual(after[("berth_offload_queue", (("lane", lane),))], 0)
        self.assertEqual(after[("berth_offload_running", store)], 0)

    def test_figures_of_projects_are_bounded(self):
        self.server.close()
        self.server = self.enterContext(Server("[limits]\nmetric_projects_max = 3\n"))
        client = self.server.client
        for project, count in (("large", 3), ("middle", 2), ("small", 1), ("tiny", 1)):
            for i in range(count):
                client.post("/v1/sessions", {"id": f"s{i}"}, {"Berth-Project": project})
        turn = client.post("/v1/sessions/s0/turns", {"prompt": "sleep 60000"}, {"Berth-Project": "middle"})
        wait_until(lambda: client.call("GET", f"/v1/sessions/s0/turns/{turn['id']}", None,
                                       {"Berth-Project": "middle"})["state"] == "running")
        figures = self.scrape()

        def of(name):
            return {dict(labels)["project"]: value for (sample, labels), value in figures.items() if sample == name}
        self.assertEqual(of("berth_project_sessions_loaded"), {"large": 3, "middle": 2, "_other": 2})
        self.assertEqual(of("berth_project_turns"), {"large": 0, "middle": 1, "_other": 0})
        self.assertEqual(of("berth_project_agents"), {"large": 0, "middle": 1, "_other": 0})

    def test_what_the_door_refuses_is_counted_once(self):
        client = self.server.client
        before = self.scrape()
        for header, value in (("Host", "evil.example"), ("Origin", "http://evil.example")):
            self.assertEqual(client.raw("GET", "/v1/info", headers={header: value}).status, 403)
        client.token, token = "wrong", client.token
        statuses = [client.raw("GET", "/v1/info").status for _ in range(61)]
        client.token = token
        self.assertEqual(statuses, [401] * 60 + [429])
        after = self.scrape()
        grown = {key: after[key] - before[key] for key in after if key in before and "refus" in key[0]}
        self.assertEqual({key: count for key, count in grown.items() if count},
                         {("berth_pages_refused_total", (("header", "host"),)): 1,
                          ("berth_pages_refused_total", (("header", "origin"),)): 1,
                          ("berth_refusals_total", (("limit", "auth_failures_max"),)): 1})

    def test_nobody_scrapes_without_a_token(self):
        client, failures = self.server.client, ("berth_auth_failures_total", ())
        before = self.scrape()[failures]
        token, client.token = client.token, "wrong"
        self.assertEqual(client.raw("GET", "/metrics").status, 401)
        client.token = token
        self.assertGreater(self.scrape()[failures], before)

    def test_logs_are_json_on_demand(self):
        state = os.path.join(self.server.folder, "other")
        process = subprocess.Popen([BINARY, "serve", "--state", state, "--listen", "127.0.0.1:0", "--log", "json"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)  # if it does not end
        process.stdout.readline()  # it is ready
        process.terminate()
        _, log = process.communicate(timeout=30)
        messages = [json.loads(line) for line in log.splitlines()]
        self.assertTrue(messages)
        for message in messages:
            self.assertEqual(list(message), ["time", "level", "component", "message"])
            self.assertIn(message["level"], ("debug", "info", "warning", "error"))


if __name__ == "__main__":
    main()
