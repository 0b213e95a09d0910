// The files of the web page; what it shows it asks for by the other routes.
#include <berth/server/api/api.h>
#include <berth/server/api/problem.h>
#include <berth/server/ui/ui.h>

namespace berth::server {

Api::Answer Api::get_page(ApiCall* call) {
  const std::string path = call->arguments.empty() ? "/" : "/ui/" + call->arguments[0];
  std::optional<io::HttpResponse> file = serve_ui(path, *call->request);
  if (!file.has_value()) {
    co_return problem(
        make_error(ErrorKind::not_found, "file_not_found", "the page has no file " + path));
  }
  co_return std::move(*file);
}

}  // namespace berth::server
