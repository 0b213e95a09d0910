// server/cli/environment.h — the environment variables of this program.
#pragma once

#include <berth/io/platform.h>
#include <berth/io/select.h>

#include <cstdlib>
#include <optional>
#include <string>

namespace berth::server {

class ProgramEnvironment final : public io::Environment {
 public:
  std::optional<std::string> get(const std::string& name) const override {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr || *value == '\0') return std::nullopt;
    return std::string(value);
  }
};

/// $BERTH_ENGINE. Error `invalid` names the variable.
inline Result<io::EngineChoice> engine_from_environment() {
  Result<io::EngineChoice> choice =
      io::parse_engine(ProgramEnvironment().get("BERTH_ENGINE").value_or(""));
  if (!choice.has_value()) choice.error().message = "BERTH_ENGINE: " + choice.error().message;
  return choice;
}

}  // namespace berth::server
