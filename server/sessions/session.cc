#include <berth/server/sessions/session.h>

#include <berth/core/json_writer.h>
#include <berth/server/sessions/continuation.h>
#include <berth/server/sessions/rows_json.h>
#include <berth/server/sessions/spans.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {
constexpr std::size_t kRememberedTurns = 8;
constexpr Duration kInstant = std::chrono::nanoseconds(1);
constexpr int kTakenBackMax = 3;
}  // namespace

Session::Session(SessionContext& context, SessionSnapshot snapshot)
    : LogWriter(snapshot.session.no, snapshot.last_seq),
      context_(context),
      row_(std::move(snapshot.session)),
      first_seq_(snapshot.first_seq),
      questions_(context, *this, std::move(snapshot.open_interactions)),
      last_turn_number_(snapshot.last_turn_number),
      verbs_(context.reactor(), 1),
      idle_(context.reactor()),
      changes_(context, *this, std::move(snapshot.change)),
      scope_(context.reactor()) {
  idle_.set();
  for (TurnRow& turn : snapshot.open_turns) {
    if (turn.state == TurnState::queued) {
      queue_.push_back(std::move(turn));
    } else if (turn.started_seq == 0) {
      steering_.push_back({std::move(turn), {}, 0});  // recover() ends these
    } else {
      current_ = std::move(turn);
    }
  }
  Result<std::vector<PermissionRule>> rules = parse_rules(row_.rules);
  if (rules.has_value()) questions_.set_rules(std::move(*rules));
  for (BindingRow& binding_row : snapshot.bindings) {
    const std::string agent = binding_row.agent;
    bindings_.emplace(agent, std::make_unique<Binding>(context_, *this, std::move(binding_row)));
  }
}

SessionUse::~SessionUse() {
  if (session_ == nullptr) return;
  --session_->uses_;
  session_->last_use_ = session_->context_.reactor().clock().now();
}

bool Session::may_unload(TimePoint now) const {
  const Duration rest = row_.state == SessionState::open ? context_.limits.rest_after : Duration();
  const bool works = current_ || paused_ || !queue_.empty() || !steering_.empty() || closing_ ||
                     is_ending(row_.state) || scope_.size() > 0 || !changes_.at_rest() ||
                     !questions_.none_open();
  if (works || uses_ > 0 || busy() || down_ || !readers_.empty()) return false;
  if (!context_.feed.seen_by_all(feed_)) return false;
  return now - last_use_ >= rest &&
         std::all_of(bindings_.begin(), bindings_.end(),
                     [](const auto& entry) { return entry.second->at_rest(); });
}

Session::~Session() {
  context_.reactor().disarm(queue_time_);  // it may be armed where the start was given up
  BERTH_ASSERT(!busy());
  context_.feed.forget(feed_);
}

// --- the log ---

std::uint64_t Session::append(std::string_view type, std::string_view agent, std::string_view data,
                              bool may_hold_cr) {
  return append_to(turn_id(), type, agent, data, may_hold_cr);
}

std::uint64_t Session::append_to(std::string_view turn, std::string_view type,
                                 std::string_view agent, std::string_view data, bool may_hold_cr) {
  return context_.journal.append(*this, {0, {}, type, turn, agent}, data, may_hold_cr);
}

void Session::append_update(std::string_view turn, std::string_view agent,
                            const AgentUpdate& update) {
  context_.journal.append_update(*this, {0, {}, "update", turn, agent}, update.update,
                                 update.has_raw_cr, update.line);
}

void Session::save() {
  row_.updated_ms = context_.now_ms();
  context_.journal.add(row_);
  touch();
}

void Session::save_turn(const TurnRow& turn) {
  context_.journal.add(turn);
  touch();
}

void Session::on_visible() {
  if (down_) return;
  readers_.for_each([](LogReader& reader) { reader.on_log_grew(); });
  steer_what_is_visible();
  dispatch();
  advance();
}

void Session::opened(std::string_view fallback) {
  save();
  append("session.opened", row_.agent, session_opened_json(row_, fallback));
  const AgentProfile* profile = context_.agents.find(row_.agent);
  if (profile->warm && !context_.draining) (*binding(row_.agent))->attach();
}

bool Session::starting() const {
  return std::any_of(bindings_.begin(), bindings_.end(),
                     [](const auto& entry) { return entry.second->up() && !entry.second->live(); });
}

// --- turns ---

Result<Binding*> Session::binding(std::string_view agent) {
  if (context_.find_profile(agent, row_.project) == nullptr) {
    return fail(ErrorKind::invalid, "bad_field",
                "agent: no profile \"" + std::string(agent) + "\"");
  }
  auto& slot = bindings_[std::string(agent)];
  if (slot == nullptr) {
    BindingRow fresh;
    fresh.session = row_.no;
    fresh.agent = agent;
    slot = std::make_unique<Binding>(context_, *this, std::move(fresh));
  }
  return slot.get();
}

Result<TurnRow> Session::accept(TurnRequest request) {
  if (!open()) {
    return fail(ErrorKind::conflict, "session_closed", "the session is closed");
  }
  if (Result<void> takes = context_.takes_work(); !takes.has_value()) {
    return fail(std::move(takes.error()));
  }
  if (request.blocks.size() > context_.limits.prompt_bytes_max) {
    return fail(ErrorKind::invalid, "prompt_too_big", "prompt: above the limit prompt_bytes_max");
  }
  if (request.agent.empty()) request.agent = row_.agent;
  Result<Binding*> target = binding(request.agent);
  if (!target.has_value()) return fail(std::move(target.error()));
  if ((current_ || !queue_.empty()) && request.on_busy == OnBusy::reject) {
    return fail(ErrorKind::busy, "turn_running", "a turn is running or waiting in this session");
  }
  if (queue_.size() + steering_.size() >= context_.limits.queue_max) {
    return fail(ErrorKind::overloaded, "overloaded",
                "queue_max: so many turns wait in this session already");
  }
  // What would have to wait for other sessions is not taken; what waits in this one anyway is.
  if (!current_ && queue_.empty()) {
    if (Result<void> room = (*target)->check_start(); !room.has_value()) {
      return fail(std::move(room.error()));
    }
  }
  TurnRow turn;
  turn.session = row_.no;
  turn.number = ++last_turn_number_;
  turn.id = "trn_" + make_ulid(context_.now_ms(), context_.platform.random());
  turn.agent = std::move(request.agent);
  turn.prompt = std::move(request.blocks);
  turn.idempotency_key = std::move(request.idempotency_key);
  turn.body_hash = std::move(request.body_hash);
  turn.timeout_ms = request.timeout_ms;
  turn.created_ms = context_.now_ms();
  put_trace(context_, request.trace, turn);
  const std::uint64_t seq = append_to(turn.id, "turn.queued", turn.agent, turn_queued_json(turn));
  if (request.on_busy == OnBusy::steer && can_steer(turn.agent)) {
    turn.state = TurnState::starting;
    save_turn(turn);
    steering_.push_back({turn, current_->id, seq});
    return turn;
  }
  save_turn(turn);
  // A person who prompts again after a stop wants the queue to go on.
  if (row_.held) resume_queue();
  const TurnRow answer = turn;
  queue_.push_back(std::move(turn));
  watch_queue();
  idle_.reset();
  // An idle session starts at once, in the same commit; its agent hears of it only after that.
  advance();
  return current_ && current_->id == answer.id ? *current_ : answer;
}

void Session::advance() {
  if (current_ || queue_.empty() || row_.held || paused_ || closing_ || down_) return;
  if (context_.draining) return;
  if (changes_.hold_next_turn()) return;
  TurnRow turn = std::move(queue_.front());
  queue_.erase(queue_.begin());
  start_turn(std::move(turn));
}

void Session::start_turn(TurnRow turn) {
  turn.state = TurnState::starting;
  turn.started_ms = context_.now_ms();
  current_ = std::move(turn);
  dispatched_ = false;
  telling_ = false;
  cancel_requested_ = false;
  expired_ = false;
  gates_ = taken_back_ = 0;
  stalled_ = false;
  current_->started_seq = append("turn.started", current_->agent, turn_started_json(*current_));
  current_->snapshot_before = changes_.turn_starts(*current_);
  save_turn(*current_);
  // The process may start while the commit is on its way; the prompt itself waits for it
  // (dispatch).
  Binding& target = **binding(current_->agent);
  if (row_.workspace_mode == "overlay" && !target.live()) {
    scope_.spawn(attach_when_ready(current_->id));
  } else {
    target.attach();
  }
}

/// An agent that starts in a folder whose mount is lost would see nothing there.
Task<void> Session::attach_when_ready(std::string turn) {
  Result<void> ready = co_await context_.workspaces.ensure_ready(workspace_of(row_));
  if (down_ || !current_ || current_->id != turn) co_return;
  if (ready.has_value()) {
    (*binding(current_->agent))->attach();
  } else {
    settle(TurnState::failed, "the workspace is not there: " + ready.error().message, {});
  }
}

void Session::dispatch() {
  if (!current_ || dispatched_ || telling_ || current_->state != TurnState::starting) return;
  if (visible_seq() < current_->started_seq || changes_.hold_prompt()) return;
  Binding& target = **binding(current_->agent);
  if (!target.live()) return;
  if (!target.owes_story(current_->number)) return send(nullptr);
  telling_ = true;
  scope_.spawn(tell_and_send(&target, current_->id));
}

void Session::send(const Story* story) {
  Binding& target = **binding(current_->agent);
  dispatched_ = true;
  current_->state = TurnState::running;
  save_turn(*current_);
  turn_time_left_ = time_of_turn().most;
  count_turn_time();
  if (story == nullptr) return target.prompt(*current_, current_->prompt);
  const bool own_only = story->own == story->whole + story->digested + story->left_out;
  append("agent.told", current_->agent,
         agent_told_json(*story, target.row().continuation_owed ? "continuation"
                                 : own_only                     ? "interrupted"
                                                                : "missed"));
  target.prompt(*current_, with_story(story->text, current_->prompt));
}

Task<void> Session::tell_and_send(Binding* target, std::string turn) {
  StoryRequest request;
  const std::int64_t epoch = target->row().attach_epoch;
  if (!target->row().continuation_owed) {
    request.agent = target->row().agent;
    request.after_turn = target->row().told_turn;
    const Driver driver = context_.agents.find(request.agent)->driver;
    const bool keeps_half_turns = driver == Driver::acp || driver == Driver::opencode;
    request.own_turns = keeps_half_turns ? OwnTurns::traces : OwnTurns::whole;
  }
  Result<Story> story =
      co_await build_continuation(context_, row_.no, row_.key, visible_seq(), std::move(request));
  // Meanwhile the turn may have been cancelled, and another one may be told.
  if (down_ || !current_ || current_->id != turn) co_return;
  telling_ = false;
  if (current_->state != TurnState::starting) co_return;
  if (target->row().attach_epoch != epoch) {
    dispatch();  // it came back meanwhile, and may know more or less than before
    co_return;
  }
  if (!story.has_value()) {
    settle(TurnState::failed, "the continuation could not be read: " + story.error().message, {});
  } else if (target->live()) {
    send(story->text.empty() ? nullptr : &*story);
  }
}

void Session::on_agent_ready(Binding& ready) {
  if (current_ && current_->agent == ready.row().agent) dispatch();
}

void Session::on_agent_lost(Binding& lost, std::string_view why) {
  if (!current_ || current_->agent != lost.row().agent) return;
  if (cancel_requested_) {
    settle(TurnState::cancelled, why, {});
  } else {
    settle(dispatched_ ? TurnState::interrupted : TurnState::failed, why, {});
  }
}

void Session::on_decision_needed(Binding& lost) {
  if (!current_ || current_->agent != lost.row().agent || dispatched_) return;
  if (current_->state != TurnState::starting) return;
  current_->state = TurnState::waiting;
  save_turn(*current_);
}

void Session::on_decided(Binding& decided) {
  if (!current_ || current_->agent != decided.row().agent || dispatched_) return;
  current_->state = TurnState::starting;
  save_turn(*current_);
  decided.attach();
}

void Session::on_health(Binding& of, const Diagnosis& diagnosis) {
  if (!current_ || current_->agent != of.row().agent) return;
  const bool now = diagnosis.health == Health::stalled;
  if (now == stalled_) return;
  stalled_ = now;
  std::string data;
  JsonWriter(data)
      .begin_object()
      .member_bool("stalled", now)
      .member("why", diagnosis.why)
      .end_object();
  append("turn.stalled", current_->agent, data);
  touch();
}

bool Session::take_back_prompt(const Binding& from, bool untouched) {
  if (!current_ || current_->agent != from.row().agent) return false;
  if (dispatched_ && !untouched) return false;
  if (cancel_requested_ || closing_ || ++taken_back_ > kTakenBackMax) return false;
  dispatched_ = false;
  current_->state = TurnState::starting;
  save_turn(*current_);
  append("turn.taken_back", current_->agent, R"({"reason":"the agent ended before it read it"})");
  return true;
}

void Session::on_prompt_ended(Binding& from, std::string_view turn, const PromptEnd& end) {
  // Else its ending is written already, or the turn is another agent's.
  if (!current_ || current_->id != turn || current_->agent != from.row().agent) return;
  if (!end.stop_reason.empty()) from.answered(current_->number);
  if (end.stop_reason.empty()) {
    const std::string detail = end.agent_error.empty() ? end.error.message : end.agent_error;
    settle(cancel_requested_ ? TurnState::cancelled : TurnState::failed, detail, end.usage);
  } else if (end.stop_reason == "cancelled" || cancel_requested_) {
    // Some agents say end_turn to a turn that was stopped in its middle.
    settle(TurnState::cancelled, end.stop_reason, end.usage);
  } else if (end.stop_reason == "refusal") {
    settle(TurnState::refused, end.stop_reason, end.usage);
  } else {
    settle(TurnState::completed, end.stop_reason, end.usage);
  }
}

void Session::on_gate(int change) {
  gates_ += change;
  if (!current_ || !dispatched_ ||
      (current_->state != TurnState::running && current_->state != TurnState::waiting))
    return;
  const TurnState state = gates_ > 0 ? TurnState::waiting : TurnState::running;
  if (state == current_->state) return;
  current_->state = state;
  save_turn(*current_);
  count_turn_time();
}

void Session::settle(TurnState state, std::string_view reason, std::string_view usage) {
  context_.reactor().disarm(grace_);
  context_.reactor().disarm(turn_time_);
  stalled_ = false;
  Binding& target = **binding(current_->agent);
  questions_.cancel_of(target, "end of the turn");
  if (expired_ && state == TurnState::cancelled) {
    state = TurnState::expired;
    reason = time_of_turn().reason;
  }
  current_->state = state;
  current_->reason = reason;
  if (dispatched_) current_->usage = target.end_turn(usage);
  current_->ended_ms = context_.now_ms();
  context_.count_ending(state);
  on_turn_over(context_, row_, *current_);
  append("turn.ended", current_->agent, turn_ended_json(*current_, target.take_open_tool_calls()));
  save_turn(*current_);
  save();  // when something was done last is in the row
  TurnRow ended = std::move(*current_);
  current_.reset();
  const bool sent_now = !queue_.empty() && queue_.front().id == next_;
  next_.clear();
  if (state != TurnState::completed && state != TurnState::refused && !sent_now &&
      !(queue_.empty() && steering_.empty())) {
    hold_queue("turn " + std::to_string(ended.number) + " did not complete");
  }
  go_idle_if_empty();
  changes_.turn_ended(ended);
  remember(std::move(ended));
  target.rest();
  advance();
}

void Session::on_turn_looked_at(std::int64_t number, const std::string& snapshot) {
  if (!current_ || current_->number != number) return;
  current_->snapshot_before = snapshot;
  save_turn(*current_);
}

void Session::on_changes_settled() {
  if (down_) return;
  dispatch();
  advance();
}

void Session::on_turn_recorded(const TurnRow& turn) {
  save_turn(turn);
  for (TurnRow& ended : ended_) {
    if (ended.id == turn.id) ended.snapshot = turn.snapshot;
  }
}

void Session::remember(TurnRow turn) {
  turn.prompt.clear();
  ended_.push_back(std::move(turn));
  if (ended_.size() > kRememberedTurns) ended_.erase(ended_.begin());
}

const TurnRow* Session::find_turn(std::string_view id) const {
  return find_turn_if([id](const TurnRow& turn) { return turn.id == id; });
}

const TurnRow* Session::find_turn_by_key(std::string_view key) const {
  return find_turn_if([key](const TurnRow& turn) { return turn.idempotency_key == key; });
}

/// Gives an ending to a turn that no agent has heard of.
TurnRow Session::end_unsent(TurnRow turn, TurnState state, std::string_view reason) {
  turn.state = state;
  turn.reason = reason;
  turn.ended_ms = context_.now_ms();
  context_.count_ending(state);
  on_turn_over(context_, row_, turn);
  append_to(turn.id, "turn.ended", turn.agent, turn_ended_json(turn, {}));
  save_turn(turn);
  TurnRow answer = turn;
  remember(std::move(turn));
  return answer;
}

void Session::go_idle_if_empty() {
  if (!current_ && queue_.empty() && steering_.empty()) idle_.set();
}

/// Asks the agent to end the turn; what comes of that settles it.
void Session::stop_turn() {
  cancel_requested_ = true;
  current_->state = TurnState::stopping;
  save_turn(*current_);
  const AgentProfile* profile = context_.agents.find(current_->agent);
  context_.reactor().disarm(turn_time_);
  context_.reactor().arm(grace_, context_.reactor().clock().now() + profile->timeouts.cancel_grace);
  (*binding(current_->agent))->cancel(current_->id);
}

TurnTime Session::time_of_turn() const {
  return turn_time(context_.agents.find(current_->agent)->turn_time_max, current_->timeout_ms);
}

/// The time in which nobody is waited for counts.
void Session::count_turn_time() {
  io::Reactor& reactor = context_.reactor();
  const TimePoint now = reactor.clock().now();
  if (current_->state == TurnState::running) {
    if (turn_time_left_.count() <= 0 || turn_time_.started()) return;
    turn_time_since_ = now;
    reactor.arm(turn_time_, now + turn_time_left_);
  } else if (turn_time_.started()) {
    reactor.disarm(turn_time_);
    turn_time_left_ = std::max<Duration>(turn_time_left_ - (now - turn_time_since_), kInstant);
  }
}

/// Until the oldest one that waits has waited too long.
void Session::watch_queue() {
  const Duration most = context_.limits.queue_time_max;
  io::Reactor& reactor = context_.reactor();
  reactor.disarm(queue_time_);
  if (most.count() <= 0 || queue_.empty() || down_) return;
  std::int64_t oldest = queue_.front().created_ms;
  for (const TurnRow& turn : queue_) oldest = std::min(oldest, turn.created_ms);
  const Duration waited = std::chrono::milliseconds(context_.now_ms() - oldest);
  reactor.arm(queue_time_, reactor.clock().now() + std::max<Duration>(most - waited, kInstant));
}

void Session::on_queue_time_over() {
  const auto most =
      std::chrono::duration_cast<std::chrono::milliseconds>(context_.limits.queue_time_max);
  const std::int64_t eldest_ms = context_.now_ms() - most.count();
  std::vector<TurnRow> waiting;
  for (TurnRow& turn : std::exchange(queue_, {})) {
    if (turn.created_ms <= eldest_ms) {
      end_unsent(std::move(turn), TurnState::expired, "queue_time_max is over, it was not sent");
    } else {
      waiting.push_back(std::move(turn));
    }
  }
  queue_ = std::move(waiting);
  go_idle_if_empty();
  watch_queue();
}

void Session::on_turn_time_over() {
  if (!current_ || cancel_requested_) return;
  expired_ = true;
  stop_turn();
}

Result<TurnRow> Session::cancel(std::string_view id, std::string_view reason) {
  for (auto it = queue_.begin(); it != queue_.end(); ++it) {
    if (it->id != id) continue;
    TurnRow turn = std::move(*it);
    queue_.erase(it);
    TurnRow ended = end_unsent(std::move(turn), TurnState::cancelled, reason);
    go_idle_if_empty();
    return ended;
  }
  for (auto it = steering_.begin(); it != steering_.end(); ++it) {
    if (it->turn.id != id) continue;
    TurnRow turn = std::move(it->turn);
    steering_.erase(it);
    TurnRow ended = end_unsent(std::move(turn), TurnState::cancelled, reason);
    go_idle_if_empty();
    return ended;
  }
  if (!current_ || current_->id != id) {
    if (const TurnRow* ended = find_turn(id)) return *ended;
    return fail(ErrorKind::not_found, "turn_not_found", "no such turn in memory");
  }
  if (cancel_requested_) return *current_;
  if (!dispatched_) {
    cancel_requested_ = true;
    // The agent never heard of it; what starts for it stays warm for the next one.
    const TurnRow before = *current_;
    settle(TurnState::cancelled, reason, {});
    const TurnRow* ended = find_turn(before.id);
    return ended == nullptr ? before : *ended;
  }
  stop_turn();
  return *current_;
}

void Session::on_cancel_grace_over() {
  if (!current_) return;
  const std::string turn = current_->id;
  // First, so that a turn that starts now waits for a new process.
  (*binding(current_->agent))->end(true);
  // A process that was gone at once has settled it already.
  if (!current_ || current_->id != turn) return;
  settle(TurnState::cancelled, "the agent did not answer the cancel; its process was ended", {});
}

void Session::hold_queue(std::string_view reason) {
  row_.held = true;
  save();
  std::string data;
  JsonWriter(data).begin_object().member("reason", reason).end_object();
  append("queue.held", {}, data);
}

void Session::resume_queue() {
  if (!row_.held) return;
  row_.held = false;
  save();
  append("queue.resumed", {}, "{}");
  advance();
}

void Session::set_paused(bool paused) {
  paused_ = paused;
  advance();
}

// --- after a crash of the server ---

Task<void> Session::recover() {
  for (auto& [agent, bound] : bindings_) bound->recover();
  questions_.recover();
  for (Steering& steering : std::exchange(steering_, {})) {
    end_unsent(std::move(steering.turn), TurnState::interrupted,
               "the server ended while it was added to a running turn");
  }
  if (current_ && waits_for_decision()) {
    idle_.reset();  // nothing was sent: it goes on waiting
  } else if (current_) {
    Result<std::vector<std::string>> open =
        co_await find_open_tool_calls(context_, row_.no, current_->started_seq);
    current_->state = TurnState::interrupted;
    current_->reason = "the server ended while the turn ran";
    current_->ended_ms = context_.now_ms();
    context_.count_ending(TurnState::interrupted);
    append("turn.ended", current_->agent,
           turn_ended_json(*current_, open.has_value() ? *open : std::vector<std::string>()));
    save_turn(*current_);
    TurnRow ended = std::move(*current_);
    current_.reset();
    changes_.turn_ended(ended);
    remember(std::move(ended));
  }
  if (!queue_.empty()) {
    idle_.reset();
    if (!row_.held) hold_queue("the server was restarted");
    watch_queue();
  }
  if (is_ending(row_.state)) scope_.spawn(resume_ending());
}

bool Session::waits_for_decision() const {
  if (!current_ || dispatched_ || current_->state != TurnState::waiting) return false;
  const auto found = bindings_.find(current_->agent);
  return found != bindings_.end() && found->second->needs_decision();
}

bool Session::needs(std::string_view agent) const {
  if (current_ && current_->agent == agent) return true;
  return !queue_.empty() && !row_.held && !context_.draining && queue_.front().agent == agent;
}

bool Session::has_past() const {
  if (current_) return current_->number > 1;
  return (queue_.empty() ? last_turn_number_ + 1 : queue_.front().number) > 1;
}

// --- prompts for a turn that runs ---

bool Session::can_steer(std::string_view agent) const {
  return current_ && dispatched_ && current_->agent == agent &&
         (current_->state == TurnState::running || current_->state == TurnState::waiting);
}

/// What cannot be added any more waits its turn, where it would have stood.
void Session::steer_what_is_visible() {
  while (!steering_.empty() && steering_.front().seq <= visible_seq()) {
    Steering steering = std::move(steering_.front());
    steering_.erase(steering_.begin());
    TurnRow& turn = steering.turn;
    const bool added = can_steer(turn.agent) && current_->id == steering.into &&
                       (*binding(turn.agent))->steer(steering.into, turn.prompt);
    if (added) {
      append("turn.steered", turn.agent, turn_steered_json(turn));
      end_unsent(std::move(turn), TurnState::completed, "added to the turn " + steering.into);
      continue;
    }
    turn.state = TurnState::queued;
    save_turn(turn);
    const auto before = std::find_if(queue_.begin(), queue_.end(), [&](const TurnRow& other) {
      return other.number > turn.number;
    });
    queue_.insert(before, std::move(turn));
    watch_queue();
  }
  if (!queue_.empty()) idle_.reset();
}

// --- policy ---

Result<void> Session::set_policy(std::string permission, std::string rules) {
  Result<std::vector<PermissionRule>> parsed = parse_rules(rules);
  if (!parsed.has_value()) return fail(std::move(parsed.error()));
  if (permission != "ask" && permission != "allow" && permission != "reject") {
    return fail(ErrorKind::invalid, "bad_field", "permission: must be ask, allow or reject");
  }
  row_.permission = std::move(permission);
  row_.rules = parsed->empty() ? std::string() : std::move(rules);
  questions_.set_rules(std::move(*parsed));
  save();
  append("policy.changed", {}, policy_json(row_));
  return {};
}

// --- what clients keep here ---

void Session::set_title(std::string title) {
  if (row_.title == title) return;
  row_.title = std::move(title);
  save();
  std::string data;
  JsonWriter(data).begin_object().member("title", row_.title).end_object();
  append("session.titled", {}, data);
}

void Session::set_client_state(std::string json) {
  row_.client_state = std::move(json);
  ++row_.client_state_version;
  save();
}

}  // namespace berth::server
