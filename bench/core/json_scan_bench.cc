// bench/core/json_scan_bench.cc — the scanner against the DOM parser of simdjson, on the same
// lines.
//
//   ninja -C build bench/core/json_scan_bench && build/bench/core/json_scan_bench
#include <benchmark/benchmark.h>
#include <berth/core/json_scan.h>
#include <berth/core/ndjson.h>
#include <simdjson.h>

#include <string>

namespace {

/// An agent_message_chunk of `size` bytes; `escapes` puts one \n into every 40 bytes of text, as
/// Markdown has.
std::string chunk_line(std::size_t size, bool escapes) {
  const std::string head =
      R"({"jsonrpc":"2.0","method":"session/update","params":{"sessionId":)"
      R"("0199a4c2-7d3e-7b11-9f0a-5d2c8e6b1a47","update":{"sessionUpdate":"agent_message_chunk",)"
      R"("messageId":"msg_01XyZ0123456789abcdef","content":{"type":"text","text":")";
  const std::string tail = R"("}},"_meta":{"seq":1234,"at":1763701200.25,"final":false}}})";
  std::string text;
  while (head.size() + text.size() + tail.size() < size) {
    text += escapes && text.size() % 40 == 38 ? "\\n" : "x";
  }
  return head + text + tail;
}

/// A tool_call_update with many small tokens.
std::string tool_line() {
  return R"({"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"0199a4c2-7d3e-7b11",)"
         R"("update":{"sessionUpdate":"tool_call_update","toolCallId":"toolu_01A","status":)"
         R"("completed","kind":"edit","title":"Edit src/main.cc","locations":[{"path":)"
         R"("/w/src/main.cc","line":12},{"path":"/w/src/a.cc","line":7}],"content":[{"type":)"
         R"("diff","path":"/w/a.cc","oldText":"int a;\n","newText":"int b;\nint c;\n"}],)"
         R"("rawInput":{"edits":[{"old":"a","new":"b","count":1}],"dry":false,"n":[1,2,3]}}}})";
}

std::string line_of(std::int64_t which) {
  if (which == 0) return tool_line();
  return chunk_line(static_cast<std::size_t>(which), true);
}

void scan(benchmark::State& state) {
  std::string line = line_of(state.range(0));
  const std::size_t size = line.size();
  line.append(berth::kLinePadding, ' ');
  berth::JsonScanner scanner;
  for (auto _ : state) {
    auto result = scanner.scan_line({line.data(), size});
    if (!result) state.SkipWithError("refused");
    benchmark::DoNotOptimize(result);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(size));
  state.counters["line"] = static_cast<double>(size);
}

/// Parsing alone: no field is read, so this favours the DOM.
void dom(benchmark::State& state) {
  std::string line = line_of(state.range(0));
  const std::size_t size = line.size();
  line.append(simdjson::SIMDJSON_PADDING, ' ');
  simdjson::dom::parser parser;
  for (auto _ : state) {
    auto result = parser.parse(line.data(), size, false);
    if (result.error() != simdjson::SUCCESS) state.SkipWithError("refused");
    benchmark::DoNotOptimize(result);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(size));
}

/// Four fields and the slice of params, on demand: most of the line is not validated.
void on_demand(benchmark::State& state) {
  std::string line = line_of(state.range(0));
  const std::size_t size = line.size();
  line.append(simdjson::SIMDJSON_PADDING, ' ');
  simdjson::ondemand::parser parser;
  for (auto _ : state) {
    simdjson::ondemand::document document;
    std::string_view method;
    std::string_view session;
    std::string_view kind;
    auto error = parser.iterate(line.data(), size, line.size()).get(document);
    if (error == simdjson::SUCCESS) error = document.find_field("method").get(method);
    simdjson::ondemand::object params;
    if (error == simdjson::SUCCESS) error = document.find_field("params").get(params);
    if (error == simdjson::SUCCESS) error = params.find_field("sessionId").get(session);
    simdjson::ondemand::object update;
    if (error == simdjson::SUCCESS) error = params.find_field("update").get(update);
    if (error == simdjson::SUCCESS) error = update.find_field("sessionUpdate").get(kind);
    benchmark::DoNotOptimize(kind);
    if (error != simdjson::SUCCESS) state.SkipWithError("refused");
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(size));
}

// The argument is the size of the line; 0 stands for the line with many tokens.
BENCHMARK(scan)->Arg(485)->Arg(0)->Arg(2048)->Arg(65536)->Arg(10 << 20);
BENCHMARK(dom)->Arg(485)->Arg(0)->Arg(2048)->Arg(65536)->Arg(10 << 20);
BENCHMARK(on_demand)->Arg(485)->Arg(0)->Arg(2048)->Arg(65536);

}  // namespace

BENCHMARK_MAIN();
