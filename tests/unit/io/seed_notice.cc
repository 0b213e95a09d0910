#include "seed_notice.h"

#include <unistd.h>
#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>

namespace berth::inline v0::io {

namespace {

std::array<char, 64> notice = {};
volatile std::sig_atomic_t notice_size = 0;

// Only what a signal handler may: the text was made before.
extern "C" void tell_seed(int signal_number) {
  [[maybe_unused]] const ssize_t written =
      ::write(2, notice.data(), static_cast<std::size_t>(notice_size));
  ::signal(signal_number, SIG_DFL);
  ::raise(signal_number);
}

}  // namespace

void announce_seed(std::uint64_t seed) {
  notice_size = 0;
  const int size = std::snprintf(notice.data(), notice.size(), "died at seed %llu\n",
                                 static_cast<unsigned long long>(seed));
  notice_size = std::min(size, static_cast<int>(notice.size()) - 1);
  ::signal(SIGABRT, tell_seed);
  ::signal(SIGSEGV, tell_seed);
}

}  // namespace berth::inline v0::io
