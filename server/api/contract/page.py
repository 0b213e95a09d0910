"""The web page at /: files without a token; what it shows it asks for by the other routes."""

from schema import NONE, STRING, content, header, operation, response

TAG = "page"
CACHED = [header("If-None-Match", STRING, "The ETag of what the client has.")]
FRESH = {304: response("The client has it")}

SCHEMAS = {}
OPERATIONS = [
    operation("GET", "/", "getPage", "The page", {
        200: response("It", content(STRING, "text/html")), **FRESH}, scope=NONE, tag=TAG, parameters=CACHED),
    operation("GET", "/ui/{file}", "getPageFile", "A file of the page", {
        200: response("It", {**content(STRING, "text/css"), **content(STRING, "text/javascript"),
                             **content(STRING, "image/svg+xml")}), **FRESH},
              scope=NONE, tag=TAG, parameters=CACHED, problems=(404,)),
]
