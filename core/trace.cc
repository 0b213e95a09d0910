#include <berth/core/hex.h>
#include <berth/core/trace.h>

namespace berth::inline v0 {

namespace {

constexpr std::size_t kTraceIdAt = 3;
constexpr std::size_t kSpanIdAt = 36;
constexpr std::size_t kFlagsAt = 53;
constexpr std::size_t kLength = 55;  // of version 00

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/// Two digits; -1 for anything else. Capitals are not allowed.
int byte_of(std::string_view two) {
  const int high = digit_of(two[0]);
  const int low = digit_of(two[1]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/// The id, or empty when it is none.
std::string_view id_of(std::string_view digits) {
  bool some = false;
  for (const char c : digits) {
    if (digit_of(c) < 0) return {};
    some = some || c != '0';
  }
  return some ? digits : std::string_view();
}

/// What a header and JSON take as it is.
bool is_plain(std::string_view text) {
  for (const char c : text) {
    if (c < 0x20 || c > 0x7e) return false;
  }
  return true;
}

}  // namespace

bool TraceContext::sampled() const {
  return (flags & kTraceSampled) != 0;
}

std::optional<TraceContext> parse_trace(std::string_view traceparent, std::string_view tracestate) {
  if (traceparent.size() < kLength) return std::nullopt;
  const int version = byte_of(traceparent);
  if (version < 0 || version == 0xff) return std::nullopt;
  // Later versions may say more, behind another dash.
  if (traceparent.size() > kLength && (version == 0 || traceparent[kLength] != '-')) {
    return std::nullopt;
  }
  for (const std::size_t dash : {kTraceIdAt, kSpanIdAt, kFlagsAt}) {
    if (traceparent[dash - 1] != '-') return std::nullopt;
  }
  const int flags = byte_of(traceparent.substr(kFlagsAt));
  TraceContext trace;
  trace.trace_id = id_of(traceparent.substr(kTraceIdAt, 32));
  trace.span_id = id_of(traceparent.substr(kSpanIdAt, 16));
  if (flags < 0 || trace.trace_id.empty() || trace.span_id.empty()) return std::nullopt;
  // Only the flag that this version knows is passed on.
  trace.flags = static_cast<std::uint8_t>(flags & kTraceSampled);
  if (tracestate.size() <= kTraceStateMax && is_plain(tracestate)) trace.state = tracestate;
  return trace;
}

std::string_view trace_id_of(std::string_view traceparent) {
  return traceparent.size() < kLength ? std::string_view() : traceparent.substr(kTraceIdAt, 32);
}

std::string to_traceparent(const TraceContext& trace) {
  return "00-" + trace.trace_id + "-" + trace.span_id + (trace.sampled() ? "-01" : "-00");
}

namespace {

/// 16 digits, not all zero.
void append_id(std::string& out, Random& random) {
  std::uint64_t bits = 0;
  while (bits == 0) bits = random.next();
  append_hex(out, bits);
}

}  // namespace

std::string make_span_id(Random& random) {
  std::string id;
  id.reserve(16);
  append_id(id, random);
  return id;
}

TraceContext begin_trace(Random& random, bool sampled) {
  TraceContext trace;
  trace.trace_id.reserve(32);
  append_id(trace.trace_id, random);
  append_id(trace.trace_id, random);
  trace.span_id = make_span_id(random);
  trace.flags = sampled ? kTraceSampled : 0;
  return trace;
}

TraceContext next_span(const TraceContext& parent, Random& random) {
  TraceContext trace = parent;
  trace.span_id = make_span_id(random);
  return trace;
}

}  // namespace berth::inline v0
