#include <berth/server/ui/ui.h>

#include <algorithm>

namespace berth::server {

namespace {

// Nothing but our own files and our own API: what an agent wrote cannot load or run anything, even
// if a mistake of the page made it markup.
constexpr std::string_view kContentSecurityPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Whether an If-None-Match names the tag; weak comparison, as RFC 9110 wants it there.
bool names_tag(std::string_view header, std::string_view etag) {
  while (!header.empty()) {
    const std::size_t comma = std::min(header.find(','), header.size());
    std::string_view tag = header.substr(0, comma);
    header.remove_prefix(std::min(comma + 1, header.size()));
    while (tag.starts_with(' ')) tag.remove_prefix(1);
    while (tag.ends_with(' ')) tag.remove_suffix(1);
    if (tag.starts_with("W/")) tag.remove_prefix(2);
    if (tag == etag || tag == "*") return true;
  }
  return false;
}

}  // namespace

std::optional<io::HttpResponse> serve_ui(std::string_view path, const io::HttpRequest& request) {
  const std::span<const UiFile> files = ui_files();
  const auto file = std::ranges::find(files, path, &UiFile::path);
  if (file == files.end()) return std::nullopt;
  io::HttpResponse response;
  response.content_type = file->content_type;
  response.headers = {
      {"ETag", std::string(file->etag)},
      {"Cache-Control", "no-cache"},  // kept, and asked for each time: an update shows at once
      {"Content-Security-Policy", std::string(kContentSecurityPolicy)},
      {"X-Content-Type-Options", "nosniff"},
      {"Referrer-Policy", "no-referrer"},
      {"Cross-Origin-Opener-Policy", "same-origin"},
      {"Cross-Origin-Resource-Policy", "same-origin"},
  };
  if (names_tag(request.header("if-none-match"), file->etag)) {
    response.status = 304;
  } else {
    response.body = file->content;
  }
  return response;
}

}  // namespace berth::server
