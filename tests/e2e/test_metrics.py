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
        reply = client.raw("GET", "/" + "x" * 70_000)
        self.assertGreaterEqual(reply.status, 400)
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
