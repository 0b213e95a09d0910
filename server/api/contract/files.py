"""Files of a session's workspace."""

from schema import (COUNT, EDIT, ETAG, FRESH, IF_MATCH, IF_NONE_MATCH, STRING, TIME, VIEW, answer, array, content, described,
                    enum, header, number, operation, or_null, query, ref, request, response)

TAG = "files"
FILES = "/v1/sessions/{session}/files"
PATH = query("path", STRING, "Relative to the workspace, without `.`, `..` and `.git`.")
BYTES = {"type": "string", "contentEncoding": "binary"}
CONTENT = {media: {"schema": BYTES} for media in (
    "application/octet-stream", "text/plain", "image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf",
    "application/json", "application/zip", "application/gzip", "application/x-tar")}
CONTENT["application/json"] = {"schema": {}}

SCHEMAS = {
    "FileEntry": answer({
        "name": STRING, "type": enum("file", "folder", "link", "other"), "size": COUNT, "modified_at": or_null(TIME),
        "mode": described(STRING, "Octal, as in chmod."), "link": described(or_null(STRING), "What a link names."),
        "etag": described(or_null(STRING), "Of a file's content."),
    }),
    "FileList": answer({"path": STRING, "entries": array(ref("FileEntry")), "next": or_null(STRING)}),
    "MakeFolder": request({"path": {"type": "string", "minLength": 1}, "type": enum("folder")}, ["path"]),
}

OPERATIONS = [
    operation("GET", FILES, "listFiles", "What is in a folder", {200: response("A page, by name", ref("FileList"))}, scope=VIEW,
              tag=TAG, problems=(403, 404, 422), parameters=[
                  PATH, number("limit", "At most so many.", 1000, 1000), query("after", STRING, "Only names behind this one.")]),
    operation("POST", FILES, "makeFolder", "Make a folder and those above it", {201: response("It", ref("FileEntry"))},
              scope=EDIT, tag=TAG, body=ref("MakeFolder"), body_needed=True, problems=(403, 404, 409, 422)),
    operation("GET", FILES + "/content", "getFile", "The content of a file",
              {200: response("All of it", CONTENT, ETAG), 206: response("The range", CONTENT, ETAG), **FRESH},
              scope=VIEW, tag=TAG, problems=(403, 404, 416, 422), parameters=[
                  PATH, IF_NONE_MATCH, header("Range", STRING, "One range of bytes."),
                  header("If-Range", STRING, "The range only if the file has this ETag still.")]),
    operation("PUT", FILES + "/content", "putFile", "Make or replace a file",
              {200: response("It was replaced", ref("FileEntry"), ETAG), 201: response("It is new", ref("FileEntry"), ETAG)},
              scope=EDIT, tag=TAG, body={"application/octet-stream": {"schema": BYTES}}, problems=(403, 404, 409, 412, 422),
              parameters=[PATH, IF_MATCH, IF_NONE_MATCH]),
    operation("DELETE", FILES + "/content", "deleteFile", "Remove a file, a link or an empty folder",
              {204: response("It is gone")}, scope=EDIT, tag=TAG, problems=(403, 404, 409, 412, 422), parameters=[PATH, IF_MATCH]),
    operation("GET", FILES + "/archive", "getArchive", "A folder as an archive",
              {200: response("Without .git", content(BYTES, "application/x-tar"))}, scope=VIEW, tag=TAG,
              problems=(403, 404, 422), parameters=[PATH]),
]
