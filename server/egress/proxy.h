// server/egress/proxy.h — the only way out of a sandbox: an HTTP proxy on UNIX sockets that lets
// through what is listed.
#pragma once

#include <berth/core/log.h>
#include <berth/core/scope.h>
#include <berth/core/sync.h>
#include <berth/io/platform.h>
#include <berth/server/egress/policy.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server::egress {

struct Limits {
  std::size_t connections_max = 64;         ///< Of one door; what is more is closed at once.
  std::size_t connections_total_max = 512;  ///< Of all doors.
  /// At once; the others wait. A silent name server holds a thread of the lane of small files.
  std::size_t lookups_max = 2;
  std::size_t head_bytes_max = 16 * 1024;
  Duration head_timeout = std::chrono::seconds(15);
  Duration connect_timeout = std::chrono::seconds(20);
  Duration idle_timeout = std::chrono::minutes(10);  ///< Without a byte in either direction.
};

struct Stats {
  std::uint64_t doors = 0;        ///< Open now.
  std::uint64_t connections = 0;  ///< Open now.
  std::uint64_t allowed = 0;
  std::uint64_t denied = 0;
  std::uint64_t failed = 0;      ///< Allowed, and then not reached.
  std::uint64_t overloaded = 0;  ///< Turned away by the two limits.
  std::uint64_t bytes_out = 0;
  std::uint64_t bytes_in = 0;
};

/// What who is behind a door wanted and did not get.
struct Denial {
  std::string_view key;    ///< Of the door.
  std::string_view agent;  ///< Of the door.
  std::string target;      ///< host:port
  std::string reason;
};

/// One listening socket; who can connect to it is who it was made for, so nobody has to prove who
/// he is. Closed, with its connections, when it is dropped.
class Door {
 public:
  virtual ~Door() = default;
  virtual const std::string& path() const = 0;
};

/// Names are resolved here, on an offload lane; a name that leads to an address which is not public
/// is refused unless that very host and port are listed. On the reactor, no thread of its own. The
/// references outlive it; await shutdown() before it goes, with all doors dropped.
class Proxy {
 public:
  /// Sockets are made in `folder`, which exists, is berth's user's alone, and was emptied.
  Proxy(io::Platform& platform, LogSink& log, std::string folder, Limits limits);
  ~Proxy();

  struct DoorSpec {
    std::string key;    ///< Of the session.
    std::string agent;  ///< Its profile.
    std::vector<Pattern> allowed;
  };
  /// Errors: of listening.
  Result<std::shared_ptr<Door>> open(DoorSpec spec);

  /// Hears of denials; of each target once a door. On the reactor's thread.
  void on_denial(std::function<void(const Denial&)> heard) { heard_ = std::move(heard); }

  const Stats& stats() const { return stats_; }
  Task<void> shutdown();

 private:
  class Listening;
  class OpenDoor;
  class Conversation;

  void take(io::Handle connection, const std::shared_ptr<Listening>& door);
  Task<void> accept(std::shared_ptr<Listening> door);
  Task<void> serve(io::Handle connection, std::shared_ptr<Listening> door);
  Task<Result<io::Handle>> reach(const Request* request, const Listening* door, StopToken stop);
  Task<Result<std::vector<io::Address>>> look_up(std::string target, StopToken stop);
  void tell(Listening& door, const Request& request, const std::string& reason);

  io::Platform& platform_;
  io::Reactor& reactor_;
  LogSink& log_;
  std::string folder_;
  Limits limits_;
  Stats stats_;
  std::uint64_t next_number_ = 1;
  std::size_t lookups_ = 0;
  Event lookup_ended_;
  std::function<void(const Denial&)> heard_;
  Scope scope_;
};

}  // namespace berth::server::egress
