// server/ops/otlp_json.h — spans as OTLP/HTTP takes them, in its JSON encoding.
#pragma once

#include <berth/server/ops/tracer.h>

#include <span>
#include <string>
#include <string_view>

namespace berth::server {

/// An ExportTraceServiceRequest (opentelemetry-proto 1.x, JSON Protobuf Encoding with the ids in
/// hexadecimal, as the OTLP specification asks for).
std::string otlp_json(std::span<const Span> spans, std::string_view service_name);

}  // namespace berth::server
