// io/process_keeper.h — the ProcessHost that lets a small helper program keep its children.
#pragma once

#include <berth/core/log.h>
#include <berth/core/result.h>
#include <berth/io/process_direct.h>
#include <berth/io/process_host.h>

#include <chrono>
#include <memory>
#include <string>

namespace berth::inline v0::io {

struct KeeperOptions {
  /// As for the direct host.
  DirectOptions processes;
  /// The helper program; empty: see find_keeper().
  std::string program;
  /// A keeper that is asked for a start and says nothing for so long is stopped or stuck: it counts
  /// as lost, and what it kept is ended.
  Duration silence_max = std::chrono::seconds(10);
};

/// Where berth-keeper is; blocks for a few looks at the file system. Error `not_found`
/// ("no_keeper").
Result<std::string> find_keeper();

/// The server's default: nothing of what it starts survives this program, whatever ends it. The
/// helper is the subreaper of all of them and kills their trees when its socket to us closes,
/// kill -9 of us included; see io/keeper.h. Starts cost the same however large this program is.
///
/// Costs per child: 2 descriptors on our side (stdin and stdout), 2 in the keeper, which reads its
/// stderr and passes the bytes on: it keeps none, so a child whose words we do not take waits. Per
/// reactor that spawns: one socket here, two descriptors there. The keeper raises its soft limit of
/// open files to the hard one. The keeper has the user, limits, umask and namespaces that this
/// program had when it made the host.
///
/// If the keeper itself dies (somebody killed it), its children die with it, the rest of their
/// trees is looked for and killed by us, listeners hear "killed" or, of starts under way, that they
/// failed (`unavailable`, "keeper_lost"), and the next spawn starts a new one: the same error if
/// that fails.
///
/// What cannot be caught while its tree's agent lives on, without control groups: a daemon that
/// left its session, whose parents are gone and that has wiped its environment. It ends when no
/// tree is left, or with this program.
///
/// `log` and the reactors outlive the host. Destroy it outside of run(): children that are left are
/// killed, and it waits for the keeper's end (5 s at most).
Result<std::unique_ptr<ProcessHost>> make_keeper_process_host(LogSink& log,
                                                              const KeeperOptions& options = {});

}  // namespace berth::inline v0::io
