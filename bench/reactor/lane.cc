#include "lane.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <new>

namespace {

std::atomic<std::uint64_t> allocations = 0;

double clock_ns(clockid_t clock) {
  timespec now = {};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

}  // namespace

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BERTH_SANITIZED 1
#endif
#endif

#ifndef BERTH_SANITIZED
void* operator new(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
#endif

namespace berth::bench {

double now_ns() {
  return clock_ns(CLOCK_MONOTONIC);
}

void check(bool fine, const char* what) {
  if (fine) return;
  std::perror(what);
  std::exit(1);
}

void pin_to_core(unsigned core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(core, &cores);
  // Fails on a machine without that core: then its threads stay where they are.
  ::sched_setaffinity(0, sizeof cores, &cores);
}

void Meter::start() {
  allocations_at_start_ = allocations.load(std::memory_order_relaxed);
  wall_at_start_ = now_ns();
  cpu_at_start_ = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

void Meter::stop(std::uint64_t messages) {
  sample_.cpu_ns += clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_at_start_;
  sample_.wall_ns += now_ns() - wall_at_start_;
  sample_.allocations += allocations.load(std::memory_order_relaxed) - allocations_at_start_;
  sample_.messages += messages;
}

void add_quantiles(Sample& sample, std::vector<double>& round_trips) {
  check(!round_trips.empty(), "no round trips");
  std::sort(round_trips.begin(), round_trips.end());
  sample.p50_ns = round_trips[round_trips.size() / 2];
  sample.p99_ns = round_trips[round_trips.size() * 99 / 100];
}

int serve_lane(std::string_view scenario_name, std::string_view contestant) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  rlimit limit = {};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  const Scenario* scenario = find_scenario(scenario_name);
  check(scenario != nullptr, "no such scenario");
  const std::unique_ptr<Lane> lane = make_lane(*scenario, contestant);
  check(lane != nullptr, "no such contestant");
  char request = 0;
  while (::read(kLaneFd, &request, 1) == 1) {
    const Sample sample = lane->round();
    check(::write(kLaneFd, &sample, sizeof sample) == sizeof sample, "answering");
  }
  return 0;
}

}  // namespace berth::bench
