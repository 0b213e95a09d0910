// server/cli/first_process.h — berth as the first process of a container, which has to bury the
// children of others.
#pragma once

#include <optional>

namespace berth::server {

/// Where this is the first process of its PID namespace: starts another one to go on in, and stays
/// behind to pass signals on to it and to reap whatever loses its parent. There the exit code comes
/// back once that other one has ended; in it, and everywhere else, nothing. Before any thread.
std::optional<int> run_as_first_process();

}  // namespace berth::server
