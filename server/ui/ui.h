// server/ui/ui.h — the web page at /: its files, which are part of the program, over HTTP.
#pragma once

#include <berth/io/http_server.h>

#include <optional>
#include <span>
#include <string_view>

namespace berth::server {

/// A file of the page. All of it lives as long as the program.
struct UiFile {
  std::string_view path;          ///< "/", "/ui/app.js"
  std::string_view content_type;  ///< With its charset.
  std::string_view etag;          ///< Strong and quoted; it changes with the content.
  std::string_view content;
};

/// Every file of the page; made by embed.py from the folder web.
std::span<const UiFile> ui_files();

/// The answer to a GET of the page's file at `path`, 304 to a client that has it already; null if
/// there is no such file. The files hold no data and need no token: what the page shows it asks for
/// under /v1.
std::optional<io::HttpResponse> serve_ui(std::string_view path, const io::HttpRequest& request);

}  // namespace berth::server
