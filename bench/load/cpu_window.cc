#include "cpu_window.h"

#include "poller.h"

#include <fcntl.h>
#include <unistd.h>
#include <cstdlib>
#include <optional>
#include <string_view>

namespace berth::bench {

namespace {

/// The two FIFOs of a profiler.
class PerfControl {
 public:
  explicit PerfControl(const std::string& names) {
    const std::size_t space = names.find(' ');
    control_ = ::open(names.substr(0, space).c_str(), O_WRONLY | O_CLOEXEC);
    answers_ = ::open(names.substr(space + 1).c_str(), O_RDONLY | O_CLOEXEC);
    if (control_ < 0 || answers_ < 0) die("BERTH_BENCH_PERF");
  }

  /// Returns when the profiler has done it.
  void tell(std::string_view command) {
    char answer[8];
    if (::write(control_, command.data(), command.size()) < 0 ||
        ::read(answers_, answer, sizeof answer) <= 0) {
      die("the profiler has ended");
    }
  }

 private:
  int control_ = -1;
  int answers_ = -1;
};

/// Nothing when nobody profiles. Open until the program ends.
std::optional<PerfControl>& profiler() {
  static std::optional<PerfControl> control = [] {
    const char* names = std::getenv("BERTH_BENCH_PERF");
    return names == nullptr ? std::nullopt : std::optional<PerfControl>(names);
  }();
  return control;
}

int pauses = 0;

double us_since(std::int64_t begin_ns, std::int64_t end_ns) {
  return static_cast<double>(end_ns - begin_ns) / 1e3;
}

}  // namespace

PerfPause::PerfPause() {
  ++pauses;
}

PerfPause::~PerfPause() {
  --pauses;
}

PerfWindow::PerfWindow() : recording_(pauses == 0 && profiler().has_value()) {
  if (recording_) profiler()->tell("enable\n");
}

PerfWindow::~PerfWindow() {
  if (recording_) profiler()->tell("disable\n");
}

CpuWindow::CpuWindow(const ServerProcess& server, const std::string& agent_program)
    : server_(server),
      agent_program_(agent_program),
      children_(server.children_cpu(agent_program)),
      cpu_ns_(server.cpu_ns()) {}

Spent CpuWindow::so_far() const {
  const std::int64_t cpu_ns = server_.cpu_ns();
  const ChildrenCpu children = server_.children_cpu(agent_program_);
  return {.server_us = us_since(cpu_ns_, cpu_ns),
          .helpers_us = us_since(children_.helpers_ns, children.helpers_ns),
          .agents_us = us_since(children_.agents_ns, children.agents_ns)};
}

}  // namespace berth::bench
