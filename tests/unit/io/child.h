// tests/unit/io/child.h — a child process under test with its output collected, and what can be
// counted of processes.
#pragma once

#include "loop.h"

#include <berth/io/proc_fs.h>
#include <berth/io/process_host.h>
#include <berth/io/process_tree.h>

#include <gtest/gtest.h>
#include <sys/uio.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::inline v0::io {

/// Tags of this run only: tests of two checkouts may run side by side.
inline std::string test_tag(const std::string& name) {
  return "test-" + std::to_string(::getpid()) + "-" + name;
}

inline LaunchSpec shell(const std::string& script) {
  LaunchSpec spec;
  spec.command = "/bin/sh";
  spec.arguments = {"-c", script};
  spec.environment = {{"PATH", "/usr/bin:/bin"}};
  spec.working_directory = "/";
  spec.tag = test_tag("sh");
  return spec;
}

/// Running processes with a marker that begins with `prefix`.
inline std::vector<ProcessId> marked(const std::string& prefix) {
  std::vector<ProcessId> found;
  const ProcessList list = list_processes().value();
  for (const ProcStat& process : list.processes) {
    if (process.ended()) continue;
    const Variable marker = read_environment_of(process.id.pid, kMarkerName);
    if (marker.lookup == Lookup::found && marker.value.starts_with(prefix))
      found.push_back(process.id);
  }
  return found;
}

class Collector final : public ReadOp {
 public:
  void on_read(std::span<char> bytes) override { text.append(bytes.data(), bytes.size()); }
  void on_read_end(int) override { ended = true; }
  std::string text;
  bool ended = false;
};

/// Spawns, collects stdout and stderr, notes the exit; leaves nothing behind when it goes.
class Child final : public ProcessListener {
 public:
  Child(Loop& loop, ProcessHost& host, const LaunchSpec& spec) : loop_(loop) {
    Result<std::unique_ptr<Process>> spawned = host.spawn(loop.reactor(), spec, *this);
    if (!spawned.has_value()) {
      error = std::move(spawned.error());
      return;
    }
    process = std::move(*spawned);
    stdin_ = process->stdin_handle;
    out.handle = process->stdout_handle;
    loop.reactor().start(out);
  }
  ~Child() {
    process.reset();
    if (out.started()) loop_.reactor().cancel(out);
    BERTH_ASSERT(loop_.run_until([this] { return !out.started(); }));
    close_stdin();
    if (out.handle != kNoHandle) loop_.reactor().close(out.handle);
  }

  void on_started() override {
    EXPECT_FALSE(started || failed || status.has_value());
    started = true;
    id = process->id();
    if (at_start) at_start();
  }
  void on_start_failed(Error why) override {
    EXPECT_FALSE(started || failed || status.has_value());
    failed = true;
    error = std::move(why);
    if (at_failure) at_failure();
  }
  void on_stderr(std::string_view bytes) override {
    EXPECT_TRUE(started && !status.has_value()) << "the end is the last word";
    err += bytes;
    if (at_stderr) at_stderr();
  }
  void on_exit(ExitStatus ended) override {
    EXPECT_TRUE(started && !failed && !status.has_value());
    status = ended;
    if (at_exit) at_exit();
  }

  void write(std::string text) {
    struct Write final : WriteOp {
      void on_written(int) override { done = true; }
      bool done = false;
    } write;
    iovec part = {text.data(), text.size()};
    write.handle = stdin_;
    write.parts = {&part, 1};
    loop_.reactor().start(write);
    BERTH_ASSERT(loop_.run_until([&write] { return write.done; }));
  }
  void close_stdin() {
    if (stdin_ != kNoHandle) loop_.reactor().close(std::exchange(stdin_, kNoHandle));
  }
  /// Whether it has been started; else `error` says why not.
  bool start() {
    if (process == nullptr) return false;
    BERTH_ASSERT(loop_.run_until([this] { return started || failed; }));
    return started;
  }
  /// All output has been read and the exit was told.
  bool finish() {
    return loop_.run_until([this] { return status.has_value() && out.ended; });
  }
  bool wait_for_output(const std::string& text) {
    return loop_.run_until(
        [this, &text] { return started && out.text.find(text) != std::string::npos; });
  }

  std::unique_ptr<Process> process;
  ProcessId id;
  Error error;
  Collector out;
  std::string err;
  bool started = false;
  bool failed = false;
  std::optional<ExitStatus> status;
  std::function<void()> at_start;
  std::function<void()> at_failure;
  std::function<void()> at_stderr;
  std::function<void()> at_exit;

 private:
  Loop& loop_;
  Handle stdin_ = kNoHandle;
};

}  // namespace berth::inline v0::io
