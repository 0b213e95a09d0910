#include <berth/io/uring_probe.h>

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cerrno>
#include <cstddef>

namespace berth::inline v0::io {

namespace {

// As Docker's default profile does: io_uring_setup answers EPERM.
bool forbid_io_uring() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter = {4, program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

[[noreturn]] void probe_under_a_filter() {
  if (!forbid_io_uring()) ::_exit(2);
  const UringProbe probe = probe_uring();
  const std::string answer = probe.reason + "\n";
  [[maybe_unused]] const ssize_t told = ::write(STDERR_FILENO, answer.data(), answer.size());
  ::_exit(probe.usable ? 1 : 0);
}

}  // namespace

TEST(UringProbe, FindsTheRingUsableHere) {
  const UringProbe probe = probe_uring();
  EXPECT_TRUE(probe.usable) << probe.reason;
}

TEST(UringProbe, NamesTheSeccompFilterThatForbidsIt) {
  EXPECT_EXIT(probe_under_a_filter(), testing::ExitedWithCode(0),
              "seccomp filter forbids io_uring");
}

TEST(UringProbe, ExplainsEachKindOfRefusal) {
  struct Case {
    int error;
    UringFacts facts;
    const char* says;
  };
  const Case cases[] = {
      {EPERM, {2, false, 0}, "kernel.io_uring_disabled is 2"},
      {EPERM, {1, false, 0}, "unprivileged"},
      {EPERM, {0, true, 0}, "seccomp"},
      {EPERM, {std::nullopt, false, 0}, "security module"},
      {ENOSYS, {std::nullopt, false, 0}, "without io_uring"},
      {ENOSYS, {std::nullopt, true, 0}, "seccomp"},
      {EINVAL, {0, false, 0}, "DEFER_TASKRUN"},
      {ENOMEM, {0, false, 64 * 1024}, "RLIMIT_MEMLOCK is 64 KiB"},
      {EMFILE, {0, false, 0}, "RLIMIT_NOFILE"},
      {EIO, {0, false, 0}, "errno 5"},
  };
  for (const Case& one : cases) {
    const std::string text = explain_uring_failure(one.error, one.facts);
    EXPECT_NE(text.find(one.says), std::string::npos) << text;
  }
}

}  // namespace berth::inline v0::io
