#include "path.h"

#include <berth/core/http1.h>
#include <berth/core/json_scan.h>
#include <berth/core/json_writer.h>
#include <berth/core/ndjson.h>
#include <berth/core/scope.h>
#include <berth/core/task.h>

#include "manual_executor.h"

#include <algorithm>
#include <string>

namespace berth::bench {

namespace {

/// About 485 bytes, as most lines of agents are.
const std::string& chunk_line() {
  static const std::string line =
      R"({"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"0199a4c2-7d3e-7b11-)"
      R"(9f0a-5d2c8e6b1a47","update":{"sessionUpdate":"agent_message_chunk","messageId":)"
      R"("msg_01XyZ0123456789abcdef","content":{"type":"text","text":"The quick brown fox jumps )"
      R"(over the lazy dog;\nso says the first line. A second one, \"quoted\", follows it, and )"
      R"(then there is a third, which is somewhat longer than the others were, so that all of )"
      R"(them together are what a model says in one breath.\n"}}}})";
  return line;
}

class ScanLine final : public Work {
 public:
  explicit ScanLine(const std::string& line) : size_(line.size()), line_(line) {
    line_.append(kLinePadding, ' ');
  }
  void run(std::uint64_t times) override {
    for (; times > 0; --times) {
      const ScanResult result = scanner_.scan_line({line_.data(), size_});
      if (!result.has_value()) wrong("a line was refused");
      keep(result);
    }
  }

 private:
  std::size_t size_;
  std::string line_;
  JsonScanner scanner_;
};

std::unique_ptr<Work> scan_chunk() {
  return std::make_unique<ScanLine>(chunk_line());
}
/// Many small tokens.
std::unique_ptr<Work> scan_tool_call() {
  return std::make_unique<ScanLine>(
      R"({"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"0199a4c2-7d3e-7b11",)"
      R"("update":{"sessionUpdate":"tool_call_update","toolCallId":"toolu_01A","status":)"
      R"("completed","kind":"edit","title":"Edit src/main.cc","locations":[{"path":)"
      R"("/w/src/main.cc","line":12},{"path":"/w/src/a.cc","line":7}],"content":[{"type":)"
      R"("diff","path":"/w/a.cc","oldText":"int a;\n","newText":"int b;\nint c;\n"}],)"
      R"("rawInput":{"edits":[{"old":"a","new":"b","count":1}],"dry":false,"n":[1,2,3]}}}})");
}

/// Lines in chunks of 4000 bytes, so that every eighth is joined from two.
class FrameLine final : public Work, private LineSink {
 public:
  FrameLine() {
    for (int i = 0; i < 64; ++i) bytes_ += chunk_line() + "\n";
    bytes_.append(kLinePadding, ' ');
  }
  void run(std::uint64_t times) override {
    for (const std::uint64_t until = lines_ + times; lines_ < until;) {
      const std::size_t size = std::min<std::size_t>(4000, bytes_.size() - kLinePadding - at_);
      framer_.feed({bytes_.data() + at_, size});
      at_ = at_ + size == bytes_.size() - kLinePadding ? 0 : at_ + size;
    }
  }

 private:
  void on_line(Line& line) override {
    keep(line.text());
    ++lines_;
  }
  void on_overlong(std::uint64_t, std::string_view) override { wrong("a line was too long"); }

  std::string bytes_;
  std::size_t at_ = 0;
  std::uint64_t lines_ = 0;
  LineFramer framer_{*this};
};
std::unique_ptr<Work> frame_line() {
  return std::make_unique<FrameLine>();
}

/// An object as the API answers with, of 14 members.
class WriteJson final : public Work {
 public:
  void run(std::uint64_t times) override {
    for (; times > 0; --times) {
      out_.clear();
      JsonWriter writer(out_);
      writer.begin_object().member("id", "0199a4c2-7d3e-7b11-9f0a").member("state", "idle");
      writer.member("title", "Mend the \"parser\"\nand its tests").member_uint64("seq", 18'273);
      writer.key("turn").begin_object().member("id", "t-17").member_int64("number", 17);
      writer.member_bool("queued", false).key("error").null().end_object();
      writer.key("agents").begin_array().string("claude").string("codex").end_array();
      writer.member_raw("usage", R"({"input":1200,"output":340})").key("cost").number(0.25);
      writer.end_object();
      keep(out_);
    }
  }

 private:
  std::string out_;
};
std::unique_ptr<Work> write_json() {
  return std::make_unique<WriteJson>();
}

/// What a browser sends.
class ParseRequest final : public Work {
 public:
  void run(std::uint64_t times) override {
    for (; times > 0; --times) {
      parser_.reset();
      const HttpFeed step = parser_.feed(kRequest);
      if (!step.has_value() || parser_.state() != HttpState::complete) wrong("no request");
      keep(parser_.head());
    }
  }

 private:
  static constexpr std::string_view kRequest =
      "GET /v1/sessions/0199a4c2-7d3e-7b11-9f0a-5d2c8e6b1a47 HTTP/1.1\r\n"
      "Host: 127.0.0.1:8420\r\n"
      "Authorization: Bearer bt_0123456789abcdef0123456789abcdef\r\n"
      "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
      "Accept: application/json\r\nAccept-Language: en-US,en;q=0.5\r\n"
      "Accept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n\r\n";
  HttpRequestParser parser_;
};
std::unique_ptr<Work> parse_request() {
  return std::make_unique<ParseRequest>();
}

/// A child coroutine that suspends, is put into the queue, and is resumed from there.
class SwitchTask final : public Work {
 public:
  void run(std::uint64_t times) override {
    Scope scope(executor_);
    scope.spawn(wait_often(&executor_, times));
    executor_.run_all();
    if (scope.size() != 0) wrong("a task did not end");
  }

 private:
  struct Later {
    Executor& executor;
    ResumeLater resume = {};
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) { resume.arm(executor, handle); }
    void await_resume() const {}
  };
  static Task<void> wait_once(Executor* executor) { co_await Later{*executor}; }
  static Task<void> wait_often(Executor* executor, std::uint64_t times) {
    for (; times > 0; --times) co_await wait_once(executor);
  }
  ManualExecutor executor_;
};
std::unique_ptr<Work> switch_task() {
  return std::make_unique<SwitchTask>();
}

}  // namespace

std::vector<Path> core_paths() {
  return {
      {"scan-chunk", 4'000, scan_chunk},       {"scan-tool-call", 4'000, scan_tool_call},
      {"frame-line", 20'000, frame_line},      {"write-json", 4'000, write_json},
      {"parse-request", 4'000, parse_request}, {"switch-task", 20'000, switch_task},
  };
}

}  // namespace berth::bench
