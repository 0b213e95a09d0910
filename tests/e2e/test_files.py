#!/usr/bin/python3
"""Files of workspaces over HTTP: what can be done with them, and that no path leads out of the workspace."""

import http.client
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import unittest
from urllib.parse import urlencode

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import session_path, text_of
from berth_server import Server, make_repository
from summary import figure, main

RACES = 2000
# Says the blocks of its prompt, and what the files are that they link to.
ECHO_AGENT = """#!/usr/bin/python3
import json, sys
from urllib.parse import unquote, urlsplit
say = lambda message: print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
for request in map(json.loads, sys.stdin):
    result = {"initialize": {"protocolVersion": 1, "agentCapabilities": {"promptCapabilities": {"image": True}}},
              "session/new": {"sessionId": "only"}}.get(request.get("method"), {})
    if request.get("method") == "session/prompt":
        blocks = request["params"]["prompt"]
        files = [open(unquote(urlsplit(b["uri"]).path)).read() for b in blocks if b["type"] == "resource_link"]
        update = {"sessionUpdate": "agent_message_chunk",
                  "content": {"type": "text", "text": json.dumps({"blocks": blocks, "files": files})}}
        say({"method": "session/update", "params": {"sessionId": "only", "update": update}})
        result = {"stopReason": "end_turn"}
    if "id" in request:
        say({"id": request["id"], "result": result})
"""


class Files(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server())
        cls.client = cls.server.client
        cls.repository = make_repository(os.path.join(cls.server.folder, "repository"))

    def setUp(self):
        self.opened = self.client.open(repository=self.repository)
        self.session = self.opened["id"]
        self.folder = self.opened["workspace"]["directory"]

    def path(self, path, what="content", **query):
        return session_path(self.session, "files", what) + "?" + urlencode({"path": path, **query})

    def read(self, path, headers=None):
        return self.client.raw("GET", self.path(path), headers=headers)

    def write(self, path, content, headers=None):
        return self.client.raw("PUT", self.path(path), content, headers)

    def list(self, path="", **query):
        return self.client.get(session_path(self.session, "files") + "?" + urlencode({"path": path, **query}))

    def refused(self, status, code, reply):
        self.assertEqual((reply.status, reply.json()["code"]), (status, code), reply.body)
        self.assertIn("path", reply.json()["detail"])

    def test_a_file_is_written_read_listed_and_removed(self):
        made = self.write("src/deep/new.txt", b"content\n")
        self.assertEqual(made.status, 201)
        with open(os.path.join(self.folder, "src/deep/new.txt"), "rb") as file:
            self.assertEqual(file.read(), b"content\n")
        read = self.read("src/deep/new.txt")
        self.assertEqual((read.status, read.body), (200, b"content\n"))
        self.assertEqual(read.headers["etag"], made.headers["etag"])
        self.assertEqual(read.headers["content-type"], "text/plain; charset=utf-8")
        self.assertEqual(read.headers["x-content-type-options"], "nosniff")
        entry = self.list("src/deep")["entries"][0]
        self.assertEqual((entry["name"], entry["type"], entry["size"], entry["etag"]),
                         ("new.txt", "file", 8, made.headers["etag"]))
        self.assertEqual([e["name"] for e in self.list()["entries"]], ["README.md", "src"], ".git is not shown")
        self.refused(409, "folder_not_empty", self.client.raw("DELETE", self.path("src/deep")))
        self.assertEqual(self.client.raw("DELETE", self.path("src/deep/new.txt")).status, 204)
        self.assertEqual(self.client.raw("DELETE", self.path("src/deep")).status, 204)
        self.refused(404, "file_not_found", self.read("src/deep/new.txt"))
        self.refused(404, "file_not_found", self.read("README.md/below"))
        self.refused(422, "not_a_file", self.read("src"))
        self.refused(422, "not_a_file", self.write("src", b""))
        folder = self.client.raw("POST", session_path(self.session, "files"), {"path": "a/b", "type": "folder"})
        self.assertEqual((folder.status, folder.json()["type"]), (201, "folder"))
        self.assertTrue(os.path.isdir(os.path.join(self.folder, "a/b")))

    def test_an_executable_stays_one_and_readers_see_whole_files(self):
        path = os.path.join(self.folder, "run.sh")
        with open(path, "w", encoding="utf-8") as file:
            file.write("a" * 100_000)
        os.chmod(path, 0o755)
        torn = []
        done = threading.Event()

        def look():
            while not done.is_set():
                with open(path, "rb") as file:
                    content = file.read()
                if len(content) != 100_000 or len(set(content)) != 1:
                    torn.append(content)

        reader = threading.Thread(target=look)
        reader.start()
        for letter in b"bcdefgh" * 5:
            self.assertEqual(self.write("run.sh", bytes([letter]) * 100_000).status, 200)
        done.set()
        reader.join()
        self.assertEqual(torn, [])
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o755)
        self.assertEqual(os.listdir(self.folder).count("run.sh"), 1)
        self.assertEqual([name for name in os.listdir(self.folder) if name.startswith(".berth")], [])

    def test_conditions_keep_writers_from_overwriting_each_other(self):
        tag = self.write("shared.txt", b"1").headers["etag"]
        self.assertEqual(self.write("shared.txt", b"x", {"If-None-Match": "*"}).status, 412)
        self.assertEqual(self.write("other.txt", b"x", {"If-Match": "*"}).status, 412)
        self.assertEqual(self.read("shared.txt", {"If-None-Match": tag}).status, 304)
        answers = []
        threads = [threading.Thread(target=lambda i=i: answers.append(
            self.write("shared.txt", b"2" * (i + 2), {"If-Match": tag}).status)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(answers), [200] + [412] * 7)
        stale = self.client.raw("DELETE", self.path("shared.txt"), headers={"If-Match": tag})
        self.assertEqual(stale.status, 412)
        self.assertEqual(self.write("shared.txt", b"", {"If-Match": "no tag"}).status, 422)

    def test_ranges(self):
        self.write("digits", b"0123456789")
        for wanted, status, body in (("bytes=2-4", 206, b"234"), ("bytes=7-", 206, b"789"), ("bytes=-3", 206, b"789"),
                                     ("bytes=0-99", 206, b"0123456789"), ("bytes=10-", 416, None),
                                     ("bytes=4-2", 200, b"0123456789"), ("lines=1-2", 200, b"0123456789"),
                                     ("bytes=0-1,3-4", 200, b"0123456789"), ("bytes=-0", 416, None)):
            reply = self.read("digits", {"Range": wanted})
            self.assertEqual(reply.status, status, wanted)
            if body is not None:
                self.assertEqual(reply.body, body, wanted)
        self.assertEqual(self.read("digits", {"Range": "bytes=2-4"}).headers["content-range"], "bytes 2-4/10")
        self.assertEqual(self.read("digits", {"Range": "bytes=2-4", "If-Range": '"old"'}).status, 200)

    def test_large_files_go_in_pieces(self):
        content = os.urandom(5_000_001)
        with open(os.path.join(self.folder, "large.bin"), "wb") as file:
            file.write(content)
        self.assertEqual(self.read("large.bin").body, content)
        self.assertEqual(self.read("large.bin", {"Range": "bytes=1000000-3999999"}).body, content[1_000_000:4_000_000])
        head = self.client.raw("HEAD", self.path("large.bin"))
        self.assertEqual((head.status, head.body), (200, b""))

    def test_folders_are_listed_in_pages(self):
        names = sorted(f"file {i:04d}" for i in range(2500))
        os.mkdir(os.path.join(self.folder, "many"))
        for name in names:
            open(os.path.join(self.folder, "many", name), "w", encoding="utf-8").close()
        seen, query = [], {}
        while True:
            page = self.list("many", **query)
            self.assertLessEqual(len(page["entries"]), 1000)
            seen += [entry["name"] for entry in page["entries"]]
            if page["next"] is None:
                break
            query = {"after": page["next"]}
        self.assertEqual(seen, names)

    def test_an_archive_holds_the_folder_but_not_git(self):
        deep = "/".join(["a long name of a folder"] * 6)
        os.makedirs(os.path.join(self.folder, deep))
        contents = {"README.md": b"# sample\n", f"{deep}/f\u00fc\u00df.txt": "\u00e4".encode(), "big": os.urandom(700_001),
                    "empty": b""}
        for name, content in contents.items():
            with open(os.path.join(self.folder, name), "wb") as file:
                file.write(content)
        os.symlink("README.md", os.path.join(self.folder, "link"))
        os.symlink("/etc/passwd", os.path.join(self.folder, "away"))
        os.mkfifo(os.path.join(self.folder, "pipe"))
        reply = self.client.raw("GET", session_path(self.session, "files", "archive"))
        with tarfile.open(fileobj=io.BytesIO(reply.body)) as archive:
            files = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
            links = {member.name: member.linkname for member in archive if member.issym()}
            names = archive.getnames()
        self.assertEqual(files, contents)
        self.assertEqual(links, {"link": "README.md", "away": "/etc/passwd"}, "as links: nothing is read through them")
        self.assertEqual([name for name in names if ".git" in name.split("/") or name == "pipe"], [])
        listing = subprocess.run(["tar", "-tf", "-"], input=reply.body, capture_output=True, check=True)
        self.assertEqual(len(listing.stdout.splitlines()), len(names))
        below = self.client.raw("GET", self.path(deep, "archive"))
        with tarfile.open(fileobj=io.BytesIO(below.body)) as archive:
            self.assertEqual(archive.getnames(), ["f\u00fc\u00df.txt"])

    def test_what_a_person_writes_is_a_change_outside_of_turns(self):
        self.write("by_hand.txt", b"text\n")
        change = self.client.get(session_path(self.session, "changes") + "?refresh=1")
        self.assertEqual([(f["path"], f["agent"]) for f in change["files"]], [("by_hand.txt", None)])

    def test_no_path_leads_out_of_the_workspace(self):
        outside = os.path.join(self.server.folder, "outside")
        os.makedirs(outside, exist_ok=True)
        with open(os.path.join(outside, "secret"), "w", encoding="utf-8") as file:
            file.write("SECRET")
        for name, target in (("abs", outside), ("up", "../../../outside"), ("file", os.path.join(outside, "secret")),
                             ("proc", "/proc/self/root"), ("self", "/proc/self/cwd"), ("git", ".git"), ("loop", "loop")):
            os.symlink(target, os.path.join(self.folder, name))
        token = os.path.join(self.server.state, "token")
        lexical = ["..", "../", "../../token", "a/../../x", "./README.md", "a//b", "/etc/passwd", token, "README.md/", ".",
                   "src/.", "x" * 5000]
        for path in lexical:
            self.refused(422, "bad_path", self.read(path))
            self.refused(422, "bad_path", self.write(path, b"x"))
        for path in (".git", ".git/config", ".GIT", "src/.git/hooks/post-commit", "a/.Git"):
            self.refused(403, "path_is_git", self.read(path))
            self.refused(403, "path_is_git", self.write(path, b"x"))
        for path in ("abs/secret", "up/secret", "file", "proc/etc/passwd", "self/x", "loop"):
            self.refused(403, "path_escapes", self.read(path))
        for path in ("abs/new", "up/new", "proc/tmp/new", "abs/a/b/new"):
            self.refused(403, "path_escapes", self.write(path, b"x"))
            self.refused(403, "path_escapes", self.client.raw("DELETE", self.path(path)))
        self.assertIn(self.read("git").json()["code"], ("path_is_git", "not_a_file"))
        self.refused(422, "not_a_file", self.write("file", b"over the link"))
        # As it goes over the wire: percent-encoded twice, NUL, bytes that are no UTF-8, overlong dots.
        for raw in ("%2e%2e%2ftoken", "%2e%2e/token", "..%2f..%2ftoken", "a%00b", "%ff", "%c0%ae%c0%ae/x", "%252e%252e%252f"):
            reply = self.client.raw("GET", session_path(self.session, "files", "content") + "?path=" + raw)
            self.assertIn(reply.status, (400, 404, 422), raw)
            self.assertNotIn(b"SECRET", reply.body)
        self.assertEqual(os.listdir(outside), ["secret"])

    def test_a_pipe_in_the_workspace_keeps_nobody_waiting(self):
        os.mkfifo(os.path.join(self.folder, "pipe"))
        self.refused(422, "not_a_file", self.read("pipe"))
        self.refused(422, "not_a_file", self.write("pipe", b""))

    def test_folders_that_are_swapped_for_links_lead_nowhere(self):
        outside = os.path.join(self.server.folder, "swapped")
        for place, text in ((os.path.join(self.folder, "real"), "inside"), (outside, "SECRET")):
            os.makedirs(place)
            with open(os.path.join(place, "file"), "w", encoding="utf-8") as file:
                file.write(text)
        os.symlink(outside, os.path.join(self.folder, "link"))
        os.rename(os.path.join(self.folder, "real"), os.path.join(self.folder, "door"))
        swapper = subprocess.Popen([sys.executable, "-c", SWAPPER, self.folder])
        try:
            counts = self.knock(RACES)
        finally:
            swapper.kill()
            swapper.wait()
        self.assertEqual(counts["outside"], 0)
        self.assertGreater(counts["inside"], 0, "the door was open at times")
        self.assertGreater(counts["refused"], 0, "and led outside at others")
        self.assertEqual(sorted(os.listdir(outside)), ["file"], "nothing was written there")
        with open(os.path.join(outside, "file"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "SECRET")
        figure("requests through a door that is swapped", counts)

    def knock(self, times):
        connection = http.client.HTTPConnection(self.client.host, self.client.port, timeout=30)
        counts = {"inside": 0, "refused": 0, "outside": 0}
        headers = {"Authorization": f"Bearer {self.client.token}"}
        for i in range(times):
            write = i % 4 == 3
            connection.request("PUT" if write else "GET", self.path(f"door/new{i}" if write else "door/file"),
                               b"x" if write else None, headers)
            answer = connection.getresponse()
            body = answer.read()
            if b"SECRET" in body:
                counts["outside"] += 1
            elif answer.status in (200, 201):
                counts["inside"] += 1
            else:
                self.assertIn(answer.status, (403, 404), body)
                counts["refused"] += 1
        connection.close()
        return counts

    def test_files_go_with_a_prompt(self):
        with Server() as server:
            agent = os.path.join(server.folder, "echo")
            with open(agent, "w", encoding="utf-8") as file:
                file.write(ECHO_AGENT)
            os.chmod(agent, 0o755)
            server.stop()
            with open(server._config, "a", encoding="utf-8") as file:
                file.write(f'[agents.echo]\ncommand = "{agent}"\n[limits]\nprompt_bytes_max = 100000\nbody_max = 200000\n')
            client = server.start().client
            opened = client.open(repository=self.repository, agent="echo")
            content = session_path(opened["id"], "files", "content") + "?path=notes/wanted%20list.txt"
            once = {"If-None-Match": "*"}
            self.assertEqual(client.raw("PUT", content, b"two apples", once).status, 201)
            self.assertEqual(client.raw("PUT", content, b"two apples", once).status, 412, "a second try finds it there")
            self.assertEqual(client.raw("PUT", content, b"x" * 200_001).status, 413)
            blocks = [{"type": "text", "text": "buy these"},
                      {"type": "resource_link", "name": "wanted list.txt",
                       "uri": f"file://{opened['workspace']['directory']}/notes/wanted%20list.txt"},
                      {"type": "image", "mimeType": "image/png", "data": "iVBORw0KGgo="}]
            turn = client.prompt(opened["id"], blocks, wait=30)
            self.assertEqual(turn["state"], "completed", turn)
            said = json.loads(text_of(client.log(opened["id"])))
            self.assertEqual(said, {"blocks": blocks, "files": ["two apples"]})
            blocks[2]["data"] = "A" * 100_000
            reply = client.raw("POST", session_path(opened["id"], "turns"), {"prompt": blocks})
            self.assertEqual((reply.status, reply.json()["limit"]), (413, "prompt_bytes_max"))

    def test_sessions_without_a_workspace_say_so(self):
        none = self.client.open()["id"]
        self.assertEqual(self.client.get(session_path(none, "files"))["entries"], [])
        self.client.post(session_path(self.session, "close"))
        reply = self.client.raw("GET", session_path(self.session, "files"))
        self.assertEqual((reply.status, reply.json()["code"]), (404, "no_workspace"))
        self.assertEqual(self.client.raw("GET", "/v1/sessions/nothing/files").status, 404)
        bad = self.client.raw("POST", session_path(none, "files"), {"path": "x", "type": "device"})
        self.assertEqual((bad.status, json.loads(bad.body)["code"]), (422, "bad_field"))


# Exchanges the folder behind the name "door" with a link to the outside as fast as it can.
SWAPPER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
os.chdir(sys.argv[1])
while True:
    libc.renameat2(-100, b"door", -100, b"link", 2)
"""


if __name__ == "__main__":
    main()
