// server/cli/commands.h — the commands behind the parser: options in, exit code out.
#pragma once

#include <berth/server/cli/remote.h>
#include <berth/server/cli/serve_command.h>
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
  std::string fetch;
  std::string directory;
  std::string workspace;
  std::string title;
  std::string permission;
};
int session_new_command(const GlobalOptions& global, const SessionNewOptions& options);
int session_list_command(const GlobalOptions& global, int limit);
int session_show_command(const GlobalOptions& global, const std::string& id);
int session_close_command(const GlobalOptions& global, const std::string& id);
int session_transcript_command(const GlobalOptions& global, const std::string& id);
/// `verb`: revive, archive or unarchive.
int session_state_command(const GlobalOptions& global, const std::string& id,
                          const std::string& verb);
int session_delete_command(const GlobalOptions& global, const std::string& id, bool force);
/// Cancels the running turn.
int session_cancel_command(const GlobalOptions& global, const std::string& id);

struct PromptOptions {
  std::string session;
  std::vector<std::string> words;  ///< None, or a single `-`: the prompt is read from stdin.
  std::string agent;
  std::string on_busy;
  std::string idempotency_key;
  double timeout_seconds = 0;     ///< 0: waits as long as it takes.
  double time_limit_seconds = 0;  ///< Of the turn itself; 0: what its profile says.
  bool detach = false;            ///< Returns when the prompt is accepted.
};
int prompt_command(const GlobalOptions& global, const PromptOptions& options);

struct AttachOptions {
  std::string session;
  /// Sequence number to begin behind; absent: at the running turn's start, or now.
  std::optional<std::uint64_t> after;
  /// Begin with the last so many events, whatever `after` says.
  std::optional<std::uint64_t> last;
  bool follow = true;       ///< Else: up to the newest event.
  bool post_lines = false;  ///< Lines of stdin are prompts, also of a pipe.
};
int attach_command(const GlobalOptions& global, const AttachOptions& options);

struct DiffOptions {
  std::string session;
  std::string path;
  std::string from;  ///< "base", "latest", "turn:N", "before:N" or N.
  std::string to;
  bool stat = false;  ///< The list of files only.
  bool mail = false;  ///< As `git am` takes it.
};
int diff_command(const GlobalOptions& global, const DiffOptions& options);

struct ApplyOptions {
  std::string session;
  std::vector<std::string> paths;
  std::string branch;
  std::string checkout;
  std::string message;
  std::string author;  ///< "Name <mail>"
  bool dry_run = false;
};
int apply_command(const GlobalOptions& global, const ApplyOptions& options);

struct RestoreOptions {
  std::string session;
  std::int64_t turn = 0;  ///< Not for discard.
  std::vector<std::string> paths;
  bool dry_run = false;
};
int discard_command(const GlobalOptions& global, const RestoreOptions& options);
int restore_command(const GlobalOptions& global, const RestoreOptions& options);

struct ReapOptions {
  bool really = false;
  std::int64_t age_min_s = 3600;
};
/// What no session needs any more, as the running server sees it.
int reap_command(const GlobalOptions& global, const ReapOptions& options);

struct BatchOptions {
  std::string tasks;       ///< File with a task a line.
  std::string output;      ///< Empty: beside the tasks.
  std::string run;         ///< Name of the run; empty: that of the output, or a new one.
  std::string repository;  ///< These are for tasks that do not say.
  std::string agent;
  std::string model_name;
  std::string permission = "reject";
  double timeout_s = 0;
  double server_wait_s = 120;  ///< How long a server that does not answer is waited for.
  int concurrency = 4;
  int attempts = 3;  ///< At a task whose agent or server dies under it.
  bool retry_failed = false;
  bool keep = false;  ///< Sessions stay open.
};
/// Gives every task a prediction, from where an earlier call with the same output came to.
int batch_command(const GlobalOptions& global, const BatchOptions& options);

struct AcpOptions {
  std::string agent;       ///< Of new sessions; empty: the server's default.
  std::string permission;  ///< Of new sessions; empty: ask.
  bool worktree = false;   ///< New sessions work in a worktree of the editor's folder.
};
/// Speaks the Agent Client Protocol on stdin and stdout until stdin ends.
int acp_command(const GlobalOptions& global, const AcpOptions& options);

struct PermitOptions {
  std::string session;
  std::string interaction;  ///< Empty: the only open one; without an answer: list them.
  std::string option;
  bool allow = false;
  bool reject = false;
  bool cancel = false;
  std::string accept;  ///< Content of a form or result of a client tool, a JSON object.
  bool decline = false;
  bool all = false;  ///< Every open question, together.
};
int permit_command(const GlobalOptions& global, const PermitOptions& options);

int agent_list_command(const GlobalOptions& global, const std::string& session);
int agent_probe_command(const GlobalOptions& global, const std::string& agent);
/// `choice` is retry, history or fail.
int agent_decide_command(const GlobalOptions& global, const std::string& session,
                         const std::string& agent, const std::string& choice);

struct NamedStartOptions {
  std::string name;
  std::string profile;
  std::string provider;
  std::string model;
  std::string repository;
  std::string base;
  std::string directory;
  std::string permission;
  std::vector<std::string> arguments;
};
int named_start_command(const GlobalOptions& global, const NamedStartOptions& options);
/// `verb`: stop, restart or reset; `now`: without waiting for the running turn.
int named_verb_command(const GlobalOptions& global, const std::string& name,
                       const std::string& verb, bool now);
int named_remove_command(const GlobalOptions& global, const std::string& name, bool force,
                         bool purge);
/// Of all when `name` is empty.
int named_status_command(const GlobalOptions& global, const std::string& name);
/// As for sessions; `session` is the agent's name.
int named_prompt_command(const GlobalOptions& global, const PromptOptions& options);
int named_attach_command(const GlobalOptions& global, const AttachOptions& options);
struct UnitOptions {
  std::string name;    ///< Empty: the unit of berth itself.
  std::string config;  ///< Of that one.
};
/// Prints a unit of systemd.
int named_unit_command(const GlobalOptions& global, const UnitOptions& options);

/// Makes a path absolute where it is not empty (the server may run in another folder); complains
/// and gives false when there is nothing at it.
bool make_absolute(Terminal& terminal, std::string& path);

/// What `berth serve` with these options would go by.
int config_print_command(const GlobalOptions& global, const ServeOptions& options);

/// What this machine can do, and whether a server runs. 0 when everything that berth needs is
/// there.
int doctor_command(const GlobalOptions& global);
/// Puts right what is wrong with the state folder; not `really`: only says it.
int doctor_fix_command(const GlobalOptions& global, bool really);
int version_command(const GlobalOptions& global);

struct TokenCreateOptions {
  std::string name;
  std::vector<std::string> scopes;
  std::string project;
  double days = 0;  ///< 0: until it is revoked.
};
/// Prints the token, which nobody can do again.
int token_create_command(const GlobalOptions& global, const TokenCreateOptions& options);
int token_list_command(const GlobalOptions& global);
int token_revoke_command(const GlobalOptions& global, const std::string& id);

/// The store as a whole. All but the backup want that no server runs on it. `from`: a file, such as
/// a backup, instead of the store of the state folder.
int store_backup_command(const GlobalOptions& global, const std::string& file);
int store_export_command(const GlobalOptions& global, const std::string& from);
int store_import_command(const GlobalOptions& global);
int store_check_command(const GlobalOptions& global, const std::string& from);

struct BenchOptions {
  std::string scenarios;  ///< Names with commas between; empty: all.
  std::string against;    ///< Hosts, likewise.
  std::string engine;     ///< Of berth; empty: as it chooses.
  std::string peers;      ///< Folder of their packages; empty: where they are installed.
  std::string json;       ///< File of the results; empty: none.
  int runs = 1;
  bool list = false;
};
/// Becomes the program berth-bench (bench/load); comes back when there is none.
int bench_command(const GlobalOptions& global, const BenchOptions& options);

/// Prints the contract of the HTTP API, or with `routes` the route table (method, pattern,
/// scope) that it must agree with.
int openapi_command(bool routes);

}  // namespace berth::server
