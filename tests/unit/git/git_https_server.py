#!/usr/bin/python3
"""A real server of git repositories over https: git's own http-backend behind Python's TLS.

    git_https_server.py FOLDER CERTIFICATE KEY LOG [PORT]

Prints its port once it listens. PORT is one that the caller holds bound, without listening, so that it stays the caller's.
"/auth/..." asks for agent:sesame, "/silent/..." answers nothing, "/away/PORT/..." leads there.
"""
import base64, http.server, os, ssl, subprocess, sys, threading
root, cert, key, log = sys.argv[1:5]
port = sys.argv[5] if len(sys.argv) > 5 else "0"

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self): self.serve()
    def do_POST(self): self.serve()
    def plain(self, code, headers=()):
        self.send_response(code)
        for name, value in headers: self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def serve(self):
        path, _, query = self.path.partition("?")
        given = self.headers.get("Authorization", "")
        with open(log, "a") as file: file.write(f"{self.headers['Host']} {path} {given}\n")
        if path.startswith("/silent/"):
            threading.Event().wait(60)
            return
        if path.startswith("/away/"):
            port, path = path[len("/away/"):].split("/", 1)
            to = f"https://localhost:{port}/auth/{path}"
            return self.plain(302, [("Location", to + ("?" + query if query else ""))])
        if path.startswith("/auth/"):
            if given != "Basic " + base64.b64encode(b"agent:sesame").decode():
                return self.plain(401, [("WWW-Authenticate", 'Basic realm="git"')])
            path = path[len("/auth"):]
        body = b""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while (size := int(self.rfile.readline(), 16)) > 0:
                body += self.rfile.read(size); self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        env = dict(PATH=os.environ["PATH"], GIT_PROJECT_ROOT=root, GIT_HTTP_EXPORT_ALL="1",
                   PATH_INFO=path, QUERY_STRING=query, REQUEST_METHOD=self.command,
                   REMOTE_USER="x", REMOTE_ADDR="127.0.0.1",
                   CONTENT_TYPE=self.headers.get("Content-Type", ""),
                   CONTENT_LENGTH=str(len(body)),
                   GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="safe.directory", GIT_CONFIG_VALUE_0="*")
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line]
        status = [int(value.split()[0]) for name, value in fields if name == "Status"]
        self.send_response(status[0] if status else 200)
        for name, value in fields:
            if name not in ("Status", "Content-Length"): self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
server.daemon_threads = True
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_address[1], flush=True)
server.serve_forever()
