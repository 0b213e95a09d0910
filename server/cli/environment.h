// server/cli/environment.h — the environment variables of this program.
#pragma once

#include <berth/io/platform.h>

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

}  // namespace berth::server
