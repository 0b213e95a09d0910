// bench/load/host.h — what is measured: berth, or what somebody would use in its place.
#pragma once

#include "server_process.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::bench {

/// The programs under test and their helpers; absolute paths.
struct Programs {
  std::string berth;
  std::string bare;
  std::string agent;
  std::string node_host;  ///< The script of the plain Node host.
  std::string peers;      ///< The folder of the peers' node_modules.
  std::string engine;     ///< BERTH_ENGINE; empty: as berth chooses.
};

/// A request that a host understands.
struct Call {
  std::string method;
  std::string path;
  std::string body;
  std::string headers = {};  ///< Whole lines with CR LF.
};

enum class FrameKind { update, turn_end, change, other };

/// How to start a host's server and to speak with it. All of them are HTTP servers on loopback
/// whose streams are server-sent events. Without state: one serves any number of servers.
class Host {
 public:
  virtual ~Host() = default;

  virtual std::string_view name() const = 0;
  /// What it is, with its version.
  virtual std::string version(const Programs& programs) const = 0;
  /// Why it cannot run here; empty when it can.
  virtual std::string missing(const Programs& programs) const = 0;
  /// `limits`: lines for the table [limits] of berth's configuration; others have none.
  virtual ServerCommand command(const Programs& programs, const std::string& limits) const = 0;

  /// Call number `step` (from 0) of those that open a session with a live agent.
  virtual std::optional<Call> open_call(const std::string& session, int step) const = 0;
  /// `text` needs no escapes.
  virtual Call prompt_call(const std::string& session, const std::string& text) const = 0;
  virtual std::string events_path(const std::string& session) const = 0;

  /// True: a prompt's call is answered when its turn ends.
  virtual bool holds_prompts() const { return false; }
  /// True: the ids of events count from 1 without gaps, and a lost update ends the run. Otherwise
  /// what is lost is counted.
  virtual bool must_be_exact() const { return false; }
  /// True: every turn's end is on the stream.
  virtual bool says_turns() const { return false; }
  /// What a frame of the stream is, without the blank line at its end. The end of an agent counts
  /// as the end of its turn.
  virtual FrameKind kind_of(std::string_view frame) const = 0;
};

/// berth first, then the others in the order of reports.
const std::vector<std::unique_ptr<Host>>& hosts();
/// Nullptr if there is none of that name.
const Host* find_host(std::string_view name);

}  // namespace berth::bench
