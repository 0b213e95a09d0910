// bench/reactor/lane_process.h — a contestant in a process of its own, asked for rounds.
#pragma once

#include "lane.h"

#include <sys/types.h>
#include <string>

namespace berth::bench {

/// Starts the contestant's program; kills it by its pid when destroyed.
class LaneProcess {
 public:
  /// `folder` is where the programs of this folder are.
  LaneProcess(const std::string& folder, const Scenario& scenario, const Contestant& contestant);
  ~LaneProcess();
  LaneProcess(const LaneProcess&) = delete;
  LaneProcess& operator=(const LaneProcess&) = delete;

  /// One round; ends the program when the lane does not answer in time or lost a message.
  Sample round();

 private:
  const Scenario& scenario_;
  const Contestant& contestant_;
  pid_t pid_ = -1;
  int socket_ = -1;
};

}  // namespace berth::bench
