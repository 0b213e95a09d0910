// core/trace.h — W3C Trace Context (Recommendation, 23 November 2021): who began a piece of work.
#pragma once

#include <berth/core/prng.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace berth::inline v0 {

/// One span of a trace, as `traceparent` and `tracestate` tell it.
struct TraceContext {
  std::string trace_id;    ///< 32 lower-case hexadecimal digits, not all zero.
  std::string span_id;     ///< 16 of them: of who sends the header.
  std::uint8_t flags = 0;  ///< kTraceSampled or nothing.
  std::string state;       ///< `tracestate` as it came; empty without one.

  bool empty() const { return trace_id.empty(); }
  bool sampled() const;
};

inline constexpr std::uint8_t kTraceSampled = 1;
/// Section 3.3.1.5: who passes `tracestate` on passes on at least so many characters. Longer ones
/// are dropped whole.
inline constexpr std::size_t kTraceStateMax = 512;

/// Reads the two headers; nothing when `traceparent` is not valid (then a new trace begins).
/// Versions above 00 are read as 00, as section 2.2.5 wants it; a `tracestate` that does not fit is
/// dropped.
std::optional<TraceContext> parse_trace(std::string_view traceparent, std::string_view tracestate);

/// The id in a `traceparent` that is valid; empty for an empty one.
std::string_view trace_id_of(std::string_view traceparent);

/// Version 00.
std::string to_traceparent(const TraceContext& trace);

std::string make_span_id(Random& random);
TraceContext begin_trace(Random& random, bool sampled);
/// Another span of the same trace.
TraceContext next_span(const TraceContext& parent, Random& random);

}  // namespace berth::inline v0
