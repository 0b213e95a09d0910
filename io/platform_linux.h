// io/platform_linux.h — the real operating system behind the one door.
#pragma once

#include <berth/core/log.h>
#include <berth/core/result.h>
#include <berth/io/offload_threads.h>
#include <berth/io/platform.h>
#include <berth/io/process_direct.h>
#include <berth/io/process_keeper.h>
#include <berth/io/select.h>

#include <memory>

namespace berth::inline v0::io {

enum class ProcessKeeping : std::uint8_t {
  direct,  ///< Children of this program: process_direct.h.
  keeper,  ///< By the helper program, so that none survives: process_keeper.h.
};

struct LinuxOptions {
  EngineChoice engine = EngineChoice::automatic;
  OffloadOptions offload;
  ProcessKeeping process_keeping = ProcessKeeping::direct;
  DirectOptions processes;     ///< For both.
  std::string keeper_program;  ///< Empty: find_keeper().
  /// Raises the soft limit of open files to the hard one: an agent takes three or four. Agents
  /// start with the limit that was there before (programs that use select() break above 1024).
  bool raise_descriptor_limit = true;
};

/// Error `unsupported` when the engine that was asked for cannot be had; it says in words why, and
/// what would help. `log` outlives it; it is told the engine, why that one, and how processes are
/// killed.
///
/// Destroy it on the thread that has run the reactor, with nothing of the server left: it kills and
/// reaps the processes, then ends the lanes' queued work, then the reactor goes.
Result<std::unique_ptr<Platform>> make_linux_platform(LogSink& log, const LinuxOptions& options);

}  // namespace berth::inline v0::io
