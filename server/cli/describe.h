// server/cli/describe.h — the parser, described: examples and exit codes for its help, and itself
// as data.
#pragma once

#include <berth/server/cli/reference.h>

namespace CLI {
class App;
}

namespace berth::server {

/// Puts example and exit codes below the help of every command.
void add_examples(CLI::App& program);

/// All but what is hidden.
CommandInfo describe(const CLI::App& program);

}  // namespace berth::server
