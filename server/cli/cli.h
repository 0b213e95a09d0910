// server/cli/cli.h — the command line `berth`: what main() calls.
#pragma once

namespace berth::server {

/// Runs one command. Exit codes: 0 done, 1 it did not work (one line on stderr says why), 2 wrong
/// usage, 124 timed out while the turn goes on, 130 interrupted.
int cli_main(int argc, char** argv);

}  // namespace berth::server
