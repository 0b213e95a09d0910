#!/usr/bin/python3
"""A client that never reads: nobody waits for it, memory stays, it is closed with a reason."""

import os
import socket
import sys
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import StreamEnded, session_path
from berth_server import RSS_COUNTS, Server, wait_until
from summary import figure, main

SESSIONS = 200
UPDATES = 100  # a session
LOUD_UPDATES = 40000  # of the session with the stuck reader: 27 MB, far above any socket buffer
GROWTH_MAX_MIB = 10  # a server that keeps what the stuck reader does not take grows by 20 and more
CONFIG = "[limits]\nheartbeat = 0.5\nreader_stall_max = 4\n"


class Reader(threading.Thread):
    """Reads one session's stream up to the end of its turn and keeps nothing but the count."""

    def __init__(self, client, session, after):
        super().__init__(daemon=True)
        self.client, self.session, self.last_seq = client, session, after
        self.updates, self.ended_at, self.problem = 0, None, None

    def run(self):
        connection = socket.create_connection((self.client.host, self.client.port), timeout=60)
        try:
            connection.sendall(stream_request(
                self.client, self.session, f"?until=turn-end&after={self.last_seq}"))
            with connection.makefile("rb", buffering=1 << 18) as lines:
                for line in lines:
                    if line.startswith(b"id: "):
                        seq = int(line[4:])
                        if seq != self.last_seq + 1:
                            self.problem = f"{self.session}: event {seq} after {self.last_seq}"
                        self.last_seq = seq
                    elif line.startswith(b"data: "):
                        self.updates += line.count(b"] the quick")  # pieces of text may be joined
            self.ended_at = time.monotonic()
        except OSError as error:
            self.problem = f"{self.session}: {error}"
        finally:
            connection.close()


def stream_request(client, session, query=""):
    return (f"GET {session_path(session, 'events')}{query} HTTP/1.1\r\nHost: {client.host}\r\n"
            f"Authorization: Bearer {client.token}\r\nAccept: text/event-stream\r\n\r\n").encode()


def stuck_reader(client, session):
    """A connection that asks for the stream; nobody ever reads from it."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((client.host, client.port))
    connection.sendall(stream_request(client, session))
    return connection


def resident_mib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("Rss:")) / 1024


class Burst(unittest.TestCase):

    @unittest.skipUnless(RSS_COUNTS, "a sanitizer's allocator keeps its memory")
    def test_what_a_burst_leaves_goes_back_in_a_quiet_moment(self):
        with Server() as server:
            sessions = [server.client.open()["id"] for _ in range(20)]
            with ThreadPoolExecutor(20) as pool:  # all at once: between turns it would be quiet
                turns = list(pool.map(lambda session: server.client.prompt(session, "stream 20000 500", wait=60), sessions))
            self.assertEqual({turn["state"] for turn in turns}, {"completed"})
            peak = resident_mib(server.pid)
            wait_until(lambda: resident_mib(server.pid) < peak - 4, 10, lambda: f"{peak:.1f}, now {resident_mib(server.pid):.1f} MiB")
            figure("MiB after a burst and in the quiet after it", f"{peak:.1f} {resident_mib(server.pid):.1f}")


class SlowReader(unittest.TestCase):

    def stream_all(self, client, sessions):
        """One turn in each session with one reader each; the seconds until the last one is done.

        `sessions` maps names to the last event that was seen of them.
        """
        readers = [Reader(client, name, after) for name, after in sessions.items()]
        for reader in readers:
            reader.start()
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            prompt = f"stream {UPDATES} 300"
            list(pool.map(lambda session: client.prompt(session, prompt), sessions))
        for reader in readers:
            reader.join(60)
        self.assertEqual([reader.problem for reader in readers if reader.problem], [])
        self.assertEqual({reader.updates for reader in readers}, {UPDATES})
        sessions.update({reader.session: reader.last_seq for reader in readers})
        return max(reader.ended_at for reader in readers) - began

    def test_a_stuck_reader_costs_the_others_and_the_server_nothing(self):
        with Server(CONFIG) as server:
            client = server.client
            sessions = {f"s{n}": 0 for n in range(SESSIONS)}
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda name: client.open(id=name), sessions))
            client.open(id="loud")
            self.stream_all(client, sessions)  # all agents run from now on
            without = self.stream_all(client, sessions)

            # The log that the stuck reader will ask for is there before it, so that what it alone
            # costs can be seen.
            client.prompt("loud", f"stream {LOUD_UPDATES} 300", wait=60)
            rss_before = resident_mib(server.pid)
            stuck = stuck_reader(client, "loud")
            wait_until(lambda: client.get("/v1/info")["sse_clients"] == 1)
            with_stuck = self.stream_all(client, sessions)
            grown = resident_mib(server.pid) - rss_before
            figure("200 sessions, seconds without and with a stuck reader",
                   f"{without:.2f} {with_stuck:.2f}")
            # Generous: the machine has other work. A server that waits would take the whole stall.
            self.assertLess(with_stuck, 2 * without + 2)

            figure("growth of the server in MiB", f"{grown:.1f}")
            if RSS_COUNTS:
                self.assertLess(grown, GROWTH_MAX_MIB)

            wait_until(lambda: client.get("/v1/info")["sse_closed"]["stalled"] == 1, 15,
                       lambda: f"the stuck reader is not closed: {client.get('/v1/info')}")
            self.assertIn("closed a reader of session loud", server.log_tail())
            self.assertIn("reader_stall_max", server.log_tail())
            self.assertEqual(client.get("/v1/info")["sse_clients"], 0)

            # What it was sent ends, and by its last event it finds all the rest.
            stuck.settimeout(20)
            received = b""
            try:
                while piece := stuck.recv(1 << 20):
                    received += piece
            except ConnectionResetError:
                pass
            stuck.close()
            whole = received[:received.rfind(b"\n\n") + 2]
            last = int(whole[whole.rfind(b"id: ") + 4:].split(b"\n", 1)[0])
            self.assertLess(last, LOUD_UPDATES)
            with client.events("loud", last_event_id=last, until="turn-end") as rest:
                with self.assertRaises(StreamEnded):
                    while True:
                        rest.take()
                self.assertEqual([event.seq for event in rest.seen],
                                 list(range(last + 1, rest.seen[-1].seq + 1)))
                self.assertEqual(rest.seen[-1].type, "turn.ended")


if __name__ == "__main__":
    main()
