#include <berth/server/agents/opencode/tracker.h>

#include <berth/core/json_writer.h>

#include <algorithm>
#include <utility>

namespace berth::server::opencode {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Parts of messages that nobody introduced yet.
constexpr std::size_t kParkedBytesMax = std::size_t{1} << 20;
/// Ids of messages and questions that are over; the oldest ids may be forgotten, because late news
/// comes within seconds.
constexpr std::size_t kPastMax = 4096;

constexpr Duration kDoubtProbe = milliseconds(250);
constexpr Duration kCancelProbe = milliseconds(700);
constexpr Duration kAbortAgain = milliseconds(1500);
constexpr Duration kSilenceFirst = seconds(5);
constexpr int kSilenceDoublings = 3;  // 5, 10, 20, 40 s
/// How long idle answers must go on before an unfinished run counts as ended.
constexpr Duration kDeadRun = seconds(3);
constexpr Duration kCancelledEarly = milliseconds(500);
/// What stays in doubt for so many questions is asked less often: they cost the server time, which
/// would look like work of its own.
constexpr int kDoubtProbes = 16;
constexpr Duration kDoubtProbeLater = seconds(2);

/// Finish reasons after which opencode goes on with another step.
bool is_step_only(std::string_view finish) {
  return finish.empty() || finish == "tool-calls" || finish == "unknown";
}

template <typename Set>
void remember(Set& set, std::string_view id) {
  if (set.size() >= kPastMax) set.clear();
  set.emplace(id);
}

std::string error_text(JsonView error) {
  std::string text(error.get_string("data.message").value_or(""));
  if (text.empty()) text = error.get_string("name").value_or("the agent reported an error");
  return text;
}

}  // namespace

Tracker::Tracker(std::string session_id, TrackerSink& sink, Duration start_max)
    : session_id_(std::move(session_id)), sink_(sink), start_max_(start_max), transcript_(sink) {}

void Tracker::set_context_size(std::string model, std::int64_t tokens) {
  context_sizes_[std::move(model)] = tokens;
}

// --- commands ---

void Tracker::begin_turn(std::string turn, std::string message_id, TimePoint now) {
  BERTH_ASSERT(turn_ == nullptr);
  transcript_.begin_turn();
  parked_.clear();
  parked_bytes_ = 0;
  parking_full_ = false;
  turn_ = std::make_unique<Turn>();
  ++turns_begun_;
  Turn& begun = *turn_;
  begun.id = std::move(turn);
  begun.began = begun.last_news = begun.last_probe = now;
  work_.begin(now);
  begun.prompts.emplace_back().message_id = std::move(message_id);
}

void Tracker::add_prompt(std::string message_id) {
  if (turn_) turn_->prompts.emplace_back().message_id = std::move(message_id);
}

void Tracker::prompt_accepted(std::string_view message_id, TimePoint now) {
  if (!turn_ || turn_->prompts.front().message_id != message_id) return;
  turn_->accepted = true;
  turn_->last_news = now;
}

void Tracker::prompt_refused(std::string_view message_id, const Error& error,
                             std::string_view agent_error) {
  if (!turn_) return;
  const auto found =
      std::find_if(turn_->prompts.begin(), turn_->prompts.end(),
                   [&](const Prompt& prompt) { return prompt.message_id == message_id; });
  if (found == turn_->prompts.end() || found->admitted) return;
  if (found != turn_->prompts.begin()) {
    turn_->prompts.erase(found);
    return;
  }
  fail_turn(error.kind, error.code, error.message, std::string(agent_error));
}

void Tracker::request_cancel(TimePoint now) {
  if (!turn_) return;
  turn_->cancel_requested = true;
  turn_->last_probe = now;
}

bool Tracker::wants_abort(TimePoint now) const {
  if (!turn_ || !turn_->cancel_requested) return false;
  if (turn_->messages.empty() && !turn_->busy_seen) return false;
  return !turn_->abort_sent || now - *turn_->abort_sent >= kAbortAgain;
}

void Tracker::abort_sent(TimePoint now) {
  if (turn_) turn_->abort_sent = now;
}

// --- events ---

void Tracker::on_event(const EventFrame& event, std::string_view child, TimePoint now) {
  const std::string_view type = event.type();
  const JsonView properties = event.properties();
  if (turn_) {
    turn_->last_news = now;
    turn_->silent_probes = 0;
  }
  if (type.starts_with("permission.") || type.starts_with("question.")) {
    if (!child.empty()) add_child(child);
    on_question_event(type, properties, child, now);
    return;
  }
  if (!child.empty()) return add_child(child);
  if (type == "message.part.delta") {
    on_part_event(properties, true, event.repaired());
  } else if (type == "message.part.updated") {
    on_part_event(properties, false, event.repaired());
  } else if (type == "message.updated") {
    on_message(properties.find("info"), now);
  } else if (type == "session.status") {
    on_status(properties.get_string("status.type").value_or(""), properties.find("status"));
  } else if (type == "session.idle") {
    on_idle();
  } else if (type == "session.error") {
    on_error(properties.find("error"));
  } else if (type == "session.updated") {
    on_session(properties.find("info"));
  } else if (type == "session.compacted") {
    sink_.on_notice("opencode/session.compacted", properties.raw());
  } else if (type == "todo.updated") {
    on_todos(properties.find("todos"));
  }
}

Tracker::Prompt* Tracker::find_prompt(std::string_view message_id) {
  for (Prompt& prompt : turn_->prompts) {
    if (prompt.message_id == message_id) return &prompt;
  }
  return nullptr;
}

Tracker::Message* Tracker::find_message(std::string_view message_id) {
  for (Message& message : turn_->messages) {
    if (message.id == message_id) return &message;
  }
  return nullptr;
}

void Tracker::on_message(JsonView info, TimePoint now) {
  const std::string_view id = info.get_string("id").value_or("");
  if (!turn_ || id.empty() || past_.contains(id)) return;
  const std::string_view role = info.get_string("role").value_or("");
  if (role == "user") {
    on_user_message(id, info);
  } else if (role == "assistant") {
    on_assistant_message(id, info, now);
  }
}

void Tracker::on_user_message(std::string_view id, JsonView info) {
  const std::int64_t created = info.get_int64("time.created").value_or(0);
  if (Prompt* known = find_prompt(id)) {
    known->admitted = true;
    known->created = created;
    return;
  }
  // A message that we did not mint, younger than our prompt, joined the run: a compaction and what
  // follows it, a sub-task, another client. Older ones are repeated when their summaries change.
  const Prompt& first = turn_->prompts.front();
  if (!first.admitted || created < first.created) return;
  Prompt& joined = turn_->prompts.emplace_back();
  joined.message_id = id;
  joined.minted = false;
  joined.admitted = true;
  joined.created = created;
}

void Tracker::on_assistant_message(std::string_view id, JsonView info, TimePoint now) {
  const std::string_view parent = info.get_string("parentID").value_or("");
  Message* message = find_message(id);
  if (message == nullptr) {
    Prompt* prompt = find_prompt(parent);
    if (prompt == nullptr) return;  // of an older turn
    prompt->admitted = true;
    add_message(info);
    const auto size =
        context_sizes_.find(std::string(info.get_string("providerID").value_or("")) + "/" +
                            std::string(info.get_string("modelID").value_or("")));
    if (size != context_sizes_.end()) transcript_.set_context_size(size->second);
    unpark(id);
    message = find_message(id);
  }
  turn_->idle_probes = 0;
  turn_->last_news = now;
  // What is complete stays so: an answer to an older GET may come after the event.
  if (message->completed) return;
  message->finish = info.get_string("finish").value_or("");
  message->completed = info.find("time.completed").present();
  const JsonView error = info.find("error");
  if (error.is_object()) {
    message->error = error.raw();
    message->error_name = error.get_string("name").value_or("");
    message->error_text = error_text(error);
  }
  settle_if_complete();
}

Tracker::Message& Tracker::add_message(JsonView info) {
  Message added;
  added.id = info.get_string("id").value_or("");
  added.parent = info.get_string("parentID").value_or("");
  added.created = info.get_int64("time.created").value_or(0);
  turn_->idle_seen = false;
  turn_->in_doubt = false;
  const auto place = std::upper_bound(
      turn_->messages.begin(), turn_->messages.end(), added.created,
      [](std::int64_t created, const Message& other) { return created < other.created; });
  return *turn_->messages.insert(place, std::move(added));
}

void Tracker::on_part_event(JsonView properties, bool is_delta, bool repaired) {
  if (!turn_) return;
  const std::string_view message_id =
      properties.get_string(is_delta ? "messageID" : "part.messageID").value_or("");
  if (past_.contains(message_id) || find_prompt(message_id) != nullptr) return;
  if (find_message(message_id) == nullptr) {
    park(message_id, properties, is_delta, repaired);
  } else if (is_delta) {
    transcript_.on_delta(properties.get_string("partID").value_or(""),
                         properties.get_string("field").value_or(""),
                         properties.get_string("delta").value_or(""), repaired);
  } else {
    transcript_.on_part(properties.find("part"), !repaired);
  }
}

void Tracker::park(std::string_view message_id, JsonView properties, bool is_delta, bool repaired) {
  std::string raw = properties.raw();
  if (parked_bytes_ + raw.size() > kParkedBytesMax) {
    parking_full_ = true;
    return;
  }
  parked_bytes_ += raw.size();
  parked_.push_back({std::string(message_id), std::move(raw), is_delta, repaired});
}

void Tracker::unpark(std::string_view message_id) {
  std::vector<Parked> waiting = std::exchange(parked_, {});
  parked_bytes_ = 0;
  for (Parked& one : waiting) {
    if (one.message_id == message_id) {
      const Result<JsonDoc> properties = JsonDoc::parse(one.properties);
      if (properties.has_value()) on_part_event(properties->root(), one.is_delta, one.repaired);
    } else {
      parked_bytes_ += one.properties.size();
      parked_.push_back(std::move(one));
    }
  }
  if (parking_full_) transcript_.on_stream_lost();  // snapshots will hold what did not fit
}

void Tracker::on_status(std::string_view type, JsonView status) {
  if (type == "idle") {
    on_idle();
    return;
  }
  if (!turn_) return;
  turn_->idle_seen = false;
  turn_->in_doubt = false;
  turn_->idle_probes = 0;
  if (turn_->prompts.front().admitted) turn_->busy_seen = true;
  if (type == "retry") sink_.on_notice("opencode/retry", status.raw());
}

void Tracker::on_idle() {
  if (!turn_) return;
  if (turn_->messages.empty()) {
    // Before any message of ours an idle is a stale one, or that of a run that failed to start.
    turn_->in_doubt = turn_->prompts.front().admitted;
    return;
  }
  turn_->idle_seen = true;
  turn_->in_doubt = true;
  settle_if_complete();
}

void Tracker::on_error(JsonView error) {
  if (!turn_ || !error.is_object()) return;
  if (error.get_string("name").value_or("") == "MessageAbortedError") return;
  if (!turn_->prompts.front().admitted) return;  // of the turn before
  turn_->error = error.raw();
  turn_->error_text = error_text(error);
}

void Tracker::on_session(JsonView info) {
  const std::string_view title = info.get_string("title").value_or("");
  if (title.empty() || title == title_ || title.starts_with("New session - ")) return;
  title_ = title;
  sink_.on_update(session_title(title), "session_info_update", {});
}

void Tracker::on_todos(JsonView todos) {
  if (!todos.is_array()) return;
  std::string update = plan(todos);
  if (update == plan_ || (plan_.empty() && todos.elements().empty())) return;
  plan_ = std::move(update);
  sink_.on_update(plan_, "plan", {});
}

// --- questions ---

void Tracker::add_child(std::string_view child) {
  remember(children_, child);
}

void Tracker::on_question_event(std::string_view type, JsonView properties, std::string_view child,
                                TimePoint now) {
  if (type == "permission.asked") {
    ask(QuestionKind::permission, properties, child, now);
  } else if (type == "question.asked") {
    ask(QuestionKind::elicitation, properties, child, now);
  } else {
    close_question(properties.get_string("requestID").value_or(""));
  }
}

void Tracker::ask(QuestionKind kind, JsonView asked, std::string_view child, TimePoint now) {
  const std::string_view id = asked.get_string("id").value_or("");
  if (!turn_ || id.empty() || open_questions_.contains(id) || closed_questions_.contains(id)) {
    return;
  }
  // opencode keeps listing what an aborted turn had asked.
  if (child.empty() && past_.contains(asked.get_string("tool.messageID").value_or(""))) return;
  open_questions_.emplace(id, Open{kind, now});
  sink_.on_question(kind, id, asked, child);
}

void Tracker::close_question(std::string_view request_id) {
  if (!request_id.empty()) remember(closed_questions_, request_id);
  const auto found = open_questions_.find(request_id);
  if (found == open_questions_.end()) return;
  const std::string id = found->first;
  open_questions_.erase(found);
  sink_.on_question_gone(id);
}

void Tracker::compare_questions(QuestionKind kind, JsonView listed, TimePoint now) {
  if (!listed.is_array() || !turn_) return;
  std::set<std::string, std::less<>> there;
  for (const JsonView& asked : listed.elements()) {
    const std::string_view id = asked.get_string("id").value_or("");
    const std::string_view session = asked.get_string("sessionID").value_or("");
    there.emplace(id);
    if (session == session_id_) {
      ask(kind, asked, {}, now);
    } else if (children_.contains(session)) {
      ask(kind, asked, session, now);
    }
  }
  std::vector<std::string> gone;
  for (const auto& [id, open] : open_questions_) {
    // One that was asked while the list was on its way is not missing from it.
    const bool before = open.asked < turn_->last_probe;
    if (open.kind == kind && before && !there.contains(id)) gone.push_back(id);
  }
  for (const std::string& id : gone) close_question(id);
}

// --- the end of a turn ---

bool Tracker::answers_newest_prompt() const {
  const std::string* newest = nullptr;
  for (const Prompt& prompt : turn_->prompts) {
    if (prompt.minted) newest = &prompt.message_id;
  }
  return std::any_of(turn_->messages.begin(), turn_->messages.end(),
                     [&](const Message& message) { return message.parent == *newest; });
}

void Tracker::settle_if_complete() {
  if (!turn_ || turn_->messages.empty() || !turn_->idle_seen) return;
  const Message& last = turn_->messages.back();
  if (!last.completed) return;
  // An abort between two attempts of the model leaves neither an error nor a finish.
  const bool aborted = turn_->abort_sent && last.finish.empty();
  const bool answered = !is_step_only(last.finish) && answers_newest_prompt();
  if (!last.error.empty() || aborted || answered) settle(&last);
}

void Tracker::settle(const Message* last) {
  PromptEnd end;
  const bool aborted =
      last != nullptr && last->error.empty() && last->finish.empty() && turn_->cancel_requested;
  if (last == nullptr || aborted || last->error_name == "MessageAbortedError") {
    end.stop_reason = "cancelled";
  } else if (last->error_name == "MessageOutputLengthError") {
    end.stop_reason = "max_tokens";
  } else if (last->error_name == "ContentFilterError") {
    end.stop_reason = "refusal";
  } else if (!last->error.empty()) {
    end.agent_error = last->error;
    end.error = make_error(ErrorKind::invalid, "agent_error", last->error_text);
  } else {
    end.stop_reason = stop_reason(last->finish);
  }
  end_turn(std::move(end));
}

void Tracker::fail_turn(ErrorKind kind, const char* code, std::string message,
                        std::string agent_error) {
  PromptEnd end;
  end.error = make_error(kind, code, std::move(message));
  end.agent_error = std::move(agent_error);
  end_turn(std::move(end));
}

void Tracker::end_turn(PromptEnd end) {
  if (transcript_.turn_usage() != Usage()) end.usage = turn_usage(transcript_.turn_usage());
  for (const Prompt& prompt : turn_->prompts) remember(past_, prompt.message_id);
  for (const Message& message : turn_->messages) remember(past_, message.id);
  // What is still open belongs to a run that is over.
  while (!open_questions_.empty()) close_question(std::string(open_questions_.begin()->first));
  const std::string id = std::move(turn_->id);
  turn_.reset();
  parked_.clear();
  sink_.on_turn_ended(id, std::move(end));
}

// --- asking the server ---

std::optional<TimePoint> Tracker::next_probe() const {
  if (!turn_) return std::nullopt;
  if (turn_->cancel_requested) return turn_->last_probe + kCancelProbe;
  if (turn_->in_doubt) {
    return std::max(turn_->last_news, turn_->last_probe) +
           (turn_->idle_probes < kDoubtProbes ? kDoubtProbe : kDoubtProbeLater);
  }
  const int doublings = std::min(turn_->silent_probes, kSilenceDoublings);
  return std::max(turn_->last_news, turn_->last_probe) + kSilenceFirst * (1 << doublings);
}

void Tracker::probe_begun(TimePoint now) {
  if (!turn_) return;
  turn_->last_probe = now;
  ++turn_->silent_probes;
}

void Tracker::on_snapshot(const Snapshot& snapshot, TimePoint now) {
  if (!turn_) return;
  work_.look(now, snapshot.cpu_microseconds, snapshot.answered_in);
  // With the ending of a turn its sink may begin the next one, which this snapshot knows nothing
  // of.
  const std::uint64_t number = turns_begun_;
  const auto over = [&] { return !turn_ || turns_begun_ != number; };
  if (snapshot.messages.is_array()) {
    for (const JsonView& message : snapshot.messages.elements()) {
      const JsonView info = message.find("info");
      const std::string id(info.get_string("id").value_or(""));
      // Parts first: with its message complete the turn may end.
      if (info.get_string("role").value_or("") == "assistant" && find_message(id) == nullptr &&
          !past_.contains(id) && find_prompt(info.get_string("parentID").value_or("")) != nullptr) {
        add_message(info);
        unpark(id);
      }
      if (find_message(id) != nullptr) {
        for (const JsonView& part : message.elements("parts")) transcript_.on_part(part, false);
      }
      on_message(info, now);
      if (over()) return;
    }
  }
  on_todos(snapshot.todos);
  compare_questions(QuestionKind::permission, snapshot.permissions, now);
  compare_questions(QuestionKind::elicitation, snapshot.questions, now);
  if (snapshot.status == Snapshot::Status::busy) {
    turn_->idle_probes = 0;
    turn_->in_doubt = false;
    if (turn_->prompts.front().admitted) turn_->busy_seen = true;
  } else if (snapshot.status == Snapshot::Status::idle && snapshot.messages.is_array()) {
    if (turn_->idle_probes++ == 0) turn_->idle_since = now;
    settle_by_snapshot(now);
  }
}

void Tracker::settle_by_snapshot(TimePoint now) {
  const Duration idle_for = now - turn_->idle_since;
  const Prompt& first = turn_->prompts.front();
  if (!turn_->messages.empty()) {
    const Message& last = turn_->messages.back();
    // The run had begun and the session is idle: it is over. A steered prompt that waits for a run
    // of its own, and the last words of an aborted one, get some time.
    const bool final = last.completed && (answers_newest_prompt() || !last.error.empty());
    if (final) return settle(&last);
    turn_->in_doubt = true;
    if (idle_for < kDeadRun) return;
    if (last.completed) return settle(&last);
    if (turn_->cancel_requested) return settle(nullptr);
    return fail_turn(ErrorKind::unavailable, "agent_error",
                     "the agent stopped in the middle of its answer", turn_->error);
  }
  const bool began = turn_->busy_seen || idle_for >= kCancelledEarly;
  if (first.admitted && began && !turn_->error.empty()) {
    return fail_turn(ErrorKind::invalid, "agent_error", turn_->error_text, turn_->error);
  }
  if (turn_->cancel_requested && turn_->busy_seen && turn_->abort_sent &&
      idle_for >= kCancelledEarly) {
    return settle(nullptr);
  }
  StartFacts facts;
  facts.stored = first.admitted;
  facts.silent = now - std::max(turn_->began, turn_->last_news);
  facts.rested = now - work_.worked();
  if (judge_start(facts, start_max_) == StartVerdict::waits) return;
  fail_turn(ErrorKind::timed_out, "prompt_not_started",
            first.admitted ? "the agent stored the prompt and did not run it"
                           : "the agent did not store the prompt",
            turn_->error);
}

// --- losses ---

void Tracker::on_stream_lost() {
  transcript_.on_stream_lost();
  parked_.clear();  // behind a hole; the snapshot after the next connect has it
  parked_bytes_ = 0;
}

void Tracker::on_server_lost() {
  if (!turn_) return;
  transcript_.flush();
  for (const Prompt& prompt : turn_->prompts) remember(past_, prompt.message_id);
  for (const Message& message : turn_->messages) remember(past_, message.id);
  open_questions_.clear();
  turn_.reset();
}

}  // namespace berth::server::opencode
