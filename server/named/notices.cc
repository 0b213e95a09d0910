#include <berth/server/named/notices.h>

#include <berth/core/json_writer.h>
#include <berth/git/mail.h>
#include <berth/io/awaitables.h>
#include <berth/server/agents/launch.h>
#include <berth/server/agents/line_process.h>
#include <berth/server/sessions/continuation.h>
#include <berth/server/sessions/rows_json.h>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace berth::server {

namespace {

constexpr int kPage = 100;
constexpr int kTries = 3;
constexpr Duration kFirstPause = std::chrono::seconds(1);  // doubled each time
constexpr std::size_t kMailLineMax = 900;                  // RFC 5322 allows 998
constexpr std::size_t kNoticedMax = 64;

/// Runs to its end, or to the end of its time.
class NoticeProgram final : private LinePeer, private io::TimerOp {
 public:
  explicit NoticeProgram(io::Platform& platform)
      : reactor_(platform.reactor()), process_(platform, *this, {}) {}

  Task<Result<void>> run(const io::LaunchSpec* launch, const std::string* input, Duration time) {
    process_.start(*launch);
    process_.send(*input);
    process_.end_input();
    reactor_.arm(*this, reactor_.clock().now() + time);
    co_await process_.closed().wait();
    reactor_.disarm(*this);
    if (const Error* why = process_.start_failure()) co_return fail(Error(*why));
    const io::ExitStatus status = process_.exit_status();
    if (late_) co_return fail(ErrorKind::timed_out, "notice_timeout", "it took too long");
    if (status.kind == io::ExitStatus::Kind::exited && status.value == 0) co_return Result<void>();
    co_return fail(ErrorKind::invalid, "notice_failed",
                   io::describe(status) + ": " + process_.stderr_tail());
  }

 private:
  void on_line(Line&) override {}
  void on_overlong(std::uint64_t, std::string_view) override {}
  bool wants_more() override { return true; }
  void on_gone() override {}
  void on_timer() override {
    late_ = true;
    process_.end(true);
  }

  io::Reactor& reactor_;
  LineProcess process_;
  bool late_ = false;
};

/// Lines end with LF and are not too long; a cut never splits a character.
std::string mail_body(std::string_view text) {
  std::string body;
  std::size_t column = 0;
  for (const char c : text) {
    if (c == '\r' || c == '\0') continue;
    const bool begins_character = (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    if (column >= kMailLineMax && begins_character && c != '\n') {
      body += '\n';
      column = 0;
    }
    body += c;
    column = c == '\n' ? 0 : column + 1;
  }
  if (!body.empty() && body.back() != '\n') body += '\n';
  return body;
}

}  // namespace

std::string notice_json(const Notice& notice) {
  std::string json;
  JsonWriter(json)
      .begin_object()
      .member("event", notice.good() ? "agent_complete" : "agent_error")
      .member("agent", notice.agent)
      .member("session", notice.session)
      .member("turn", notice.turn.id)
      .member_int64("number", notice.turn.number)
      .member("state", to_string(notice.turn.state))
      .member("reason", notice.turn.reason)
      .member("answer", notice.answer)
      .member_raw("usage", notice.turn.usage.empty() ? "null" : notice.turn.usage)
      .member_int64("ended_ms", notice.turn.ended_ms)
      .end_object();
  return json;
}

std::string notice_mail(const Notice& notice) {
  const std::string_view state = to_string(notice.turn.state);
  // Names, ids and states need no encoding: they come from grammars.
  std::string mail = fmt::format(
      "From: \"berth agent {0}\" <{0}@localhost>\nTo: undisclosed-recipients:;\n"
      "Subject: {0}: turn {1} {2}\nDate: {3}\nMessage-ID: <{4}@berth.localhost>\n"
      "X-Berth-Agent: {0}\nX-Berth-Session: {5}\nX-Berth-Turn: {4}\nX-Berth-State: {2}\n"
      "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
      "Content-Transfer-Encoding: 8bit\n\n",
      notice.agent, notice.turn.number, state, git::mail_date(notice.turn.ended_ms / 1000),
      notice.turn.id, notice.session);
  if (!notice.good() && !notice.turn.reason.empty()) {
    mail += mail_body(notice.turn.reason) + "\n";
  }
  return mail + mail_body(notice.answer);
}

Task<Result<void>> Notices::start(std::string folder) {
  if (profile_.notify.empty() && profile_.notify_maildir.empty()) co_return Result<void>();
  folder_ = std::move(folder);
  Result<std::int64_t> noticed = co_await read_noticed();
  if (!noticed.has_value()) co_return fail(std::move(noticed.error()));
  noticed_ = *noticed;
  stop_ = std::make_unique<StopSource>();
  session_.add_reader(*this);
  scope_.spawn(run(stop_->token()));
  co_return Result<void>();
}

Task<void> Notices::stop() {
  LogReader::unlink();
  if (stop_ != nullptr) stop_->request_stop();
  co_await scope_.join();
}

/// While one turn runs on there is nothing to look for. (A whole turn may pass between two calls.)
void Notices::on_log_grew() {
  const TurnRow* turn = session_.current_turn();
  const std::int64_t now = turn == nullptr ? 0 : turn->number;
  if (std::exchange(running_, now) != now || now == 0) news_.set();
}

Task<void> Notices::run(StopToken stop) {
  while (!stop.stop_requested()) {
    news_.reset();
    Result<bool> more = co_await tell_next(stop);
    if (!more.has_value()) {
      context_.log.write(LogLevel::error, "agent " + agent_,
                         "tells nobody of its turns any more: " + more.error().message);
      break;
    }
    if (!*more) co_await news_.wait(stop);
  }
}

/// Tells of turns that have ended. False when there are no more now.
Task<Result<bool>> Notices::tell_next(StopToken stop) {
  const SessionNo no = session_.session_no();
  const std::int64_t before = noticed_ + 1 + kPage;
  Result<std::vector<TurnRow>> turns = co_await context_.read(
      [no, before](Store& store) { return store.list_turns(no, before, kPage); });
  if (!turns.has_value()) co_return fail(std::move(turns.error()));
  std::reverse(turns->begin(), turns->end());
  bool told = false;
  for (TurnRow& turn : *turns) {
    if (turn.number <= noticed_) continue;
    if (!is_ended(turn.state) || stop.stop_requested()) break;
    Notice notice{agent_, session_.row().id, std::move(turn), {}};
    if (notice.wanted()) {
      Result<std::string> answer = co_await read_answer(context_, no, notice.turn);
      if (!answer.has_value()) co_return fail(std::move(answer.error()));
      notice.answer = std::move(*answer);
      Result<void> done = co_await tell(&notice, stop);
      if (!done.has_value()) co_return fail(std::move(done.error()));
      if (stop.stop_requested()) break;  // it may not have arrived: told again at the next start
    }
    Result<void> noted = co_await note(notice.turn.number);
    if (!noted.has_value()) co_return fail(std::move(noted.error()));
    told = true;
  }
  co_return told;
}

/// An error only when nothing can be told at all.
Task<Result<void>> Notices::tell(const Notice* notice, StopToken stop) {
  const std::string json = notice_json(*notice);
  io::Reactor& reactor = context_.reactor();
  Result<void> done;
  for (int tries = 0; tries < kTries && !stop.stop_requested(); ++tries) {
    if (tries > 0) {
      const Duration pause = kFirstPause * (1 << (tries - 1));
      co_await io::Sleep(reactor, reactor.clock().now() + pause, stop);
    }
    done = Result<void>();
    if (!profile_.notify.empty()) done = co_await run_program(&json);
    if (done.has_value() && !profile_.notify_maildir.empty()) done = co_await post_mail(notice);
    if (done.has_value()) co_return done;
  }
  if (stop.stop_requested()) co_return Result<void>();
  std::string data;
  JsonWriter(data)
      .begin_object()
      .member("turn", notice->turn.id)
      .member("error", done.error().message)
      .end_object();
  session_.append_to({}, "notice.failed", agent_, data);
  context_.log.write(LogLevel::warning, "agent " + agent_,
                     "nobody could be told of turn " + std::to_string(notice->turn.number) + ": " +
                         done.error().message);
  co_return Result<void>();
}

Task<Result<void>> Notices::run_program(const std::string* json) {
  AgentProfile program;
  program.command = profile_.notify.front();
  program.arguments.assign(profile_.notify.begin() + 1, profile_.notify.end());
  const io::LaunchSpec launch =
      launch_of(program, context_.platform.environment(), folder_, "berth-notice");
  NoticeProgram running(context_.platform);
  co_return co_await running.run(&launch, json, profile_.timeouts.notify);
}

/// Under one name in `tmp`, then in `new`: a second attempt replaces the first where that was not
/// read yet.
Task<Result<void>> Notices::post_mail(const Notice* notice) {
  io::Files* files = &context_.platform.files();
  const std::string name =
      fmt::format("{}.{}.berth", notice->turn.ended_ms / 1000, notice->turn.id);
  co_return co_await context_.platform.offload().run(
      io::Lane::files, context_.reactor(),
      [files, box = profile_.notify_maildir, name, mail = notice_mail(*notice)]() -> Result<void> {
        Result<void> done;
        for (const char* part : {"/tmp", "/new", "/cur"}) {
          if (done.has_value()) done = files->make_directories(box + part, 0700);
        }
        if (done.has_value()) done = files->write_atomic(box + "/tmp/" + name, mail, 0600);
        if (done.has_value()) done = files->rename(box + "/tmp/" + name, box + "/new/" + name);
        return done;
      });
}

/// Who is to be told from now on is not told of what ended before.
Task<Result<std::int64_t>> Notices::read_noticed() {
  io::Files* files = &context_.platform.files();
  Result<std::string> text = co_await context_.platform.offload().run(
      io::Lane::files, context_.reactor(),
      [files, path = folder_ + "/noticed"] { return files->read(path, kNoticedMax); });
  std::int64_t number = 0;
  if (text.has_value()) {
    std::from_chars(text->data(), text->data() + text->size(), number);
    co_return number;
  }
  if (text.error().kind != ErrorKind::not_found) co_return fail(std::move(text.error()));
  const SessionNo no = session_.session_no();
  Result<std::vector<TurnRow>> turns =
      co_await context_.read([no](Store& store) { return store.list_turns(no, 0, kPage); });
  if (!turns.has_value()) co_return fail(std::move(turns.error()));
  for (const TurnRow& turn : *turns) {
    if (!is_ended(turn.state)) continue;
    number = turn.number;
    break;
  }
  Result<void> noted = co_await note(number);
  if (!noted.has_value()) co_return fail(std::move(noted.error()));
  co_return number;
}

Task<Result<void>> Notices::note(std::int64_t turn_number) {
  noticed_ = turn_number;
  io::Files* files = &context_.platform.files();
  co_return co_await context_.platform.offload().run(
      io::Lane::files, context_.reactor(),
      [files, path = folder_ + "/noticed", text = std::to_string(turn_number)] {
        return files->write_atomic(path, text + "\n", 0600);
      });
}

}  // namespace berth::server
