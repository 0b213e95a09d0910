// tests/unit/io/child.h — a child process under test with its output collected, and what can be
// counted of processes.
#pragma once

#include "loop.h"

#include <berth/io/proc_fs.h>
#include <berth/io/process_host.h>
#include <berth/io/process_tree.h>

#include <sys/uio.h>

#include <functional>
#include <optional>
#include <string>
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
class Child final : public ExitListener {
 public:
  Child(Loop& loop, ProcessHost& host, const LaunchSpec& spec) : loop_(loop) {
    Result<std::unique_ptr<Process>> spawned = host.spawn(loop.reactor(), spec, *this);
    if (!spawned.has_value()) {
      error = std::move(spawned.error());
      return;
    }
    process = std::move(*spawned);
    id = process->id();
    handles_ = {process->stdin_handle, process->stdout_handle, process->stderr_handle};
    out.handle = process->stdout_handle;
    err.handle = process->stderr_handle;
    loop.reactor().start(out);
    loop.reactor().start(err);
  }
  ~Child() {
    process.reset();
    for (Collector* collector : {&out, &err}) {
      if (collector->handle != kNoHandle && !collector->ended) loop_.reactor().cancel(*collector);
    }
    BERTH_ASSERT(loop_.run_until([this] { return !out.started() && !err.started(); }));
    close_stdin();
    for (std::size_t i = 1; i < handles_.size(); ++i) loop_.reactor().close(handles_[i]);
  }

  void on_exit(ExitStatus ended) override {
    status = ended;
    if (at_exit) at_exit();
  }

  void write(std::string text) {
    struct Write final : WriteOp {
      void on_written(int) override { done = true; }
      bool done = false;
    } write;
    iovec part = {text.data(), text.size()};
    write.handle = handles_[0];
    write.parts = {&part, 1};
    loop_.reactor().start(write);
    BERTH_ASSERT(loop_.run_until([&write] { return write.done; }));
  }
  void close_stdin() {
    if (handles_.empty() || handles_[0] == kNoHandle) return;
    const Handle handle = std::exchange(handles_[0], kNoHandle);
    if (handle == handles_[2]) return loop_.reactor().shutdown_write(handle);
    loop_.reactor().close(handle);
  }
  /// All output has been read and the exit was told.
  bool finish() {
    return loop_.run_until([this] { return status.has_value() && out.ended && err.ended; });
  }
  bool wait_for_output(const std::string& text) {
    return loop_.run_until([this, &text] { return out.text.find(text) != std::string::npos; });
  }

  std::unique_ptr<Process> process;
  ProcessId id;
  Error error;
  Collector out;
  Collector err;
  std::optional<ExitStatus> status;
  std::function<void()> at_exit;

 private:
  Loop& loop_;
  std::vector<Handle> handles_;
};

}  // namespace berth::inline v0::io
