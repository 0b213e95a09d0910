// Spans: what is recorded, what is dropped, and how a collector reads it.
#include <berth/core/json_doc.h>
#include <berth/server/ops/otlp_exporter.h>
#include <berth/server/ops/otlp_json.h>
#include <berth/server/ops/tracer.h>

#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "../core/manual_executor.h"

namespace berth::server {
namespace {

class HandClock final : public Clock {
 public:
  TimePoint now() const override { return now_; }
  WallTime wall() const override { return wall_; }
  TimePoint now_{std::chrono::seconds(100)};
  WallTime wall_{1'700'000'000'000};
};

struct Recorder {
  explicit Recorder(TracerLimits limits = {}) : tracer(executor, clock, random, limits) {}
  Span span(bool sampled = true) {
    Span made;
    made.trace = begin_trace(random, sampled);
    made.name = "work";
    return made;
  }
  ManualExecutor executor;
  HandClock clock;
  Prng random{1};
  Tracer tracer;
};

TEST(Tracer, RecordsWhatIsSampledOnly) {
  Recorder recorder;
  recorder.tracer.add(recorder.span(false));
  EXPECT_EQ(recorder.tracer.waiting(), 0u);
  recorder.tracer.add(recorder.span(true));
  EXPECT_EQ(recorder.tracer.waiting(), 1u);
  EXPECT_EQ(recorder.tracer.stats().recorded, 1u);
}

TEST(Tracer, DropsAndCountsWhatIsTooMuch) {
  Recorder recorder({.spans_max = 2});
  for (int i = 0; i < 5; ++i) recorder.tracer.add(recorder.span());
  EXPECT_EQ(recorder.tracer.waiting(), 2u);
  EXPECT_EQ(recorder.tracer.stats().dropped, 3u);
}

TEST(Tracer, TakesBackTheNewestOfWhatCouldNotBeSent) {
  Recorder recorder({.spans_max = 3});
  for (const char* name : {"1", "2", "3"}) {
    Span span = recorder.span();
    span.name = name;
    recorder.tracer.add(std::move(span));
  }
  std::vector<Span> taken = recorder.tracer.take(2);
  recorder.tracer.add(recorder.span());
  recorder.tracer.give_back(std::move(taken));
  EXPECT_EQ(recorder.tracer.stats().dropped, 1u);
  const std::vector<Span> all = recorder.tracer.take(9);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].name, "2");
  EXPECT_EQ(all[1].name, "3");
}

TEST(Tracer, KeepsSpansInOrderWhileTheWallClockJitters) {
  Recorder recorder;
  const std::int64_t first = recorder.tracer.unix_ns(recorder.clock.now());
  EXPECT_EQ(first, 1'700'000'000'000'000'000);
  recorder.clock.now_ += std::chrono::microseconds(300);  // and the wall clock stands
  EXPECT_EQ(recorder.tracer.unix_ns(recorder.clock.now()), first + 300'000);
  recorder.clock.wall_ += std::chrono::hours(1);  // somebody set it
  EXPECT_GT(recorder.tracer.unix_ns(recorder.clock.now()), first + 3'500'000'000'000);
}

TEST(OtlpJson, IsWhatTheSpecificationWants) {
  Recorder recorder;
  Span span = recorder.span();
  span.parent = "b7ad6b7169203331";
  span.kind = SpanKind::server;
  span.began_ns = 1'700'000'000'000'000'001;
  span.ended_ns = 1'700'000'000'000'000'002;
  span.attributes = {{"http.route", "/v1/\"x\""}, {"empty", ""}};
  span.error = "status 500";
  const std::string text = otlp_json(std::vector<Span>{span}, "berth");
  const Result<JsonDoc> doc = JsonDoc::parse(text);
  ASSERT_TRUE(doc.has_value()) << text;
  const JsonView of = doc->root().elements("resourceSpans").at(0);
  EXPECT_EQ(of.elements("resource.attributes").at(0).get_string("value.stringValue"), "berth");
  const JsonView told = of.elements("scopeSpans").at(0).elements("spans").at(0);
  EXPECT_EQ(told.get_string("traceId"), span.trace.trace_id);
  EXPECT_EQ(told.get_string("parentSpanId"), "b7ad6b7169203331");
  EXPECT_EQ(told.get_string("startTimeUnixNano"), "1700000000000000001");
  EXPECT_EQ(told.get_int64("kind"), 2);
  EXPECT_EQ(told.elements("attributes").size(), 1u);
  EXPECT_EQ(told.get_int64("status.code"), 2);
}

TEST(OtlpTarget, IsACollectorBesideTheServer) {
  const auto path = [](const char* url) {
    Result<OtlpTarget> target = OtlpTarget::parse(url);
    return target.has_value() ? target->path : std::string("refused");
  };
  EXPECT_EQ(path("http://127.0.0.1:4318"), "/v1/traces");
  EXPECT_EQ(path("http://localhost:4318/"), "/v1/traces");
  EXPECT_EQ(path("http://[::1]:4318/otlp/traces"), "/otlp/traces");
  for (const char* wrong : {"https://127.0.0.1:4318", "http://collector.example:4318",
                            "127.0.0.1:4318", "", "ftp://x"}) {
    EXPECT_EQ(path(wrong), "refused") << wrong;
  }
}

}  // namespace
}  // namespace berth::server
