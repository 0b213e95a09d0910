// server/auth/tickets.h — ways in for one request each: for browsers' EventSource, which sends no
// headers.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/prng.h>
#include <berth/core/result.h>
#include <berth/server/auth/caller.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace berth::server {

/// They are in memory only: a restart ends them, and they live for a minute at most. Kept by hash,
/// as tokens are, so that looking one up tells nothing by its duration. Single-threaded, which is
/// why each is taken once.
class Tickets {
 public:
  struct Limits {
    std::size_t tickets_max = 1024;
    Duration ticket_life = std::chrono::seconds(60);
  };
  Tickets(Random& random, const Clock& clock, Limits limits)
      : random_(random), clock_(clock), limits_(limits) {}

  /// For one GET of `path` by `caller`, who can do nothing but view by it. Error `overloaded`
  /// ("overloaded") naming tickets_max.
  Result<std::string> issue(Caller caller, std::string path);

  /// Who holds this ticket for this path, if it is still good.
  std::optional<Caller> look(std::string_view ticket, std::string_view path) const;
  /// The same, and it is good no more.
  std::optional<Caller> take(std::string_view ticket, std::string_view path);

  Duration life() const { return limits_.ticket_life; }
  std::size_t open() const { return open_.size(); }

 private:
  struct Ticket {
    Caller caller;
    std::string path;
    TimePoint ends{};
  };
  void drop_late();

  Random& random_;
  const Clock& clock_;
  Limits limits_;
  std::map<std::string, Ticket, std::less<>> open_;  // by hash
};

}  // namespace berth::server
