// server/cli/commands.h — the commands behind the parser: options in, exit code out.
#pragma once

#include <berth/server/cli/remote.h>
#include <berth/server/cli/terminal.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace berth::server {

struct SessionNewOptions {
  std::string id;
  std::string agent;
  std::string repository;
  std::string base;
  std::string directory;
  std::string title;
  std::string permission;
};
int session_new_command(const GlobalOptions& global, const SessionNewOptions& options);
int session_list_command(const GlobalOptions& global, int limit);
int session_show_command(const GlobalOptions& global, const std::string& id);
int session_close_command(const GlobalOptions& global, const std::string& id);
int session_delete_command(const GlobalOptions& global, const std::string& id, bool force);
/// Cancels the running turn.
int session_cancel_command(const GlobalOptions& global, const std::string& id);

struct PromptOptions {
  std::string session;
  std::vector<std::string> words;  ///< None, or a single `-`: the prompt is read from stdin.
  std::string agent;
  std::string on_busy;
  std::string idempotency_key;
  double timeout_seconds = 0;  ///< 0: waits as long as it takes.
  bool detach = false;         ///< Returns when the prompt is accepted.
};
int prompt_command(const GlobalOptions& global, const PromptOptions& options);

struct AttachOptions {
  std::string session;
  /// Sequence number to begin behind; absent: at the running turn's start, or now.
  std::optional<std::uint64_t> after;
};
int attach_command(const GlobalOptions& global, const AttachOptions& options);

struct DiffOptions {
  std::string session;
  std::string path;
  std::optional<std::int64_t> from;
  std::optional<std::int64_t> to;
  bool stat = false;  ///< The list of files only.
};
int diff_command(const GlobalOptions& global, const DiffOptions& options);

struct PermitOptions {
  std::string session;
  std::string interaction;  ///< Empty: the only open one; without an answer: list them.
  std::string option;
  bool allow = false;
  bool reject = false;
  bool cancel = false;
};
int permit_command(const GlobalOptions& global, const PermitOptions& options);

int agent_list_command(const GlobalOptions& global, const std::string& session);
int agent_probe_command(const GlobalOptions& global, const std::string& agent);

/// What this machine can do, and whether a server runs. 0 when everything that berth needs is
/// there.
int doctor_command(const GlobalOptions& global);
int version_command(const GlobalOptions& global);

}  // namespace berth::server
