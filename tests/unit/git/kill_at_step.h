// tests/unit/git/kill_at_step.h — a process that dies by SIGKILL right before a step of a git call.
#pragma once

#include <berth/git/steps.h>

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <optional>

namespace berth::git::test {

/// For Patience::on_step.
void count_down(Step step);
/// The next process dies at the first step before which none of its series died; the number of
/// steps may differ from one to the next. After all tests of the program a step before which nobody
/// ever died is a failure.
void begin_series();
/// In the process that shall die: at this step only.
void die_at(Step step);

namespace detail {

template <typename Work>
bool ended(std::optional<Step> only, Work work) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (only) die_at(*only);
    ::_exit(work() ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
  return !WIFSIGNALED(status);
}

}  // namespace detail

/// Runs `work`, which says whether it went well, in a process of its own, the `number`-th of its
/// series (from 1); true if it found no step to die at any more.
template <typename Work>
bool ran_to_its_end(int number, Work work) {
  if (number == 1) begin_series();
  return detail::ended(std::nullopt, work);
}

/// The same, dying before `step`; true if that did not come.
template <typename Work>
bool ran_without(Step step, Work work) {
  return detail::ended(step, work);
}

}  // namespace berth::git::test
