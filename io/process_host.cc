#include <berth/io/process_host.h>

namespace berth::inline v0::io {

std::string describe(const ExitStatus& status) {
  switch (status.kind) {
    case ExitStatus::Kind::exited:
      return "exit code " + std::to_string(status.value);
    case ExitStatus::Kind::killed:
      break;
  }
  if (status.value == 0) return "killed (no status was recorded)";
  return "killed by signal " + std::to_string(status.value);
}

}  // namespace berth::inline v0::io
