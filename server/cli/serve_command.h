// server/cli/serve_command.h — `berth serve`: runs the server in this process until a signal.
#pragma once

#include <string>

namespace berth::server {

struct ServeOptions {
  std::string state;       ///< Folder; empty = see state_directory_of().
  std::string listen;      ///< Empty = the configuration's.
  std::string config;      ///< TOML file; empty = none.
  std::string log;         ///< "json": a line of JSON for each message; else words.
  bool quiet = false;      ///< Print nothing but errors.
  bool take_over = false;  ///< Wait for the end of a server that has the state.
};

/// SIGINT and SIGTERM end it in order: the turns that run come to their end first, for the time
/// drain_deadline at most; a second signal does not wait for them. So does SIGHUP, unless TLS is
/// served: then it has the certificate read again.
///
/// Returns the exit code: 0 after an orderly end, 1 when the server could not start (the reason is
/// on stderr). Says when it is ready: to a terminal in words with the token, else as one line of
/// JSON
/// {"url","token_file","pid","engine"}.
int serve_command(const ServeOptions& options);

}  // namespace berth::server
