#include <berth/server/agents/trace_meta.h>

#include <berth/core/json_doc.h>

namespace berth::server {

TraceMeta trace_in(std::string_view meta) {
  if (meta.empty()) return {};
  const Result<JsonDoc> parsed = JsonDoc::parse(meta);
  if (!parsed.has_value()) return {};
  const JsonView root = parsed->root();
  return {std::string(root.get_string("traceparent").value_or("")),
          std::string(root.get_string("tracestate").value_or(""))};
}

}  // namespace berth::server
