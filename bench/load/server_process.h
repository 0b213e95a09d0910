// bench/load/server_process.h — a server under load: started, measured from outside, ended.
#pragma once

#include <sys/types.h>
#include <cstdint>
#include <string>
#include <vector>

namespace berth::bench {

/// A running `berth serve` or bare loop. Ends the process (SIGTERM, then SIGKILL) and removes its
/// folder when it goes.
class ServerProcess {
 public:
  /// Starts `command` and waits for its ready line, JSON with "url" and maybe "token_file". "@" in
  /// an argument stands for a fresh private folder, in which `config` is config.toml.
  ServerProcess(std::vector<std::string> command, const std::string& config);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  std::uint16_t port() const { return port_; }
  const std::string& token() const { return token_; }
  /// CPU time of all threads that the process has and had, without its children.
  std::int64_t cpu_ns() const;
  /// Resident memory, exact.
  std::int64_t rss_bytes() const;
  bool log_contains(const std::string& text) const;

 private:
  pid_t pid_ = -1;
  clockid_t cpu_clock_ = 0;
  std::string folder_;
  std::string token_;
  std::uint16_t port_ = 0;
};

}  // namespace berth::bench
