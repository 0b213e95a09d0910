#include <berth/server/ops/otlp_json.h>

#include <berth/core/json_writer.h>
#include <berth/core/version.h>

namespace berth::server {

namespace {

constexpr int kStatusError = 2;

void put_attribute(JsonWriter& writer, std::string_view key, std::string_view value) {
  writer.begin_object()
      .member("key", key)
      .key("value")
      .begin_object()
      .member("stringValue", value)
      .end_object()
      .end_object();
}

void put_span(JsonWriter& writer, const Span& span) {
  writer.begin_object().member("traceId", span.trace.trace_id).member("spanId", span.trace.span_id);
  if (!span.parent.empty()) writer.member("parentSpanId", span.parent);
  if (!span.trace.state.empty()) writer.member("traceState", span.trace.state);
  // 64-bit numbers are strings in Protobuf's JSON.
  writer.member("name", span.name)
      .member_int64("kind", static_cast<std::int64_t>(span.kind))
      .member("startTimeUnixNano", std::to_string(span.began_ns))
      .member("endTimeUnixNano", std::to_string(span.ended_ns))
      .key("attributes")
      .begin_array();
  for (const auto& [key, value] : span.attributes) {
    if (!value.empty()) put_attribute(writer, key, value);
  }
  writer.end_array();
  if (!span.error.empty()) {
    writer.key("status")
        .begin_object()
        .member_int64("code", kStatusError)
        .member("message", span.error)
        .end_object();
  }
  writer.end_object();
}

}  // namespace

std::string otlp_json(std::span<const Span> spans, std::string_view service_name) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().key("resourceSpans").begin_array().begin_object();
  writer.key("resource").begin_object().key("attributes").begin_array();
  put_attribute(writer, "service.name", service_name);
  put_attribute(writer, "service.version", kVersion);
  writer.end_array().end_object();
  writer.key("scopeSpans").begin_array().begin_object();
  writer.key("scope").begin_object().member("name", "berth").end_object();
  writer.key("spans").begin_array();
  for (const Span& span : spans) put_span(writer, span);
  writer.end_array().end_object().end_array().end_object().end_array().end_object();
  return out;
}

}  // namespace berth::server
