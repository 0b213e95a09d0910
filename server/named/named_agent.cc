#include <berth/server/named/named_agent.h>

#include <berth/core/json_writer.h>
#include <berth/io/awaitables.h>
#include <berth/server/agents/acp_messages.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {

/// An agent that ran for less than this is started again after a pause.
constexpr Duration kSteady = std::chrono::seconds(60);
constexpr Duration kFirstPause = std::chrono::milliseconds(500);
constexpr Duration kPauseMax = std::chrono::seconds(60);
constexpr int kDoublingsMax = 10;

}  // namespace

NamedAgent::NamedAgent(SessionContext& context, const AgentProfile& profile, std::string folder,
                       NamedSpec spec, SessionUse session)
    : context_(context),
      profile_(profile),
      folder_(std::move(folder)),
      spec_(std::move(spec)),
      use_(std::move(session)),
      session_(*use_),
      inbox_(context.platform, folder_, profile.fifo_prompt_max),
      notices_(context, session_, profile, spec_.name),
      changed_(context.reactor()) {}

NamedAgent::~NamedAgent() {
  BERTH_ASSERT(running_ == nullptr);
}

std::string NamedAgent::agent_folder() const {
  return context_.state_directory + "/agents/" + session_.row().key + "-" + spec_.name;
}

Binding& NamedAgent::bound() {
  return **session_.binding(spec_.name);  // its profile is there as long as it is
}

const Binding* NamedAgent::binding() const {
  const auto found = session_.bindings().find(spec_.name);
  return found == session_.bindings().end() ? nullptr : found->second.get();
}

Task<Result<void>> NamedAgent::save() {
  io::Files* files = &context_.platform.files();
  co_return co_await context_.platform.offload().run(
      io::Lane::files, context_.reactor(),
      [files, path = folder_ + "/agent.json", json = to_json(spec_)] {
        return files->write_atomic(path, json + "\n", 0600);
      });
}

Task<Result<void>> NamedAgent::want(bool wanted) {
  spec_.wanted = wanted;
  co_return co_await save();
}

Task<Result<void>> NamedAgent::leave(NamedSpec::Leaving how) {
  spec_.leaving = how;
  co_return co_await want(false);
}

Task<Result<void>> NamedAgent::watch() {
  return notices_.start(folder_);
}

// --- running ---

Task<Result<void>> NamedAgent::start() {
  if (running_ != nullptr) co_return Result<void>();
  Result<void> saved = co_await want(true);
  if (!saved.has_value()) co_return saved;
  if (profile_.fifo) {
    Result<void> opened = co_await inbox_.start();
    if (!opened.has_value()) co_return opened;
  }
  running_ = std::make_unique<Running>(context_.reactor());
  session_.add_reader(*this);
  session_.set_paused(false);
  starts_in_a_row_ = 0;
  running_->scope.spawn(keep_running(running_->stop.token()));
  if (inbox_.open()) running_->scope.spawn(take_prompts(running_->stop.token()));
  co_return Result<void>();
}

/// An agent that ends again and again is started more and more seldom. False when stopped.
Task<bool> NamedAgent::pause_before_start(StopToken stop) {
  io::Reactor& reactor = context_.reactor();
  if (starts_in_a_row_ > 0 && reactor.clock().now() - started_at_ > kSteady) starts_in_a_row_ = 0;
  if (starts_in_a_row_++ > 0) {
    const int doublings = std::min(starts_in_a_row_ - 2, kDoublingsMax);
    const Duration pause = std::min(kFirstPause * (1 << doublings), kPauseMax);
    const bool slept = co_await io::Sleep(reactor, reactor.clock().now() + pause, stop);
    if (!slept) co_return false;
  }
  started_at_ = reactor.clock().now();
  co_return true;
}

Task<void> NamedAgent::keep_running(StopToken stop) {
  while (!stop.stop_requested()) {
    Binding& agent = bound();
    const bool can_run = session_.open() && !agent.needs_decision() && !context_.draining;
    if (can_run && !agent.up()) {
      const bool go_on = co_await pause_before_start(stop);
      if (!go_on) break;
      Result<void> ready;
      if (session_.row().workspace_mode == "overlay") {
        ready = co_await context_.workspaces.ensure_ready(workspace_of(session_.row()));
      }
      if (stop.stop_requested()) break;
      // A prompt may have been quicker.
      if (ready.has_value() && session_.open() && !agent.up()) agent.attach();
      continue;
    }
    // Nobody sits in front of it: what failed was told, and the next prompt is another matter.
    if (agent.live() && session_.row().held) session_.resume_queue();
    changed_.reset();
    co_await changed_.wait(stop);
  }
}

Task<void> NamedAgent::halt() {
  if (running_ == nullptr) co_return;
  running_->stop.request_stop();
  co_await running_->scope.join();
  LogReader::unlink();
  running_.reset();
  co_await inbox_.close();
}

void NamedAgent::end_now() {
  if (binding() != nullptr) bound().end(true);
}

Task<void> NamedAgent::stop(bool now) {
  session_.set_paused(true);
  co_await halt();
  if (now) end_now();
  session_.add_reader(*this);
  // A turn that waits for a person's decision does not end by itself; it is taken up later.
  while (!now && !down_ && session_.current_turn() != nullptr && bound().up()) {
    changed_.reset();
    co_await changed_.wait();
  }
  LogReader::unlink();
  if (!down_) co_await bound().stop(now);
}

Task<Result<void>> NamedAgent::forget() {
  io::Files* files = &context_.platform.files();
  Result<void> aside = co_await context_.platform.offload().run(
      io::Lane::files, context_.reactor(),
      [files, folder = agent_folder(), now = context_.now_ms()]() -> Result<void> {
        for (const char* part : {"/checkpoints", "/kept"}) {
          if (!files->exists(folder + part)) continue;
          const std::string away = folder + "/reset-" + std::to_string(now);
          Result<void> done = files->make_directories(away, 0700);
          if (done.has_value()) done = files->rename(folder + part, away + part);
          if (!done.has_value()) return done;
        }
        return {};
      });
  if (!aside.has_value()) co_return aside;
  bound().forget();
  co_return co_await context_.journal.committed();
}

void NamedAgent::go_down() {
  down_ = true;
  changed_.set();
}

Task<void> NamedAgent::shutdown() {
  co_await halt();
  co_await notices_.stop();
}

// --- prompts from the FIFO ---

Task<void> NamedAgent::take_prompts(StopToken stop) {
  for (;;) {
    std::optional<Inbox::Prompt> prompt = co_await inbox_.next(stop);
    if (!prompt) break;
    const bool taken = co_await take_one(&*prompt, stop);
    if (!taken) break;
    // Accepted means committed: only then may the inbox forget it.
    Result<void> in_log = co_await context_.journal.committed();
    if (!in_log.has_value()) break;
    inbox_.settled();
  }
  if (inbox_.failure()) {
    context_.log.write(LogLevel::error, "agent " + spec_.name,
                       "takes nothing from its FIFO any more: " + inbox_.failure()->message);
  }
}

/// False when stopped before it was taken; it stays in the inbox then.
Task<bool> NamedAgent::take_one(const Inbox::Prompt* prompt, StopToken stop) {
  if (prompt->what.refused != nullptr) {
    refuse(prompt->what, prompt->what.refused);
    co_return true;
  }
  if (prompt->again) {
    const SessionNo no = session_.session_no();
    Result<std::optional<TurnRow>> known = co_await context_.read(
        [no, key = prompt->key](Store& store) { return store.find_turn_by_key(no, key); });
    if (!known.has_value()) co_return false;
    if (known->has_value()) co_return true;
  }
  while (!stop.stop_requested()) {
    // A held queue waits for the agent; a prompt must not start it before its time.
    if (!session_.row().held) {
      TurnRequest request;
      request.blocks = acp::text_blocks(prompt->what.text);
      request.idempotency_key = prompt->key;
      Result<TurnRow> accepted = session_.accept(std::move(request));
      if (accepted.has_value()) co_return true;
      if (accepted.error().kind == ErrorKind::invalid) {
        refuse(prompt->what, accepted.error().code);
        co_return true;
      }
    }
    changed_.reset();
    co_await changed_.wait(stop);
  }
  co_return false;
}

void NamedAgent::refuse(const CutPrompt& prompt, std::string_view reason) {
  constexpr std::size_t kHeadMax = 256;
  std::string data;
  JsonWriter(data)
      .begin_object()
      .member("reason", reason)
      .member_uint64("bytes", prompt.bytes)
      .member("head", std::string_view(prompt.text).substr(0, kHeadMax))
      .end_object();
  session_.append_to({}, "fifo.refused", spec_.name, data);
  context_.log.write(LogLevel::warning, "agent " + spec_.name,
                     "a prompt of " + std::to_string(prompt.bytes) +
                         " bytes from the FIFO was refused: " + std::string(reason));
}

}  // namespace berth::server
