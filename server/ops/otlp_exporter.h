// server/ops/otlp_exporter.h — sends spans to a collector by OTLP/HTTP.
#pragma once

#include <berth/core/log.h>
#include <berth/core/result.h>
#include <berth/core/stop.h>
#include <berth/core/task.h>
#include <berth/io/http_client.h>
#include <berth/io/platform.h>
#include <berth/server/ops/tracer.h>

#include <string>
#include <string_view>

namespace berth::server {

/// Where a collector listens.
struct OtlpTarget {
  io::HttpOrigin origin;
  std::string path;

  /// "http://127.0.0.1:4318": spans go to /v1/traces, unless the URL has a path of its own. Errors:
  /// `invalid` ("bad_url"), `unsupported` ("bad_url") for https or a host that is a name.
  static Result<OtlpTarget> parse(std::string_view url);
};

struct TracingConfig {
  std::string otlp_endpoint;  ///< Empty: nothing is recorded.
  std::string service_name = "berth";
  TracerLimits limits;
};

/// Sends what `tracer` has, in batches, until `stop`, and what is left then once more. A collector
/// that is away is asked again later; meanwhile the tracer drops what is too much. All of it
/// outlives the task.
Task<void> export_spans(io::Platform* platform, Tracer* tracer, TracingConfig config, LogSink* log,
                        StopToken stop);

}  // namespace berth::server
