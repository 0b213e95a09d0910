#include <berth/io/uring_probe.h>

#include <berth/io/uring_ring.h>

#include <fcntl.h>
#include <fmt/format.h>
#include <liburing.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>

namespace berth::inline v0::io {

namespace {

struct NeededOpcode {
  int opcode;
  const char* name;
};
constexpr std::array kNeededOpcodes = {
    NeededOpcode{IORING_OP_POLL_ADD, "POLL_ADD"},
    NeededOpcode{IORING_OP_ACCEPT, "ACCEPT"},
    NeededOpcode{IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL"},
};

struct NeededFeature {
  unsigned bit;
  const char* name;
};
constexpr std::array kNeededFeatures = {
    NeededFeature{IORING_FEAT_NODROP, "NODROP"},
    NeededFeature{IORING_FEAT_EXT_ARG, "EXT_ARG"},
    NeededFeature{IORING_FEAT_CQE_SKIP, "CQE_SKIP"},
};

void append_name(std::string& text, const char* name) {
  text += text.empty() ? "the kernel's io_uring lacks " : ", ";
  text += name;
}

std::string explain_eperm(const UringFacts& facts) {
  if (facts.disabled_sysctl == 2) {
    return "io_uring is switched off for everybody: sysctl kernel.io_uring_disabled is 2";
  }
  if (facts.disabled_sysctl == 1) {
    return "io_uring is switched off for unprivileged processes: sysctl kernel.io_uring_disabled "
           "is "
           "1 (CAP_SYS_ADMIN or membership in kernel.io_uring_group is needed)";
  }
  if (facts.seccomp_filter) {
    return "a seccomp filter forbids io_uring, as the default profile of Docker does (run with a "
           "profile that allows io_uring_setup, io_uring_enter and io_uring_register)";
  }
  return "io_uring_setup is not permitted (EPERM), and neither the sysctl nor a seccomp filter "
         "explains it: a security module may";
}

// A multishot poll must answer on a pipe that holds data: the operation that the whole engine
// stands on.
std::string try_multishot_poll(UringRing& ring) {
  std::array<int, 2> pipe_ends = {-1, -1};
  if (::pipe2(pipe_ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    return fmt::format("no pipe for the test: {}", std::strerror(errno));
  }
  std::string problem;
  ring.poll_multishot(pipe_ends[0], POLLIN, 1);
  if (::write(pipe_ends[1], "x", 1) != 1) problem = "cannot write to a pipe";
  ring.enter(std::chrono::seconds(1));
  std::array<Completion, 1> got = {};
  if (ring.reap(got) != 1 || got[0].result < 0 || !got[0].more) {
    problem = "a multishot poll of a pipe gave no event (Linux 5.13 and later have it)";
  }
  ::close(pipe_ends[0]);
  ::close(pipe_ends[1]);
  return problem;
}

}  // namespace

UringFacts read_uring_facts() {
  UringFacts facts;
  int value = 0;
  if (std::ifstream sysctl("/proc/sys/kernel/io_uring_disabled"); sysctl >> value) {
    facts.disabled_sysctl = value;
  }
  std::ifstream status("/proc/thread-self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Seccomp:")) facts.seccomp_filter = line.find('2') != std::string::npos;
  }
  rlimit limit = {};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0) facts.memlock_bytes = limit.rlim_cur;
  return facts;
}

std::string explain_uring_failure(int errno_value, const UringFacts& facts) {
  switch (errno_value) {
    case EPERM:
    case EACCES:
      return explain_eperm(facts);
    case ENOSYS:
      return facts.seccomp_filter
                 ? "the system call io_uring_setup is missing (ENOSYS): a seccomp filter hides it, "
                   "or the kernel was built without io_uring"
                 : "the kernel was built without io_uring (ENOSYS)";
    case EINVAL:
      return "the kernel does not know SINGLE_ISSUER with DEFER_TASKRUN (Linux 6.1 and later do)";
    case ENOMEM:
      return fmt::format(
          "no memory for a ring: RLIMIT_MEMLOCK is {} KiB, which kernels before 5.12 "
          "count rings against",
          facts.memlock_bytes / 1024);
    case EMFILE:
    case ENFILE:
      return "no descriptor left for a ring: raise the limit of open files (RLIMIT_NOFILE)";
    default:
      return fmt::format("io_uring_setup failed: {} (errno {})", std::strerror(errno_value),
                         errno_value);
  }
}

std::string missing_uring_parts(io_uring& ring) {
  std::string missing;
  for (const NeededFeature& feature : kNeededFeatures) {
    if ((ring.features & feature.bit) == 0) append_name(missing, feature.name);
  }
  io_uring_probe* known = io_uring_get_probe_ring(&ring);
  if (known == nullptr) return "the kernel does not list its io_uring operations (REGISTER_PROBE)";
  for (const NeededOpcode& needed : kNeededOpcodes) {
    if (io_uring_opcode_supported(known, needed.opcode) == 0) append_name(missing, needed.name);
  }
  io_uring_free_probe(known);
  return missing;
}

bool uring_has(io_uring& ring, int opcode) {
  io_uring_probe* known = io_uring_get_probe_ring(&ring);
  if (known == nullptr) return false;
  const bool has = io_uring_opcode_supported(known, opcode) != 0;
  io_uring_free_probe(known);
  return has;
}

UringProbe probe_uring() {
  UringProbe probe;
  Result<std::unique_ptr<UringRing>> ring = UringRing::create(UringSizes{8, 16});
  if (!ring.has_value()) {
    probe.reason = ring.error().message;
    return probe;
  }
  probe.reason = try_multishot_poll(**ring);
  probe.usable = probe.reason.empty();
  if (probe.usable) probe.reason = "SINGLE_ISSUER, DEFER_TASKRUN, multishot poll: all there";
  return probe;
}

}  // namespace berth::inline v0::io
