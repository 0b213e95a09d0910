#include <berth/server/sessions/session.h>

#include <berth/core/json_writer.h>
#include <berth/server/sessions/continuation.h>
#include <berth/server/sessions/rows_json.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {
constexpr std::size_t kRememberedTurns = 8;
}  // namespace

Session::Session(SessionContext& context, SessionSnapshot snapshot)
    : LogWriter(snapshot.session.no, snapshot.last_seq),
      context_(context),
      row_(std::move(snapshot.session)),
      questions_(context, *this, std::move(snapshot.open_interactions)),
      last_turn_number_(snapshot.last_turn_number),
      idle_(context.reactor()),
      changes_(context, *this, std::move(snapshot.change)),
      scope_(context.reactor()) {
  idle_.set();
  for (TurnRow& turn : snapshot.open_turns) {
    if (turn.state == TurnState::queued) {
      queue_.push_back(std::move(turn));
    } else {
      current_ = std::move(turn);  // recover() ends it
    }
  }
  for (BindingRow& binding_row : snapshot.bindings) {
    const std::string agent = binding_row.agent;
    bindings_.emplace(agent, std::make_unique<Binding>(context_, *this, std::move(binding_row)));
  }
}

Session::~Session() {
  BERTH_ASSERT(!busy());
}

// --- the log ---

std::uint64_t Session::append(std::string_view type, std::string_view agent, std::string_view data,
                              bool may_hold_cr) {
  return context_.journal.append(*this, {0, {}, type, turn_id(), agent}, data, may_hold_cr);
}

void Session::save() {
  row_.updated_ms = context_.now_ms();
  context_.journal.add(row_);
}

void Session::save_turn(const TurnRow& turn) {
  context_.journal.add(turn);
}

void Session::on_visible() {
  if (down_) return;
  readers_.for_each([](LogReader& reader) { reader.on_log_grew(); });
  dispatch();
  advance();
}

void Session::opened(std::string_view fallback) {
  save();
  append("session.opened", row_.agent, session_opened_json(row_, fallback));
}

// --- turns ---

Result<Binding*> Session::binding(std::string_view agent) {
  if (context_.agents.find(agent) == nullptr) {
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
  if (row_.state != SessionState::open || closing_) {
    return fail(ErrorKind::conflict, "session_closed", "the session is closed");
  }
  if (context_.journal.failing()) {
    return fail(ErrorKind::unavailable, "store_unavailable", "the store refuses writes now");
  }
  if (request.blocks.size() > context_.limits.prompt_bytes_max) {
    return fail(ErrorKind::invalid, "prompt_too_big", "prompt: above the limit prompt_bytes_max");
  }
  if (request.agent.empty()) request.agent = row_.agent;
  if (Result<Binding*> found = binding(request.agent); !found.has_value()) {
    return fail(std::move(found.error()));
  }
  if ((current_ || !queue_.empty()) && !request.queue_when_busy) {
    return fail(ErrorKind::busy, "turn_running", "a turn is running or waiting in this session");
  }
  if (queue_.size() >= context_.limits.queue_max) {
    return fail(ErrorKind::overloaded, "overloaded",
                "the limit queue_max of this session is reached");
  }
  TurnRow turn;
  turn.session = row_.no;
  turn.number = ++last_turn_number_;
  turn.id = "trn_" + make_ulid(context_.now_ms(), context_.platform.random());
  turn.agent = std::move(request.agent);
  turn.prompt = std::move(request.blocks);
  turn.idempotency_key = std::move(request.idempotency_key);
  turn.body_hash = std::move(request.body_hash);
  turn.created_ms = context_.now_ms();
  context_.journal.append(*this, {0, {}, "turn.queued", turn.id, turn.agent},
                          turn_queued_json(turn));
  save_turn(turn);
  // A person who prompts again after a stop wants the queue to go on.
  if (row_.held) resume_queue();
  const TurnRow answer = turn;
  queue_.push_back(std::move(turn));
  idle_.reset();
  // An idle session starts at once, in the same commit; its agent hears of it only after that.
  advance();
  return current_ && current_->id == answer.id ? *current_ : answer;
}

void Session::advance() {
  if (current_ || queue_.empty() || row_.held || closing_ || down_) return;
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
  cancel_requested_ = false;
  gates_ = 0;
  std::string data;
  JsonWriter(data).begin_object().member_int64("number", current_->number).end_object();
  current_->started_seq = append("turn.started", current_->agent, data);
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
  if (!current_ || dispatched_ || current_->state != TurnState::starting) return;
  if (visible_seq() < current_->started_seq || changes_.hold_prompt()) return;
  Binding& target = **binding(current_->agent);
  if (!target.live()) return;
  dispatched_ = true;
  current_->state = TurnState::running;
  save_turn(*current_);
  if (target.row().continuation_owed) {
    scope_.spawn(send_with_continuation(&target, current_->id));
  } else {
    target.prompt(current_->id, current_->prompt);
  }
}

Task<void> Session::send_with_continuation(Binding* target, std::string turn) {
  Result<std::string> story = co_await build_continuation(context_, row_.no, visible_seq());
  // Meanwhile the turn may have been cancelled or the agent lost.
  if (down_ || !current_ || current_->id != turn || current_->state != TurnState::running ||
      !target->live()) {
    co_return;
  }
  if (!story.has_value()) {
    settle(TurnState::failed, "the continuation could not be read: " + story.error().message, {});
    co_return;
  }
  target->prompt(turn, with_continuation(*story, current_->prompt));
}

void Session::on_agent_ready(Binding& ready) {
  if (current_ && current_->agent == ready.row().agent) dispatch();
}

void Session::on_agent_lost(Binding& lost, std::string_view why) {
  if (!current_ || current_->agent != lost.row().agent) return;
  const bool was_running = current_->state != TurnState::starting;
  if (cancel_requested_) {
    settle(TurnState::cancelled, why, {});
  } else {
    settle(was_running ? TurnState::interrupted : TurnState::failed, why, {});
  }
}

void Session::on_prompt_ended(Binding& from, std::string_view turn, const PromptEnd& end) {
  if (!current_ || current_->id != turn) return;  // its ending is written already
  if (!end.stop_reason.empty()) from.continuation_paid();
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
  if (!current_ || (current_->state != TurnState::running && current_->state != TurnState::waiting))
    return;
  const TurnState state = gates_ > 0 ? TurnState::waiting : TurnState::running;
  if (state == current_->state) return;
  current_->state = state;
  save_turn(*current_);
}

void Session::settle(TurnState state, std::string_view reason, std::string_view usage) {
  context_.reactor().disarm(grace_);
  Binding& target = **binding(current_->agent);
  questions_.cancel_of(target, "end of the turn");
  current_->state = state;
  current_->reason = reason;
  current_->usage = usage;
  current_->ended_ms = context_.now_ms();
  append("turn.ended", current_->agent, turn_ended_json(*current_, target.take_open_tool_calls()));
  save_turn(*current_);
  TurnRow ended = std::move(*current_);
  current_.reset();
  if (state != TurnState::completed && state != TurnState::refused && !queue_.empty()) {
    hold_queue("turn " + std::to_string(ended.number) + " did not complete");
  }
  if (queue_.empty()) idle_.set();
  changes_.turn_ended(ended);
  remember(std::move(ended));
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
  if (current_ && current_->id == id) return &*current_;
  for (const std::vector<TurnRow>* turns : {&queue_, &ended_}) {
    for (const TurnRow& turn : *turns) {
      if (turn.id == id) return &turn;
    }
  }
  return nullptr;
}

const TurnRow* Session::find_turn_by_key(std::string_view key) const {
  if (current_ && current_->idempotency_key == key) return &*current_;
  for (const std::vector<TurnRow>* turns : {&queue_, &ended_}) {
    for (const TurnRow& turn : *turns) {
      if (turn.idempotency_key == key) return &turn;
    }
  }
  return nullptr;
}

Result<TurnRow> Session::cancel(std::string_view id, std::string_view reason) {
  for (auto it = queue_.begin(); it != queue_.end(); ++it) {
    if (it->id != id) continue;
    TurnRow turn = std::move(*it);
    queue_.erase(it);
    turn.state = TurnState::cancelled;
    turn.reason = reason;
    turn.ended_ms = context_.now_ms();
    context_.journal.append(*this, {0, {}, "turn.ended", turn.id, turn.agent},
                            turn_ended_json(turn, {}));
    save_turn(turn);
    if (!current_ && queue_.empty()) idle_.set();
    const TurnRow answer = turn;
    remember(std::move(turn));
    return answer;
  }
  if (!current_ || current_->id != id) {
    if (const TurnRow* ended = find_turn(id)) return *ended;
    return fail(ErrorKind::not_found, "turn_not_found", "no such turn in memory");
  }
  if (cancel_requested_) return *current_;
  cancel_requested_ = true;
  Binding& target = **binding(current_->agent);
  if (!dispatched_) {
    // The agent never heard of it; what starts for it stays warm for the next one.
    const TurnRow before = *current_;
    settle(TurnState::cancelled, reason, {});
    const TurnRow* ended = find_turn(before.id);
    return ended == nullptr ? before : *ended;
  }
  current_->state = TurnState::stopping;
  save_turn(*current_);
  const AgentProfile* profile = context_.agents.find(current_->agent);
  context_.reactor().arm(grace_, context_.reactor().clock().now() + profile->timeouts.cancel_grace);
  target.cancel(current_->id);
  return *current_;
}

void Session::on_cancel_grace_over() {
  if (!current_) return;
  // First, so that a turn that starts now waits for a new process.
  (*binding(current_->agent))->end(true);
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

// --- after a crash of the server ---

Task<void> Session::recover() {
  for (auto& [agent, bound] : bindings_) bound->recover();
  questions_.recover();
  if (current_) {
    Result<std::vector<std::string>> open =
        co_await find_open_tool_calls(context_, row_.no, current_->started_seq);
    current_->state = TurnState::interrupted;
    current_->reason = "the server ended while the turn ran";
    current_->ended_ms = context_.now_ms();
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
  }
  if (is_ending(row_.state)) scope_.spawn(resume_ending());
}

}  // namespace berth::server
