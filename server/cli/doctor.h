// server/cli/doctor.h — what `berth doctor` looks at, and what it can put right.
#pragma once

#include <berth/core/result.h>

#include <functional>
#include <string>
#include <vector>

namespace berth::server {

struct Finding {
  enum class Kind { good, note, bad } kind = Kind::good;
  std::string name;
  std::string text;
};

/// Kernel, memory, limits, control group, disk: what people ask first when something is odd.
std::vector<Finding> look_at_system(const std::string& state);
/// Which of these programs are found in PATH.
Finding look_at_agents(const std::vector<std::pair<std::string, std::string>>& name_and_command);
/// How large the store is, and whether something else could read what is its own.
std::vector<Finding> look_at_state(const std::string& state);

/// Something that is wrong with the state folder, and what mends it.
struct Repair {
  std::string what;
  std::function<Result<void>()> mend;
};
std::vector<Repair> find_repairs(const std::string& state);

}  // namespace berth::server
