// server/agents/command/checkpoints.h — the checkpoints that an agent writes, and the copies that
// berth keeps of them.
#pragma once

#include <berth/core/result.h>
#include <berth/io/platform.h>

#include <cstdint>
#include <string>

namespace berth::server {

/// Two folders: where the agent writes (in place, as agents do: a crash tears them), and where
/// berth keeps copies that are whole, named by number and checksum. Blocking: for a files lane.
struct CheckpointFolders {
  std::string written;  ///< The agent's `--checkpoint-dir`.
  std::string kept;     ///< Ours; agents do not know it.
};

/// Copies the newest checkpoint into `kept` if it is whole and not there yet; all but the last
/// five copies go. False when there is no whole one.
Result<bool> keep_checkpoint(io::Files& files, const CheckpointFolders& folders);

/// What to start the agent from.
struct ChosenCheckpoint {
  std::string path;    ///< For `--resume`; empty: start without.
  std::string reason;  ///< Why it is not the newest that the agent wrote, or why there is none.
};

/// The newest checkpoint if it is whole; else it is set aside as `bad-<ms>-<name>`, and the newest
/// kept copy with the right checksum is put in its place. `now_ms` names what is set aside.
Result<ChosenCheckpoint> choose_checkpoint(io::Files& files, const CheckpointFolders& folders,
                                           std::int64_t now_ms);

}  // namespace berth::server
