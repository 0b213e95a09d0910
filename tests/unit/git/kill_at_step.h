// tests/unit/git/kill_at_step.h — a process that dies by SIGKILL right before the n-th step of a
// git call.
#pragma once

#include <berth/git/steps.h>

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

namespace berth::git::test {

/// In the process that shall die: at the `steps`-th step from now. After all tests of the program a
/// step at which nobody died is a failure.
void die_before(int steps);
/// For Patience::on_step.
void count_down(Step step);

/// Runs `work`, which says whether it went well, in a process of its own; true if it ended before
/// its `steps`-th step came.
template <typename Work>
bool ran_to_its_end(int steps, Work work) {
  const pid_t child = ::fork();
  if (child == 0) {
    die_before(steps);
    ::_exit(work() ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
  return !WIFSIGNALED(status);
}

}  // namespace berth::git::test
