#include <berth/server/cli/cli.h>

#include <berth/core/version.h>
#include <berth/server/cli/commands.h>
#include <berth/server/cli/describe.h>
#include <berth/server/cli/environment.h>
#include <berth/server/cli/serve_command.h>
#include <berth/server/ops/limits_table.h>
#include <berth/server/sessions/turn_time.h>

#include <CLI/CLI.hpp>

#include <functional>

namespace berth::server {

namespace {

constexpr int kWrongUsage = 2;

/// The parser and what it fills in. The command that was given is in `run` afterwards.
struct CommandLine {
  CLI::App app{
      "berth keeps coding agents ready: sessions that survive clients, agents and restarts.",
      "berth"};
  GlobalOptions global;
  ServeOptions serve;
  SessionNewOptions session_new;
  PromptOptions prompt;
  AttachOptions attach;
  DiffOptions diff;
  ApplyOptions apply;
  RestoreOptions restore;
  ReapOptions reap;
  PermitOptions permit;
  BatchOptions batch;
  AcpOptions acp;
  NamedStartOptions named_start;
  PromptOptions named_prompt;
  AttachOptions named_attach;
  AttachOptions named_logs;
  UnitOptions unit;
  TokenCreateOptions token;
  BenchOptions bench;
  std::string session;
  std::string agent;
  std::string choice;
  std::string file;
  std::string shell;
  int limit = 100;
  bool force = false;
  bool now = false;
  bool reap_wanted = false;
  bool fix_wanted = false;
  bool routes = false;
  std::function<int()> run;

  CLI::App* command(CLI::App& parent, const char* name, const char* help, std::function<int()> fn) {
    CLI::App* made = parent.add_subcommand(name, help);
    made->callback([this, fn = std::move(fn)] { run = fn; });
    return made;
  }
  void add_global();
  void add_serve();
  void add_session();
  void add_prompt();
  void add_review();
  void add_batch();
  void add_acp();
  void add_apply();
  void add_store();
  void add_token();
  void add_named(CLI::App& group);
  void add_named_doors(CLI::App& group);
  void add_rest();
  void add_reference();
  void add_config();
  void add_bench();
};

void CommandLine::add_global() {
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--state", global.state,
                 "the server's folder (default: $BERTH_STATE, "
                 "$XDG_STATE_HOME/berth, ~/.local/state/berth)");
  app.add_option("--url", global.url,
                 "the server's URL (default: $BERTH_URL, or the server that "
                 "runs in the state folder)");
  app.add_option("--token", global.token,
                 "the token (default: $BERTH_TOKEN, or the server's file)");
  app.add_option("--project", global.project,
                 "the project, for a token that is good for all (default: $BERTH_PROJECT, or the "
                 "token's)");
  app.add_option("--ca-file", global.ca_file,
                 "PEM file of the authorities to believe over https (default: $BERTH_CA_FILE, or "
                 "the system's)");
  app.add_flag("--json", global.json, "print JSON");
  app.add_flag("--no-color", global.no_color, "no colours, as with NO_COLOR set");
}

void CommandLine::add_serve() {
  CLI::App* made = command(app, "serve", "run the server until a signal", [this] {
    serve.state = global.state;
    return serve_command(serve);
  });
  made->add_option("--listen", serve.listen, "HOST:PORT or unix:/PATH (default 127.0.0.1:8420)");
  made->add_option("--config", serve.config, "a TOML file (default: $BERTH_CONFIG)");
  made->add_flag("--take-over", serve.take_over,
                 "wait for the end of a server that has this state, then serve");
  made->add_flag("--quiet", serve.quiet, "print nothing but errors");
  made->add_option("--log", serve.log, "how messages are written to stderr (text)")
      ->check(CLI::IsMember({"text", "json"}));
}

void CommandLine::add_session() {
  CLI::App* group = app.add_subcommand("session", "open, list, show, close and delete sessions");
  group->require_subcommand(1);
  CLI::App* made =
      command(*group, "new", "open a session (the same id and options again: the same)",
              [this] { return session_new_command(global, session_new); });
  made->add_option("id", session_new.id, "its name; generated when left out");
  made->add_option("--agent", session_new.agent, "profile of the agent");
  CLI::Option* repository =
      made->add_option("--repo,--repository", session_new.repository,
                       "git repository, a path or a URL: work in a new worktree");
  made->add_option("--base", session_new.base, "revision to start from (default HEAD)")
      ->needs(repository);
  made->add_option("--fetch", session_new.fetch, "of a URL: when its clone is brought up to date")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->needs(repository);
  made->add_option("--dir", session_new.directory, "folder to work in as it is")
      ->excludes(repository);
  made->add_option("--workspace", session_new.workspace, "how the files get there")
      ->check(CLI::IsMember({"worktree", "overlay"}))
      ->needs(repository);
  made->add_option("--title", session_new.title, "a title for people");
  made->add_option("--permission", session_new.permission, "how permission requests are answered")
      ->check(CLI::IsMember({"ask", "allow", "reject"}));

  made = command(*group, "list", "the sessions, newest first",
                 [this] { return session_list_command(global, limit); });
  made->add_option("--limit", limit, "at most so many")->check(CLI::Range(1, 1000));
  const std::pair<const char*, const char*> with_id[] = {
      {"show", "one session"},
      {"close", "stop its agent and remove its worktree if nothing is lost by it"},
      {"delete", "remove it; refused while its worktree holds work"},
      {"cancel", "cancel the running turn"},
      {"revive", "open a closed one again, its worktree as it was"},
      {"archive", "stop its agents and hide it from lists; its worktree stays"},
      {"unarchive", "back from the archive"},
      {"transcript", "its whole story as Markdown, or as JSON"},
  };
  const std::function<int()> functions[] = {
      [this] { return session_show_command(global, session); },
      [this] { return session_close_command(global, session); },
      [this] { return session_delete_command(global, session, force); },
      [this] { return session_cancel_command(global, session); },
      [this] { return session_state_command(global, session, "revive"); },
      [this] { return session_state_command(global, session, "archive"); },
      [this] { return session_state_command(global, session, "unarchive"); },
      [this] { return session_transcript_command(global, session); },
  };
  for (std::size_t i = 0; i < std::size(with_id); ++i) {
    made = command(*group, with_id[i].first, with_id[i].second, functions[i]);
    made->add_option("id", session, "the session")->required();
    if (i == 2) made->add_flag("--force", force, "even so; a salvage commit is kept");
  }
}

void CommandLine::add_prompt() {
  CLI::App* made = command(app, "prompt", "prompt a session and follow the turn to its end",
                           [this] { return prompt_command(global, prompt); });
  made->add_option("session", prompt.session, "the session")->required();
  made->add_option("text", prompt.words, "the prompt; `-` or nothing: from stdin");
  made->add_option("--agent", prompt.agent, "profile of the agent for this turn");
  made->add_option("--on-busy", prompt.on_busy,
                   "when a turn runs: queue (default), steer or reject")
      ->check(CLI::IsMember({"queue", "steer", "reject"}));
  made->add_option("--idempotency-key", prompt.idempotency_key, "the same key is the same turn");
  made->add_option("--timeout", prompt.timeout_seconds,
                   "seconds to follow; then exit with 124 while the turn goes on")
      ->check(CLI::Range(0.0, 1e9));
  made->add_option("--time-limit", prompt.time_limit_seconds,
                   "seconds that the turn may run; then it is stopped and ends expired")
      ->check(CLI::Range(kTurnTimeoutMin, kTurnTimeoutMax));
  made->add_flag("--detach", prompt.detach, "do not follow; print the turn's id");

  made = command(app, "attach",
                 "follow a session live; on a terminal a line is a prompt, a number answers a "
                 "question, Ctrl-C or Ctrl-D detaches",
                 [this] { return attach_command(global, attach); });
  made->add_option("session", attach.session, "the session")->required();
  made->add_option("--after", attach.after, "begin behind this event (0: from the first on)");
}

void CommandLine::add_review() {
  CLI::App* made = command(app, "diff", "what a session changed; into a pipe: the patch alone",
                           [this] { return diff_command(global, diff); });
  made->add_option("session", diff.session, "the session")->required();
  made->add_option("path", diff.path, "only this file");
  made->add_option("--from", diff.from, "a turn's number, before:N, or base (default)");
  made->add_option("--to", diff.to, "a turn's number, before:N, or latest (default)");
  CLI::Option* stat = made->add_flag("--stat", diff.stat, "the list of files only");
  made->add_flag("--mail", diff.mail, "as a mail for git am")->excludes(stat);
  add_apply();

  made = command(app, "permit", "list what waits for an answer, or answer it",
                 [this] { return permit_command(global, permit); });
  made->add_option("session", permit.session, "the session")->required();
  made->add_option("interaction", permit.interaction, "which one (default: the only one)");
  CLI::Option* option = made->add_option("option", permit.option, "the option's id");
  CLI::Option* allow = made->add_flag("--allow", permit.allow, "allow it once")->excludes(option);
  CLI::Option* reject =
      made->add_flag("--reject", permit.reject, "reject it once")->excludes(option, allow);
  CLI::Option* cancel = made->add_flag("--cancel", permit.cancel, "answer that it was cancelled")
                            ->excludes(option, allow, reject);
  CLI::Option* accept = made->add_option("--accept", permit.accept,
                                         "fill in a form, or give a tool's result: a JSON object")
                            ->excludes(option, allow, reject, cancel);
  made->add_flag("--decline", permit.decline, "refuse to fill in a form")
      ->excludes(option, allow, reject, cancel, accept);
  made->add_flag("--all", permit.all, "answer everything that is open, together")->excludes(option);
}

void CommandLine::add_batch() {
  CLI::App* made =
      command(app, "batch", "run many tasks, and keep what each changed as a line of JSON",
              [this] { return batch_command(global, batch); });
  made->add_option("tasks", batch.tasks,
                   "a file with a task a line: {\"instance_id\",\"repository\",\"base_commit\","
                   "\"prompt\",\"agent\",\"timeout\"}")
      ->required();
  made->add_option("-o,--output", batch.output,
                   "the predictions (default: TASKS.predictions.jsonl); what is there already is "
                   "not done again");
  made->add_option("--run", batch.run, "name of the run (default: a new one for a new output)");
  made->add_option("--repo,--repository", batch.repository, "for tasks that name none");
  made->add_option("--agent", batch.agent, "for tasks that name none");
  made->add_option("--model-name", batch.model_name,
                   "model_name_or_path of the predictions (default: the agent)");
  made->add_option("--timeout", batch.timeout_s, "seconds for each task that names none")
      ->check(CLI::Range(0.0, 1e9));
  made->add_option("-j,--concurrency", batch.concurrency, "tasks at once (4)")
      ->check(CLI::Range(1, 1000));
  made->add_option("--permission", batch.permission,
                   "how permission requests are answered (reject)")
      ->check(CLI::IsMember({"ask", "allow", "reject"}));
  made->add_option("--attempts", batch.attempts,
                   "tries at a task whose agent or server dies under it (3)")
      ->check(CLI::Range(1, 100));
  made->add_option("--server-wait", batch.server_wait_s,
                   "seconds to wait for a server that does not answer (120)")
      ->check(CLI::Range(0.0, 1e9));
  made->add_flag("--retry-failed", batch.retry_failed, "try those again that failed before");
  made->add_flag("--keep", batch.keep, "leave the sessions open, with their worktrees");
}

void CommandLine::add_acp() {
  CLI::App* made =
      command(app, "acp", "an ACP agent on stdio, for editors: its sessions live in the server",
              [this] { return acp_command(global, acp); });
  made->add_option("--agent", acp.agent, "profile of the agent of new sessions");
  made->add_flag("--worktree", acp.worktree,
                 "new sessions work in a worktree of the editor's folder, not in it");
  made->add_option("--permission", acp.permission,
                   "how permission requests of new sessions are answered (ask)")
      ->check(CLI::IsMember({"ask", "allow", "reject"}));
}

void CommandLine::add_apply() {
  CLI::App* made = command(app, "apply", "bring a session's change into a branch or working files",
                           [this] { return apply_command(global, apply); });
  made->add_option("session", apply.session, "the session")->required();
  made->add_option("path", apply.paths, "only these files");
  CLI::Option* branch = made->add_option("--branch", apply.branch, "as a commit on this branch");
  made->add_option("--checkout", apply.checkout,
                   "into these working files (default: the session's repository)")
      ->excludes(branch);
  made->add_option("-m,--message", apply.message, "the commit's message")->needs(branch);
  made->add_option("--author", apply.author, "\"Name <mail>\"")->needs(branch);
  made->add_flag("--dry-run", apply.dry_run, "only say what would happen");

  made = command(app, "discard", "undo a session's change in its worktree; it is salvaged",
                 [this] { return discard_command(global, restore); });
  made->add_option("session", restore.session, "the session")->required();
  made->add_option("path", restore.paths, "only these files");
  made->add_flag("--dry-run", restore.dry_run, "only say what would happen");

  made = command(app, "restore", "bring a session's files back to the end of a turn",
                 [this] { return restore_command(global, restore); });
  made->add_option("session", restore.session, "the session")->required();
  made->add_option("turn", restore.turn, "number of the turn (0: the first base)")->required();
  made->add_option("path", restore.paths, "only these files");
  made->add_flag("--dry-run", restore.dry_run, "only say what would happen");
}

void CommandLine::add_store() {
  CLI::App* group = app.add_subcommand("store", "back up, export, import and check the store");
  group->require_subcommand(1);
  CLI::App* made = command(*group, "backup", "copy the store while it is in use, into a new file",
                           [this] { return store_backup_command(global, file); });
  made->add_option("file", file, "the copy, on the server's machine")->required();
  made = command(*group, "export", "everything in the store as lines of JSON, to stdout",
                 [this] { return store_export_command(global, file); });
  const char* const from_help = "a backup (default: the store of the state folder)";
  made->add_option("--from", file, from_help);
  command(*group, "import", "make the state folder's store of an export on stdin",
          [this] { return store_import_command(global); });
  made = command(*group, "check", "look at every page and every event; exits with 1 on damage",
                 [this] { return store_check_command(global, file); });
  made->add_option("--from", file, from_help);
}

void CommandLine::add_token() {
  CLI::App* group = app.add_subcommand("token", "who may come in: make, list and revoke tokens");
  group->require_subcommand(1);
  CLI::App* made = command(*group, "create", "make a token and print it, once",
                           [this] { return token_create_command(global, token); });
  made->add_option("name", token.name, "what it is for")->required();
  made->add_option("--scope", token.scopes, "what it may do; may be repeated")
      ->required()
      ->check(CLI::IsMember({"sessions:view", "sessions:edit", "sessions:run", "admin"}));
  made->add_option("--project", token.project, "where (default: default; admin: everywhere)");
  made->add_option("--days", token.days, "until when (default: until it is revoked)")
      ->check(CLI::Range(0.0, 36500.0));
  command(*group, "list", "the tokens, without their secrets",
          [this] { return token_list_command(global); });
  made = command(*group, "revoke", "end a token, and what runs by it",
                 [this] { return token_revoke_command(global, session); });
  made->add_option("id", session, "its id")->required();
}

void CommandLine::add_named(CLI::App& group) {
  CLI::App* made =
      command(group, "start", "keep an agent running under a name, made if there is none",
              [this] { return named_start_command(global, named_start); });
  made->add_option("name", named_start.name, "[a-z0-9-], at most 64 characters")->required();
  made->add_option("args", named_start.arguments, "behind --: more arguments of the agent");
  made->add_option("--profile", named_start.profile, "the configured agent that it is one of");
  made->add_option("--provider", named_start.provider, "its --provider (default: the profile's)");
  made->add_option("--model", named_start.model, "its --model (default: the profile's)");
  CLI::Option* repository =
      made->add_option("--repo", named_start.repository, "git repository: work in a new worktree");
  made->add_option("--base", named_start.base, "revision to start from")->needs(repository);
  made->add_option("--dir", named_start.directory, "folder to work in as it is")
      ->excludes(repository);
  made->add_option("--permission", named_start.permission, "how permission requests are answered")
      ->check(CLI::IsMember({"ask", "allow", "reject"}));
  const std::pair<const char*, const char*> verbs[] = {
      {"stop", "end an agent after its turn; prompts wait until it is started"},
      {"restart", "stop and start"},
      {"reset", "let an agent forget: its checkpoints are put aside, its log stays"},
  };
  for (const auto& [verb, help] : verbs) {
    made = command(group, verb, help, [this, name = std::string(verb)] {
      return named_verb_command(global, agent, name, now);
    });
    made->add_option("name", agent, "the agent")->required();
    made->add_flag("--now", now, "at once: a running turn is interrupted");
  }
  made = command(group, "rm", "remove a stopped agent, its checkpoints and files; its log stays",
                 [this] { return named_remove_command(global, agent, force, false); });
  made->add_option("name", agent, "the agent")->required();
  made->add_flag("--force", force, "also while it runs");
  made = command(group, "purge", "remove an agent and all that is known of it",
                 [this] { return named_remove_command(global, agent, force, true); });
  made->add_option("name", agent, "the agent")->required();
  made->add_flag("--force", force, "also while it runs");
  add_named_doors(group);
}

void CommandLine::add_named_doors(CLI::App& group) {
  CLI::App* made = command(group, "status", "the named agents, or one",
                           [this] { return named_status_command(global, agent); });
  made->add_option("name", agent, "the agent");
  made = command(group, "logs", "the last events of an agent", [this] {
    if (!named_logs.last) named_logs.last = 50;
    return named_attach_command(global, named_logs);
  });
  named_logs.follow = false;
  made->add_option("name", named_logs.session, "the agent")->required();
  made->add_flag("-f,--follow", named_logs.follow, "and what comes; Ctrl-C ends");
  made->add_option("-n", named_logs.last, "so many events (50)");
  made = command(group, "attach", "follow an agent live and prompt it; Ctrl-C or Ctrl-D detaches",
                 [this] { return named_attach_command(global, named_attach); });
  named_attach.post_lines = true;
  made->add_option("name", named_attach.session, "the agent")->required();
  made = command(group, "prompt", "prompt an agent and follow the turn to its end",
                 [this] { return named_prompt_command(global, named_prompt); });
  made->add_option("name", named_prompt.session, "the agent")->required();
  made->add_option("text", named_prompt.words, "the prompt; `-` or nothing: from stdin");
  made->add_option("--idempotency-key", named_prompt.idempotency_key,
                   "the same key is the same turn");
  made->add_option("--timeout", named_prompt.timeout_seconds,
                   "seconds to follow; then exit with 124 while the turn goes on")
      ->check(CLI::Range(0.0, 1e9));
  made->add_flag("--detach", named_prompt.detach, "do not follow; print the turn's id");
  made = command(group, "unit", "print a systemd unit of an agent, or of berth without a name",
                 [this] { return named_unit_command(global, unit); });
  made->add_option("name", unit.name, "the agent");
  made->add_option("--config", unit.config, "berth's own: the TOML file it is served with");
}

void CommandLine::add_rest() {
  CLI::App* contract = command(app, "openapi", "print the contract of the HTTP API (OpenAPI 3.1)",
                               [this] { return openapi_command(routes); });
  contract->add_flag("--routes", routes)->group("");  // hidden: for tests
  CLI::App* group = app.add_subcommand("agent", "agents: probe them, keep them under names");
  group->require_subcommand(1);
  add_named(*group);
  CLI::App* made = command(*group, "ls", "the agents the server knows, or those of a session",
                           [this] { return agent_list_command(global, session); });
  made->add_option("session", session, "a session");
  made = command(*group, "probe", "start an agent and show what it can do",
                 [this] { return agent_probe_command(global, agent); });
  made->add_option("agent", agent, "the profile")->required();
  made = command(*group, "decide", "choose how an agent goes on that could not be restored",
                 [this] { return agent_decide_command(global, session, agent, choice); });
  made->add_option("session", session, "the session")->required();
  made->add_option("agent", agent, "the profile")->required();
  made->add_option("choice", choice,
                   "retry, history (a new start that is told the story) or fail (the turn)")
      ->required()
      ->check(CLI::IsMember({"retry", "history", "fail"}));
  made = command(app, "doctor", "what this machine can do, and whether a server runs", [this] {
    if (fix_wanted) return doctor_fix_command(global, reap.really);
    return reap_wanted ? reap_command(global, reap) : doctor_command(global);
  });
  CLI::Option* wanted = made->add_flag("--reap", reap_wanted,
                                       "list worktrees and refs that no session needs any more");
  made->add_flag("--fix", fix_wanted, "list what can be put right in the state folder")
      ->excludes(wanted);
  made->add_flag("--yes", reap.really, "and do it: with --reap remove them, with --fix mend it");
  made->add_option("--age", reap.age_min_s, "seconds that younger ones are spared (3600)")
      ->needs(wanted)
      ->check(CLI::NonNegativeNumber);
  command(app, "version", "the version", [this] { return version_command(global); });
  add_config();
  add_reference();
}

void CommandLine::add_bench() {
  CLI::App* made =
      command(app, "bench", "measure berth on this machine, next to other hosts of agents",
              [this] { return bench_command(global, bench); });
  made->add_option("--scenario", bench.scenarios, "NAME,... (default: all)");
  made->add_option("--against", bench.against,
                   "HOST,... or none (default: all that --list shows and that are installed)");
  made->add_option("--runs", bench.runs, "rounds of each scenario (1)")->check(CLI::Range(1, 100));
  made->add_option("--json", bench.json, "write the results into this file");
  made->add_option("--engine", bench.engine, "of berth (default: as it chooses)")
      ->check(CLI::IsMember({"uring", "asio"}));
  made->add_option("--peers", bench.peers,
                   "where the packages of the others are (default: ~/.cache/berth/agents/peers)");
  made->add_flag("--list", bench.list, "only say which scenarios and hosts there are");
}

void CommandLine::add_config() {
  CLI::App* group = app.add_subcommand("config", "what the server is started with");
  group->require_subcommand(1);
  CLI::App* made =
      command(*group, "print", "every value, as TOML, and where it comes from", [this] {
        serve.state = global.state;
        return config_print_command(global, serve);
      });
  made->add_option("--config", serve.config, "a TOML file (default: $BERTH_CONFIG)");
  made->add_option("--listen", serve.listen, "as of serve");
}

/// What is made of the parser itself.
void CommandLine::add_reference() {
  const auto print = [this](const std::string& text) {
    Terminal(global.no_color).write(text);
    return 0;
  };
  CLI::App* made = command(app, "completions", "print a script that completes commands and options",
                           [this, print] {
                             const CommandInfo info = describe(app);
                             if (shell == "bash") return print(bash_completion(info));
                             if (shell == "zsh") return print(zsh_completion(info));
                             return print(fish_completion(info));
                           });
  made->add_option("shell", shell, "whose")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  made = command(app, "reference", "print the documentation of the command line", [this, print] {
    if (shell == "limits") return print(limits_markdown());
    const CommandInfo info = describe(app);
    return print(shell == "man" ? man_page(info, kVersion) : markdown_reference(info));
  });
  made->group("");  // for the build, and for the page in docs
  made->add_option("form", shell, "which")
      ->required()
      ->check(CLI::IsMember({"man", "markdown", "limits"}));
}

}  // namespace

int cli_main(int argc, char** argv) {
  CommandLine line;
  line.add_global();
  line.add_serve();
  line.add_session();
  line.add_prompt();
  line.add_review();
  line.add_batch();
  line.add_acp();
  line.add_store();
  line.add_token();
  line.add_bench();
  line.add_rest();
  add_examples(line.app);
  try {
    line.app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = line.app.exit(error);  // prints the help or what is wrong
    return code == 0 ? 0 : kWrongUsage;
  }
  if (ProgramEnvironment().get("NO_COLOR")) line.global.no_color = true;
  return line.run();
}

}  // namespace berth::server
