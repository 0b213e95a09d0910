// server/cli/exit_codes.h — what the commands exit with beyond 0 (done), 1 (it did not work) and 2
// (wrong usage); cli.h and describe.cc tell people.
#pragma once

namespace berth::server {

inline constexpr int kExitTimedOut = 124;     ///< As timeout(1); the turn goes on.
inline constexpr int kExitInterrupted = 130;  ///< As a shell says of SIGINT.

}  // namespace berth::server
