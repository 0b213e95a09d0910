#include <berth/server/agents/command/command_agent.h>

#include <berth/core/json_writer.h>
#include <berth/server/agents/reports.h>

#include <csignal>
#include <utility>

namespace berth::server {

namespace {
constexpr std::size_t kHeadMax = 256;
constexpr std::uint64_t kLogTurnedAt = std::uint64_t{64} << 20;
/// A silent agent that may have been interrupted before its turn is interrupted so often.
constexpr Duration kInterruptEvery = std::chrono::seconds(1);
constexpr std::size_t kUnwrittenMax = std::size_t{16} << 20;
}  // namespace

CommandAgent::CommandAgent(io::Platform& platform, const LaunchPolicy& launches,
                           const AgentProfile& profile, std::string state, std::string tag,
                           AgentSink& sink)
    : platform_(platform),
      launches_(launches),
      profile_(profile),
      state_folder_(std::move(state)),
      tag_(std::move(tag)),
      sink_(sink),
      scope_(platform.reactor()),
      ended_(platform.reactor()),
      written_(platform.reactor()) {
  written_.set();
}

CommandAgent::~CommandAgent() {
  BERTH_ASSERT(state_ == State::none);
}

// --- from attach to the end ---

void CommandAgent::attach(AttachSpec spec) {
  BERTH_ASSERT(state_ == State::none);
  state_ = State::attaching;
  expected_end_ = false;
  ended_.reset();
  folder_ = state_folder_ + "/" + spec.session_key + "-" + profile_.name;
  checkpoints_ = {folder_ + "/checkpoints", folder_ + "/kept"};
  scope_.spawn(run(std::move(spec)));
}

/// Folders, and what there is to resume from.
Task<Result<ChosenCheckpoint>> CommandAgent::prepare() {
  io::Files* files = &platform_.files();
  const CheckpointFolders folders = checkpoints_;
  const std::string data = folder_ + "/data";
  const std::string told = told_folder();
  const std::int64_t now_ms = platform_.reactor().clock().wall().count();
  const bool is_warm = warm();
  co_return co_await platform_.offload().run(
      io::Lane::files, platform_.reactor(),
      [files, folders, data, told, now_ms, is_warm]() -> Result<ChosenCheckpoint> {
        Result<void> made = files->make_directories(is_warm ? folders.written : data, 0700);
        if (made.has_value() && is_warm) made = files->make_directories(told, 0700);
        if (!made.has_value()) return fail(std::move(made.error()));
        if (!is_warm) return ChosenCheckpoint{{}, "the agent keeps nothing between turns"};
        return choose_checkpoint(*files, folders, now_ms);
      });
}

Task<void> CommandAgent::run(AttachSpec spec) {
  spec_ = std::move(spec);
  Attached attached;
  attached.native_session_id = spec_.session_key;
  if (spec_.git_folders) git_folders_ = co_await spec_.git_folders();
  Result<ChosenCheckpoint> chosen = co_await prepare();
  Result<void> ready = chosen.has_value() ? Result<void>() : fail(std::move(chosen.error()));
  if (ready.has_value() && (expected_end_ || silent_)) {
    ready = fail(ErrorKind::cancelled, "agent_ended", "it was ended before it started");
  }
  if (ready.has_value() && warm()) ready = start(chosen->path);
  if (ready.has_value() && warm()) {
    co_await process_->started().wait();
    if (expected_end_ || silent_) ready = fail(ErrorKind::cancelled, "agent_ended", "it was ended");
    if (const Error* why = process_->start_failure()) ready = fail(Error(*why));
  }
  if (ready.has_value()) {
    const bool known = !spec_.native_session_id.empty();
    if (known) attached.rung = chosen->path.empty() ? Rung::history : Rung::resume;
    if (known) attached.reason = chosen->reason;
    if (process_ != nullptr) attached.process = process_->process_id();
    state_ = State::live;
    if (!silent_) sink_.on_attached(spec_.attach_epoch, attached);
    co_await ended_.wait();
  }
  AgentExit exit;
  exit.expected = expected_end_;
  if (process_ != nullptr) {
    co_await process_->closed().wait();
    exit.process = process_->process_id();
    exit.status = process_->exit_status();
    exit.stderr_tail = process_->stderr_tail();
    unsent_ = unsent_ || process_->bytes_taken() == taken_before_;
    process_.reset();
  } else {
    exit.status.kind = io::ExitStatus::Kind::exited;
  }
  if (warm() && ready.has_value()) co_await keep();
  co_await written_.wait();
  platform_.reactor().disarm(again_);
  exit.prompt_untouched = warm() && unsent_ && !turn_.empty();
  turn_.clear();
  held_.clear();
  state_ = State::none;
  if (silent_) co_return;
  if (ready.has_value()) {
    sink_.on_exited(spec_.attach_epoch, std::move(exit));
  } else {
    AttachFailure failure;
    failure.error = std::move(ready.error());
    sink_.on_attach_failed(spec_.attach_epoch, std::move(failure));
  }
}

Result<AgentLaunch> CommandAgent::launch_spec(const std::string& checkpoint) const {
  LaunchOrder order;
  order.directory = spec_.directory;
  order.key = spec_.session_key;
  order.project = spec_.project;
  order.tag = tag_ + "-" + spec_.session_key;
  order.least = spec_.launch;
  order.folders = spec_.additional_directories;
  order.folders.push_back(spec_.directory);
  order.git = git_folders_;
  // Not the folder of both: output.jsonl and the kept copies are written by berth, which a link in
  // their place would lead anywhere.
  order.granted = {warm() ? checkpoints_.written : folder_ + "/data"};
  if (warm()) order.shown = {told_folder()};
  Result<AgentLaunch> made = launches_.launch(profile_, order);
  if (!made.has_value()) return made;
  io::LaunchSpec& launch = made->spec;
  launch.arguments.clear();  // behind those of the contract
  const auto add = [&launch](std::string option, const std::string& value) {
    if (value.empty()) return;
    launch.arguments.push_back(std::move(option));
    launch.arguments.push_back(value);
  };
  add("--provider", profile_.provider);
  add("--model", profile_.model);
  add("--run-id", spec_.session_key);
  launch.arguments.emplace_back("--json");
  if (warm()) {
    add("--checkpoint-dir", checkpoints_.written);
    add("--resume", checkpoint);
  } else {
    add("--data-dir", folder_ + "/data");
  }
  launch.arguments.insert(launch.arguments.end(), profile_.arguments.begin(),
                          profile_.arguments.end());
  return made;
}

Result<void> CommandAgent::start(const std::string& checkpoint, const TraceMeta& trace) {
  LineProcessLimits limits;
  limits.line_max = profile_.line_max;
  limits.exit_grace = profile_.timeouts.exit_grace;
  LinePeer& peer = *this;
  process_ = std::make_unique<LineProcess>(platform_, peer, limits);
  Result<AgentLaunch> launch = launch_spec(checkpoint);
  if (!launch.has_value()) {
    process_.reset();
    return fail(std::move(launch.error()));
  }
  io::LaunchSpec& spec = launch->spec;
  if (warm()) spec.environment.emplace_back("BERTH_TRACE_FILE", trace_file());
  // The names that programs started for one piece of work look for.
  if (!trace.parent.empty()) spec.environment.emplace_back("TRACEPARENT", trace.parent);
  if (!trace.state.empty()) spec.environment.emplace_back("TRACESTATE", trace.state);
  process_->start(spec, launch->door);
  return {};
}

void CommandAgent::on_gone() {
  finish_at_exit();
  ended_.set();
}

void CommandAgent::end(bool at_once) {
  if (state_ == State::none) return;
  expected_end_ = true;
  if (process_ == nullptr) {
    ended_.set();
    return;
  }
  // A turn that runs may end first: that is what TERM asks for. A warm agent that does not know
  // the signal's meaning ends with its stdin.
  if (!at_once && warm()) process_->signal(SIGTERM);
  process_->end(at_once);
}

Task<void> CommandAgent::shutdown() {
  silent_ = true;
  end(true);
  co_await scope_.join();
}

Abilities CommandAgent::abilities() const {
  Abilities can;
  can.resumes = can.stays = live() && warm();
  return can;
}

std::string CommandAgent::stderr_tail() const {
  return process_ == nullptr ? std::string() : process_->stderr_tail();
}

// --- a turn ---

namespace {

Result<std::string> plain_words(std::string_view blocks) {
  std::optional<std::string> words = prompt_text(blocks);
  if (!words) {
    return fail(ErrorKind::unsupported, "text_only",
                "prompt: this agent takes text, links and embedded texts only");
  }
  if (words->find('\0') != std::string::npos) {
    return fail(ErrorKind::invalid, "nul_in_prompt",
                "prompt: a NUL byte ends a prompt for this agent");
  }
  return std::move(*words);
}

/// As the two headers; never empty.
std::string trace_lines(const TraceMeta& trace) {
  std::string lines;
  if (!trace.parent.empty()) lines += "traceparent: " + trace.parent + "\n";
  if (!trace.state.empty()) lines += "tracestate: " + trace.state + "\n";
  return lines.empty() ? "\n" : lines;
}

}  // namespace

void CommandAgent::prompt(std::string turn, std::string blocks, std::string meta) {
  BERTH_ASSERT(state_ == State::live && turn_.empty());
  turn_ = std::move(turn);
  cancelled_ = heard_ = false;
  unsent_ = process_ == nullptr;
  taken_before_ = unsent_ ? 0 : process_->bytes_taken();
  told_end_.reset();
  output_.begin_turn();
  Result<std::string> words = plain_words(blocks);
  if (words.has_value() && process_ == nullptr) {
    // A warm agent has just died, and its last checkpoint is being kept: on_exited() comes.
    if (warm()) return;
    Result<void> started = start({}, trace_in(meta));
    if (!started.has_value()) words = fail(std::move(started.error()));
  }
  if (!words.has_value()) {
    PromptEnd end;
    end.error = std::move(words.error());
    finish_prompt(std::move(end));
    return;
  }
  words->push_back('\0');
  if (warm()) {
    held_ = std::move(*words);
    untold_trace_ = trace_lines(trace_in(meta));
    scope_.spawn(tell_trace());
    return;
  }
  process_->send(std::move(*words));
  process_->end_input();
}

void CommandAgent::cancel(std::string_view turn) {
  if (process_ == nullptr || turn_ != turn) return;
  cancelled_ = true;
  if (held_.empty()) interrupt();
}

/// An agent that has not read its prompt yet is interrupted in nothing, and then begins the turn:
/// until it has said a word in it, nobody knows.
void CommandAgent::interrupt() {
  process_->signal(SIGINT);
  if (heard_ || !warm()) return;
  io::Reactor& reactor = platform_.reactor();
  reactor.arm(again_, reactor.clock().now() + kInterruptEvery);
}

void CommandAgent::interrupt_again() {
  if (process_ != nullptr && !turn_.empty()) interrupt();
}

void CommandAgent::finish_prompt(PromptEnd end) {
  platform_.reactor().disarm(again_);
  const std::string turn = std::exchange(turn_, {});
  if (silent_ || turn.empty()) return;
  if (warm()) scope_.spawn(keep());
  sink_.on_prompt_ended(spec_.attach_epoch, turn, std::move(end));
}

/// The process is gone. An open turn of a warm agent is interrupted (on_exited tells the session);
/// a one-shot agent's turn ends by that.
void CommandAgent::finish_at_exit() {
  if (warm() || turn_.empty()) return;
  const io::ExitStatus status = process_->exit_status();
  expected_end_ = true;
  PromptEnd end = std::exchange(told_end_, {}).value_or(PromptEnd());
  end.usage = output_.usage();
  const bool told = !end.stop_reason.empty() || !end.agent_error.empty();
  if (const Error* why = process_->start_failure()) {
    end.error = *why;
  } else if (cancelled_) {
    end.stop_reason = "cancelled";
  } else if (!told && status.kind == io::ExitStatus::Kind::exited && status.value == 0) {
    end.stop_reason = "end_turn";
  } else if (!told) {
    end.error = make_error(ErrorKind::unavailable, "agent_ended",
                           "the agent ended: " + io::describe(status));
  }
  finish_prompt(std::move(end));
}

void CommandAgent::on_line(Line& line) {
  log_line(line.text());
  if (silent_) return;
  std::optional<CommandLine> said = output_.read(line.text());
  if (!said) {
    sink_.on_junk(spec_.attach_epoch, "bad_json", line.text().size(),
                  line.text().substr(0, kHeadMax));
    return;
  }
  if (!said->update.empty()) {
    sink_.on_update(spec_.attach_epoch, {said->update, said->kind, said->tool_call_id, false});
  }
  if (!said->foreign_type.empty()) {
    sink_.on_foreign_message(spec_.attach_epoch, said->foreign_type, line.text());
  }
  const bool first = !std::exchange(heard_, true);
  if (first && again_.started() && !said->ended) {
    platform_.reactor().disarm(again_);
    interrupt();
  }
  if (!said->ended || turn_.empty()) return;
  PromptEnd end;
  end.usage = std::move(said->ended->usage);
  end.agent_error = std::move(said->ended->error);
  if (end.agent_error.empty()) {
    end.stop_reason = cancelled_ ? "cancelled" : std::move(said->ended->stop_reason);
  } else {
    end.error = make_error(ErrorKind::invalid, "agent_error", "the agent ended its turn by error");
  }
  if (warm()) {
    finish_prompt(std::move(end));
  } else {
    told_end_ = std::move(end);  // its turn and its process end as one
  }
}

void CommandAgent::on_overlong(std::uint64_t total_bytes, std::string_view head) {
  if (!silent_) sink_.on_junk(spec_.attach_epoch, "line_too_long", total_bytes, head);
}

void CommandAgent::resume_reading() {
  if (process_ != nullptr) process_->resume_reading();
}

// --- what these agents do not have ---

void CommandAgent::answer(std::uint64_t, const AgentAnswer&) {}

void CommandAgent::refuse(std::string_view what) {
  sink_.on_foreign_message(
      spec_.attach_epoch, "berth/config_refused",
      config_refused_because(what, "command-line agents take no settings while they run"));
}

void CommandAgent::set_mode(std::string_view) {
  refuse("mode");
}

void CommandAgent::set_config_option(std::string_view id, std::string_view) {
  refuse(id);
}

// --- files ---

/// Behind the events, which are the record: when the disk is too slow, lines are left out of the
/// file and a line says so.
void CommandAgent::log_line(std::string_view line) {
  if (unwritten_.size() > kUnwrittenMax) return;
  unwritten_ += line;
  unwritten_ += '\n';
  if (unwritten_.size() > kUnwrittenMax) unwritten_ += "{\"type\":\"lines_left_out\"}\n";
  if (written_.is_set()) scope_.spawn(write_log());
}

Task<void> CommandAgent::write_log() {
  written_.reset();
  while (!unwritten_.empty()) {
    io::Files* files = &platform_.files();
    std::string lines = std::exchange(unwritten_, {});
    Result<bool> written = co_await platform_.offload().run(
        io::Lane::files, platform_.reactor(),
        [files, folder = folder_, lines = std::move(lines)]() -> Result<bool> {
          Result<std::vector<io::FolderEntry>> listed = files->list(folder);
          for (const io::FolderEntry& entry : listed.value_or(std::vector<io::FolderEntry>())) {
            if (entry.name != "output.jsonl" || entry.bytes < kLogTurnedAt) continue;
            Result<void> turned =
                files->rename(folder + "/output.jsonl", folder + "/output.1.jsonl");
            if (!turned.has_value()) return fail(std::move(turned.error()));
          }
          Result<void> added = files->append(folder + "/output.jsonl", lines, 0600);
          if (!added.has_value()) return fail(std::move(added.error()));
          return true;
        });
    if (!written.has_value()) break;  // the events have it all
  }
  written_.set();
}

/// Where the agent finds it when it reads its prompt. What a crash leaves is no matter, nor is a
/// disk that is full: then it finds none.
Task<void> CommandAgent::tell_trace() {
  if (std::exchange(telling_trace_, true)) co_return;  // who is at it tells the newest
  while (!untold_trace_.empty()) {
    io::Files* files = &platform_.files();
    std::string lines = std::exchange(untold_trace_, {});
    Result<bool> told = co_await platform_.offload().run(
        io::Lane::files, platform_.reactor(),
        [files, path = trace_file(), lines = std::move(lines)]() -> Result<bool> {
          Result<void> done = files->remove_if_exists(path);
          if (done.has_value()) done = files->append(path, lines, 0600);
          if (!done.has_value()) return fail(std::move(done.error()));
          return true;
        });
    static_cast<void>(told);
  }
  telling_trace_ = false;
  send_held();
}

/// A turn may tear the checkpoint of the turn before: its prompt waits until that is kept.
void CommandAgent::send_held() {
  if (held_.empty() || process_ == nullptr || keeping_ || telling_trace_) return;
  std::string words = std::exchange(held_, {});
  if (!cancelled_) return process_->send(std::move(words));
  PromptEnd end;
  end.stop_reason = "cancelled";
  finish_prompt(std::move(end));
}

Task<void> CommandAgent::keep() {
  if (std::exchange(keeping_, true)) co_return;
  io::Files* files = &platform_.files();
  const CheckpointFolders folders = checkpoints_;
  Result<bool> kept = co_await platform_.offload().run(
      io::Lane::files, platform_.reactor(),
      [files, folders] { return keep_checkpoint(*files, folders); });
  keeping_ = false;
  send_held();
  if (kept.has_value() || silent_) co_return;
  std::string report;
  JsonWriter(report).begin_object().member("error", kept.error().message).end_object();
  sink_.on_foreign_message(spec_.attach_epoch, "berth/checkpoint_not_kept", report);
}

}  // namespace berth::server
