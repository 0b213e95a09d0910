// bench/load/server_process.h — a server under load: started, measured from outside, ended.
#pragma once

#include <sys/types.h>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace berth::bench {

/// How to start a server. Each gets a fresh private folder; "@" at the begin of an argument or of a
/// variable's value stands for it.
struct ServerCommand {
  using Pairs = std::vector<std::pair<std::string, std::string>>;

  /// "%PORT" is a free port, which is then asked for until it answers. Otherwise the server says
  /// itself where it is: its first line is JSON with "url" and maybe "token_file".
  std::vector<std::string> arguments;
  std::string config = {};  ///< What stands in config.toml of the folder.
  Pairs environment = {};
  Pairs copies = {};  ///< A file and its name in the folder.
  Pairs links = {};   ///< What a symbolic link shows, and its name in the folder.
};

/// What the children of a server cost so far: agents that have ended do not count any more.
struct ChildrenCpu {
  std::int64_t agents_ns = 0;
  std::int64_t helpers_ns = 0;  ///< All that are no agents: berth's keeper.
};

/// A running server. Ends the process (SIGTERM, then SIGKILL) and removes its folder when it goes.
class ServerProcess {
 public:
  explicit ServerProcess(ServerCommand command);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  std::uint16_t port() const { return port_; }
  const std::string& token() const { return token_; }
  pid_t pid() const { return pid_; }
  const std::string& folder() const { return folder_; }
  /// From the start of the program to its being ready.
  double start_ms() const { return start_ms_; }
  /// CPU time of all threads that the process has and had, without its children.
  std::int64_t cpu_ns() const;
  ChildrenCpu children_cpu(const std::string& agent_program) const;
  /// Resident memory, exact.
  std::int64_t rss_bytes() const;
  /// The most that was ever resident.
  std::int64_t rss_peak_bytes() const;
  bool log_contains(const std::string& text) const;
  /// Its agents' process ids.
  std::vector<pid_t> agents(const std::string& agent_program) const;

  /// Ends it in order, at once; its folder stays.
  void stop();
  /// Kills it as nobody expects (SIGKILL); all that it started is gone soon after.
  void kill_hard();
  /// Starts it again, in the same folder.
  void start_again();

 private:
  void start();
  void end();
  void read_ready_line(int fd);

  ServerCommand command_;
  pid_t pid_ = -1;
  clockid_t cpu_clock_ = 0;
  std::string folder_;
  std::string token_;
  std::uint16_t port_ = 0;
  bool port_is_given_ = false;
  double start_ms_ = 0;
};

}  // namespace berth::bench
