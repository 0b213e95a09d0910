// berth batch: many tasks, each in a session of its own, and what they changed as lines of JSON.
#include <berth/core/json_writer.h>
#include <berth/core/scope.h>
#include <berth/io/awaitables.h>
#include <berth/io/files_linux.h>
#include <berth/server/cli/batch_tasks.h>
#include <berth/server/cli/commands.h>
#include <berth/server/cli/exit_codes.h>
#include <berth/server/cli/fresh_id.h>
#include <berth/server/cli/patient.h>
#include <berth/server/named/prompt_cutter.h>
#include <berth/server/sessions/repository_url.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kTasksBytesMax = std::size_t{256} << 20;
/// How long one answer to "has the turn ended?" is waited for at the server.
constexpr double kLongPollMax = 30;
/// What a turn that was cancelled gets to end, before the task is given up.
constexpr Duration kCancelMax = std::chrono::seconds(30);
/// A clone may take long (`clones.time_max`), and so may a worktree of a large repository.
constexpr Duration kOpenMax = std::chrono::minutes(15);
constexpr Duration kTick = std::chrono::seconds(1);

/// How one attempt ended: with a patch, or with a state and a reason.
struct AttemptEnd {
  std::optional<std::string> patch;
  std::int64_t files = 0;
  std::string state = "error";
  std::string reason;
};

AttemptEnd went_wrong(std::string reason) {
  AttemptEnd end;
  end.reason = std::move(reason);
  return end;
}

/// What is shown of a batch while it runs, and what it comes to.
class Progress {
 public:
  Progress(Terminal& terminal, bool json, std::size_t total, std::size_t before)
      : terminal_(terminal), json_(json), total_(total), before_(before) {}

  std::size_t running = 0;

  bool live() const { return terminal_.is_tty() && !json_; }
  void ended(const BatchTask& task, const std::string& session, const AttemptEnd& end, int attempt,
             double seconds);
  /// The line at the bottom of a terminal, drawn anew.
  void draw(double seconds);
  void clear();
  /// The last word.
  void sum_up(const std::string& run, double seconds);

  std::size_t done() const { return done_; }
  std::size_t failed() const { return failed_; }
  std::size_t timed_out() const { return timed_out_; }

 private:
  std::size_t finished() const { return before_ + done_ + failed_; }

  Terminal& terminal_;
  bool json_;
  std::size_t total_;
  std::size_t before_;
  std::size_t done_ = 0;
  std::size_t failed_ = 0;
  std::size_t timed_out_ = 0;  // of those that failed
  bool drawn_ = false;
};

void Progress::ended(const BatchTask& task, const std::string& session, const AttemptEnd& end,
                     int attempt, double seconds) {
  const bool good = end.patch.has_value();
  ++(good ? done_ : failed_);
  if (end.state == "timed_out") ++timed_out_;
  clear();
  if (json_) {
    std::string line;
    JsonWriter(line)
        .begin_object()
        .member("instance_id", task.instance_id)
        .member("state", end.state)
        .member("reason", end.reason)
        .member("session", session)
        .member_int64("attempt", attempt)
        .member_int64("files", end.files)
        .key("seconds")
        .number(std::round(seconds * 1000) / 1000)
        .end_object();
    terminal_.line(line);
  } else {
    terminal_.write(Style::dim, fmt::format("{}/{} ", finished(), total_));
    terminal_.write(good ? Style::green : Style::red, good ? "✔ " : "✘ ");
    terminal_.write(printable(task.instance_id));
    terminal_.line(
        Style::dim,
        good ? fmt::format("  {} file{}, {:.1f} s", end.files, end.files == 1 ? "" : "s", seconds)
             : fmt::format("  {}: {} (berth attach {} --after 0)", end.state, end.reason, session));
  }
  terminal_.flush();
}

void Progress::draw(double seconds) {
  if (!live()) return;
  clear();
  std::string text = fmt::format("{}/{} done, {} running", finished(), total_, running);
  if (failed_ > 0) text += fmt::format(", {} failed", failed_);
  const auto since = static_cast<double>(done_ + failed_);
  if (since > 0) {
    const double left = static_cast<double>(total_ - finished()) * seconds / since;
    text += fmt::format(", about {:.0f} s left", left);
  }
  terminal_.write(Style::dim, text);
  terminal_.flush();
  drawn_ = true;
}

void Progress::clear() {
  if (std::exchange(drawn_, false)) terminal_.write("\r\033[K");
}

void Progress::sum_up(const std::string& run, double seconds) {
  clear();
  const std::size_t open = total_ - finished();
  if (json_) {
    std::string line;
    JsonWriter(line)
        .begin_object()
        .member("run", run)
        .member_uint64("tasks", total_)
        .member_uint64("before", before_)
        .member_uint64("completed", done_)
        .member_uint64("failed", failed_)
        .member_uint64("open", open)
        .end_object();
    terminal_.line(line);
  } else {
    std::string text = fmt::format("{} completed, {} failed", done_, failed_);
    if (before_ > 0) text += fmt::format(", {} before", before_);
    if (open > 0) text += fmt::format(", {} open", open);
    terminal_.line(Style::bold, fmt::format("{} in {:.1f} s (run {})", text, seconds, run));
  }
  terminal_.flush();
}

/// Works on the tasks that have no prediction yet.
class Batch {
 public:
  Batch(Remote& remote, Terminal& terminal, const BatchOptions& options, BatchRecord& record,
        std::vector<BatchTask> todo, Progress& progress)
      : remote_(remote),
        terminal_(terminal),
        options_(options),
        record_(record),
        todo_(std::move(todo)),
        progress_(progress),
        stop_(remote.interrupted()),
        began_(now()) {}

  Task<void> run();
  /// It ended because going on made no sense.
  bool broken() const { return broken_; }
  double seconds() { return since(began_); }

 private:
  Task<void> worker();
  Task<void> tick(StopToken stop);
  Task<void> work(PatientClient* client, const BatchTask* task);
  Task<AttemptEnd> attempt(PatientClient* client, const BatchTask* task,
                           const std::string* session);
  Task<std::string> open_session(PatientClient* client, const BatchTask* task,
                                 const std::string* session);
  Task<Result<RemoteAnswer>> follow_turn(PatientClient* client, const BatchTask* task,
                                         const std::string* session, bool* timed_out);
  Task<AttemptEnd> take_patch(PatientClient* client, const std::string* session);

  TimePoint now() { return remote_.reactor().clock().now(); }
  double since(TimePoint then) { return std::chrono::duration<double>(now() - then).count(); }
  /// Nothing more can be done: the server is gone for good, or the disk is full.
  void give_up(const Error& error) {
    if (stop_.stop_requested()) return;
    progress_.clear();
    terminal_.complain(error.message + "; the same command goes on from here");
    broken_ = true;
    stop_.request_stop();
  }

  Remote& remote_;
  Terminal& terminal_;
  const BatchOptions& options_;
  BatchRecord& record_;
  std::vector<BatchTask> todo_;
  Progress& progress_;
  StopSource stop_;
  TimePoint began_;
  std::size_t next_ = 0;
  bool broken_ = false;
};

Task<void> Batch::run() {
  Scope workers(remote_.reactor(), stop_.token());
  Scope ticking(remote_.reactor());
  if (progress_.live()) ticking.spawn(tick(ticking.stop_token()));
  const std::size_t count = std::min(static_cast<std::size_t>(options_.concurrency), todo_.size());
  for (std::size_t i = 0; i < count; ++i) workers.spawn(worker());
  co_await workers.join();
  ticking.request_stop();
  co_await ticking.join();
}

Task<void> Batch::tick(StopToken stop) {
  do {
    progress_.draw(seconds());
  } while (co_await io::Sleep(remote_.reactor(), now() + kTick, stop));
}

Task<void> Batch::worker() {
  const auto patience = std::chrono::duration<double>(options_.server_wait_s);
  PatientClient client(remote_,
                       {.unreachable_max = std::chrono::duration_cast<Duration>(patience)});
  while (next_ < todo_.size() && !stop_.stop_requested()) {
    const BatchTask* const task = &todo_[next_++];
    ++progress_.running;
    co_await work(&client, task);
    --progress_.running;
  }
  co_await client.close();
}

/// Tries a task until it has a prediction, failed, or was interrupted too often.
Task<void> Batch::work(PatientClient* client, const BatchTask* task) {
  const TimePoint began = now();
  for (int tries = 1;; ++tries) {
    const BatchFailure* const before = record_.last_failure(task->instance_id);
    const int number = before == nullptr ? 1 : before->attempt + 1;
    const std::string session = batch_session_id(record_.run(), task->instance_id, number);
    const AttemptEnd end = co_await attempt(client, task, &session);
    if (stop_.stop_requested()) co_return;
    Result<void> kept;
    if (end.patch) {
      kept = record_.add_prediction(*task, *end.patch);
    } else {
      kept = record_.add_failure({task->instance_id, number, session, end.state, end.reason});
    }
    if (!kept.has_value()) co_return give_up(kept.error());
    // An agent or the server died under it: that says nothing about the task.
    if (!end.patch && end.state == "interrupted" && tries < options_.attempts) continue;
    progress_.ended(*task, session, end, number, since(began));
    if (end.patch && !options_.keep) {
      PatientClient::Request close;
      close.method = "POST";
      close.target = session_target(session, "/close");
      // The prediction is on the disk: a session that stays open is no failure of the task.
      const Result<RemoteAnswer> closed = co_await client->ask(std::move(close), stop_.token());
      static_cast<void>(closed);
    }
    co_return;
  }
}

Task<AttemptEnd> Batch::attempt(PatientClient* client, const BatchTask* task,
                                const std::string* session) {
  std::string refused = co_await open_session(client, task, session);
  if (stop_.stop_requested()) co_return AttemptEnd();
  if (!refused.empty()) co_return went_wrong(std::move(refused));
  bool timed_out = false;
  Result<RemoteAnswer> turn = co_await follow_turn(client, task, session, &timed_out);
  if (!turn.has_value()) {
    give_up(turn.error());
    co_return AttemptEnd();
  }
  if (turn->response.status >= 400) co_return went_wrong(refusal_text(turn->response));
  AttemptEnd end;
  end.state = turn->json().get_string("state").value_or("error");
  end.reason = printable(turn->json().get_string("reason").value_or(""));
  if (timed_out && end.state != "completed") {
    end.state = "timed_out";
    end.reason = fmt::format("no ending within {} s", task->timeout_s);
    co_return end;
  }
  if (end.state != "completed") co_return end;
  AttemptEnd taken = co_await take_patch(client, session);
  co_return taken;
}

/// Opens the session, or finds it again. Gives why it was refused; empty if it was not.
Task<std::string> Batch::open_session(PatientClient* client, const BatchTask* task,
                                      const std::string* session) {
  PatientClient::Request request;
  request.method = "POST";
  request.target = "/v1/sessions";
  request.answer_max = kOpenMax;
  JsonWriter writer(request.body);
  writer.begin_object()
      .member("id", *session)
      .member("repository", task->repository)
      .member("title", task->instance_id)
      .member("permission", options_.permission);
  if (!task->base_commit.empty()) writer.member("base", task->base_commit);
  if (!task->agent.empty()) writer.member("agent", task->agent);
  writer.end_object();
  Result<RemoteAnswer> answer = co_await client->ask(std::move(request), stop_.token());
  if (!answer.has_value()) {
    give_up(answer.error());
    co_return std::string();
  }
  if (answer->response.status >= 400) co_return refusal_text(answer->response);
  co_return std::string();
}

/// Posts the prompt, once and for all under its key, and waits for the turn's ending. Above the
/// task's time the turn is cancelled.
Task<Result<RemoteAnswer>> Batch::follow_turn(PatientClient* client, const BatchTask* task,
                                              const std::string* session, bool* timed_out) {
  const bool bounded = task->timeout_s > 0;
  const auto allowed =
      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(task->timeout_s));
  TimePoint deadline = now() + allowed;
  for (;;) {
    PatientClient::Request request;
    request.method = "POST";
    request.target = session_target(*session, "/turns");
    JsonWriter(request.body).begin_object().member("prompt", task->prompt).end_object();
    double wait = kLongPollMax;
    if (bounded) wait = std::clamp(std::ceil(-since(deadline)), 1.0, kLongPollMax);
    request.headers.emplace_back("Idempotency-Key", *session);
    request.headers.emplace_back("Prefer", fmt::format("wait={:.0f}", wait));
    Result<RemoteAnswer> answer = co_await client->ask(std::move(request), stop_.token());
    if (!answer.has_value() || answer->response.status >= 400) co_return answer;
    if (!answer->json().find("ended_at").is_null()) co_return answer;
    if (!bounded || now() < deadline) continue;
    if (*timed_out) co_return answer;
    *timed_out = true;
    PatientClient::Request cancel;
    cancel.method = "POST";
    cancel.target = session_target(*session, "/cancel");
    const Result<RemoteAnswer> cancelled = co_await client->ask(std::move(cancel), stop_.token());
    if (!cancelled.has_value()) co_return fail(cancelled.error());
    deadline = now() + kCancelMax;
  }
}

Task<AttemptEnd> Batch::take_patch(PatientClient* client, const std::string* session) {
  PatientClient::Request look;
  look.target = session_target(*session, "/changes?refresh=1&limit=1");
  const Result<RemoteAnswer> change = co_await client->ask(std::move(look), stop_.token());
  if (!change.has_value()) {
    give_up(change.error());
    co_return AttemptEnd();
  }
  if (change->response.status >= 400) co_return went_wrong(refusal_text(change->response));
  const std::string_view outcome = change->json().get_string("outcome").value_or("recorded");
  if (outcome != "recorded") {
    co_return went_wrong(fmt::format("the snapshot was {}", printable(outcome)));
  }
  PatientClient::Request fetch;
  fetch.target = session_target(
      *session, fmt::format("/changes/patch?binary=1&file_bytes={0}&bytes={0}", 64 << 20));
  Result<RemoteAnswer> patch = co_await client->ask(std::move(fetch), stop_.token());
  if (!patch.has_value()) {
    give_up(patch.error());
    co_return AttemptEnd();
  }
  if (patch->response.status >= 400) co_return went_wrong(refusal_text(patch->response));
  if (patch->response.header("x-berth-truncated") == "1") {
    co_return went_wrong("the patch is above 64 MiB");
  }
  if (!is_utf8(patch->response.body)) {
    co_return went_wrong("the patch is no UTF-8, which JSON cannot carry");
  }
  AttemptEnd end;
  end.state = "completed";
  end.files = change->json().get_int64("files_total").value_or(0);
  end.patch = std::move(patch->response.body);
  co_return end;
}

bool is_run_name(const std::string& name) {
  constexpr std::size_t kRunNameMax = 32;
  return name.size() <= kRunNameMax &&
         name.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
             std::string::npos;
}

std::optional<std::vector<BatchTask>> read_tasks(Terminal& terminal, const BatchOptions& options) {
  io::LinuxFiles files;
  Result<std::string> text = files.read(options.tasks, kTasksBytesMax);
  if (!text.has_value()) {
    terminal.complain(text.error().message);
    return std::nullopt;
  }
  BatchTask fallback;
  fallback.repository = options.repository;
  fallback.agent = options.agent;
  fallback.model_name = options.model_name;
  fallback.timeout_s = options.timeout_s;
  Result<std::vector<BatchTask>> tasks = parse_batch_tasks(*text, fallback);
  if (!tasks.has_value()) {
    terminal.complain(printable(tasks.error().message));
    return std::nullopt;
  }
  for (BatchTask& task : *tasks) {
    if (is_repository_url(task.repository)) continue;
    // What is nowhere here is refused by the server, for this task alone.
    Result<std::string> real = files.canonical(task.repository);
    if (real.has_value()) task.repository = std::move(*real);
  }
  return std::move(*tasks);
}

/// `tasks.jsonl` -> `tasks.predictions.jsonl`
std::string output_of(const BatchOptions& options) {
  if (!options.output.empty()) return options.output;
  std::string name = options.tasks;
  if (name.ends_with(".jsonl")) name.resize(name.size() - 6);
  return name + ".predictions.jsonl";
}

}  // namespace

int batch_command(const GlobalOptions& global, const BatchOptions& options) {
  Terminal terminal(global.no_color);
  if (!is_run_name(options.run)) {
    terminal.complain("--run: at most 32 of the characters A-Z a-z 0-9 . _ -");
    return 2;
  }
  std::optional<std::vector<BatchTask>> tasks = read_tasks(terminal, options);
  if (!tasks) return 1;
  Result<BatchRecord> record = BatchRecord::open(output_of(options), options.run, fresh_id());
  if (!record.has_value()) {
    terminal.complain(printable(record.error().message));
    return 1;
  }
  std::vector<BatchTask> todo;
  std::size_t before = 0;
  std::size_t failed_before = 0;
  for (BatchTask& task : *tasks) {
    const BatchFailure* const failure = record->last_failure(task.instance_id);
    if (record->has_prediction(task.instance_id)) {
      ++before;
    } else if (failure != nullptr && failure->state != "interrupted" && !options.retry_failed) {
      ++failed_before;
    } else {
      todo.push_back(std::move(task));
    }
  }
  if (failed_before > 0) {
    terminal.note(
        fmt::format("{} tasks failed before; --retry-failed tries them again", failed_before));
  }
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  Progress progress(terminal, global.json, before + todo.size(), before);
  Batch batch(*remote, terminal, options, *record, std::move(todo), progress);
  remote->run_task(batch.run());
  progress.sum_up(record->run(), batch.seconds());
  if (batch.broken()) return 1;
  if (remote->interrupted().stop_requested()) {
    terminal.note("stopped; turns that run go on, and the same command goes on from here");
    return remote->exit_code();
  }
  if (failed_before > 0 || progress.failed() > progress.timed_out()) return 1;
  return progress.timed_out() > 0 ? kExitTimedOut : 0;
}

}  // namespace berth::server
