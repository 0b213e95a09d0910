#!/usr/bin/python3
"""opencode behind a proxy that cuts its event stream every now and then.

    cutting_proxy.py SECONDS OPENCODE serve --hostname 127.0.0.1 --port PORT

Takes the place of the opencode program: passes its own arguments on with another port, says the
ready line itself, and forwards connections. One that asks for /global/event is closed after
SECONDS, in the middle of whatever it was saying.
"""

import re
import socket
import subprocess
import sys
import threading


def forward(source, sink):
    try:
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(client, upstream_port, seconds):
    upstream = socket.create_connection(("127.0.0.1", upstream_port))
    head = client.recv(65536)
    if head.startswith(b"GET /global/event"):
        def cut():
            for end in (upstream, client):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        timer = threading.Timer(seconds, cut)
        timer.daemon = True
        timer.start()
    try:
        upstream.sendall(head)
    except OSError:
        pass
    threading.Thread(target=forward, args=(client, upstream), daemon=True).start()
    forward(upstream, client)
    client.close()
    upstream.close()


def main():
    seconds, program, arguments = float(sys.argv[1]), sys.argv[2], sys.argv[3:]
    place = arguments.index("--port") + 1
    port = int(arguments[place])
    listener = socket.create_server(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", 0)) as free:
        arguments[place] = str(free.getsockname()[1])
    opencode = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True)
    for line in opencode.stdout:
        if re.search(r"listening on", line):
            break
    print(f"opencode server listening on http://127.0.0.1:{port}", flush=True)
    threading.Thread(target=opencode.stdout.read, daemon=True).start()
    threading.Thread(target=lambda: (opencode.wait(), listener.shutdown(socket.SHUT_RDWR)),
                     daemon=True).start()
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            break
        threading.Thread(target=serve, args=(client, int(arguments[place]), seconds),
                         daemon=True).start()
    sys.exit(opencode.returncode or 0)


if __name__ == "__main__":
    main()
