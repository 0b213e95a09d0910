// bench/reactor/uring_choices.h — what the ring could do in one way or another, measured side by
// side: the figures of docs/decisions.
#pragma once

#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace berth::bench {

/// One way of doing it.
class Way {
 public:
  virtual ~Way() = default;
  /// Does a round, prepares and tidies outside of the clock, returns ns for an item.
  virtual double round() = 0;
};

struct NamedWay {
  std::string name;
  std::unique_ptr<Way> way;
};

struct Choice {
  std::string name;
  std::string item;  // what the ns are for
  std::function<std::vector<NamedWay>()> make;
};

std::vector<Choice> socket_choices();   // uring_choices_sockets.cc
std::vector<Choice> receive_choices();  // uring_choices_reactor.cc
std::vector<Choice> file_choices();     // uring_choices_files.cc

inline double now_ns(clockid_t clock) {
  timespec time = {};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}
/// CPU of this process, its kernel workers included.
inline double cpu_ns() {
  return now_ns(CLOCK_PROCESS_CPUTIME_ID);
}

}  // namespace berth::bench
