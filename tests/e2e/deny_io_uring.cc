// deny_io_uring PROGRAM ARGUMENT... — runs a program under a seccomp filter that answers EPERM to
// the system calls of io_uring, as the default profile of Docker does.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>

namespace {

constexpr unsigned kLoadWord = BPF_LD | BPF_W | BPF_ABS;
constexpr unsigned kSkipUnlessEqual = BPF_JMP | BPF_JEQ | BPF_K;
constexpr unsigned kSkipUnlessAtLeast = BPF_JMP | BPF_JGE | BPF_K;
constexpr unsigned kAnswer = BPF_RET | BPF_K;

#if defined(__x86_64__)
constexpr unsigned kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr unsigned kArchitecture = AUDIT_ARCH_AARCH64;
#endif

constexpr sock_filter step(unsigned code, unsigned value, unsigned char then = 0,
                           unsigned char otherwise = 0) {
  return sock_filter{static_cast<unsigned short>(code), then, otherwise, value};
}

// io_uring_setup, io_uring_enter and io_uring_register are neighbours in every table.
static_assert(SYS_io_uring_enter == SYS_io_uring_setup + 1 &&
              SYS_io_uring_register == SYS_io_uring_setup + 2);

bool deny() {
  std::array filter = {
      step(kLoadWord, offsetof(seccomp_data, arch)),
      step(kSkipUnlessEqual, kArchitecture, 0, 4),
      step(kLoadWord, offsetof(seccomp_data, nr)),
      step(kSkipUnlessAtLeast, SYS_io_uring_setup, 0, 2),
      step(kSkipUnlessAtLeast, SYS_io_uring_register + 1, 1, 0),
      step(kAnswer, SECCOMP_RET_ERRNO | EPERM),
      step(kAnswer, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {static_cast<unsigned short>(filter.size()), filter.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  if (!deny()) {
    std::perror("deny_io_uring: no filter");
    return 1;
  }
  ::execvp(argv[1], argv + 1);
  std::perror(argv[1]);
  return 127;
}
