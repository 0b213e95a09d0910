// Prompts that wait: changed, put in another order, sent now.
#include <berth/server/sessions/session.h>

#include <berth/server/sessions/rows_json.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {

auto with_id(std::string_view id) {
  return [id](const TurnRow& turn) { return turn.id == id; };
}

}  // namespace

Error input_promoted() {
  return make_error(ErrorKind::conflict, "input_promoted", "the turn is not queued any more");
}

Result<TurnRow*> Session::input(std::string_view id) {
  const auto found = std::find_if(queue_.begin(), queue_.end(), with_id(id));
  if (found != queue_.end()) return &*found;
  if (find_turn(id) != nullptr) return fail(input_promoted());
  return fail(ErrorKind::not_found, "turn_not_found", "no such turn in memory");
}

Result<TurnRow> Session::edit_input(std::string_view id, InputEdit edit) {
  Result<TurnRow*> found = input(id);
  if (!found.has_value()) return fail(std::move(found.error()));
  if (edit.blocks.size() > context_.limits.prompt_bytes_max) {
    return fail(ErrorKind::invalid, "prompt_too_big", "prompt: above the limit prompt_bytes_max");
  }
  if (!edit.agent.empty()) {
    if (Result<Binding*> known = binding(edit.agent); !known.has_value()) {
      return fail(std::move(known.error()));
    }
  }
  TurnRow& turn = **found;
  if (!edit.agent.empty()) turn.agent = std::move(edit.agent);
  const bool new_prompt = !edit.blocks.empty();
  if (new_prompt) turn.prompt = std::move(edit.blocks);
  append_to(turn.id, "turn.edited", turn.agent, turn_edited_json(turn, new_prompt));
  save_turn(turn);
  return turn;
}

Result<TurnRow> Session::remove_input(std::string_view id) {
  Result<TurnRow*> found = input(id);
  if (!found.has_value()) return fail(std::move(found.error()));
  return cancel(id, "removed from the queue");
}

Result<void> Session::reorder_inputs(const std::vector<std::string>& order) {
  std::vector<TurnRow> next;
  next.reserve(queue_.size());
  for (const std::string& id : order) {
    const bool twice = std::any_of(next.begin(), next.end(), with_id(id));
    const auto found = std::find_if(queue_.begin(), queue_.end(), with_id(id));
    if (found == queue_.end() || twice) {
      return fail(ErrorKind::conflict, "queue_changed",
                  "order: " + id + " is not queued, or twice");
    }
    next.push_back(*found);
  }
  if (next.size() != queue_.size()) {
    return fail(ErrorKind::conflict, "queue_changed", "order: leaves queued turns out");
  }
  take_order(std::move(next));
  return {};
}

/// A turn's number says when it runs, everywhere: so the numbers stay where they are, and the turns
/// change places.
void Session::take_order(std::vector<TurnRow> order) {
  for (std::size_t i = 0; i < order.size(); ++i) {
    TurnRow& turn = order[i];
    const std::int64_t number = queue_[i].number;
    if (turn.number == number) continue;
    turn.number = number;
    append_to(turn.id, "turn.edited", turn.agent, turn_edited_json(turn, false));
    save_turn(turn);
  }
  queue_ = std::move(order);
}

Result<TurnRow> Session::send_now(std::string_view id) {
  Result<TurnRow*> found = input(id);
  if (!found.has_value()) return fail(std::move(found.error()));
  if (row_.state != SessionState::open || closing_) {
    return fail(ErrorKind::conflict, "session_closed", "the session is closed");
  }
  std::vector<TurnRow> order = queue_;
  const auto chosen = std::find_if(order.begin(), order.end(), with_id(id));
  std::rotate(order.begin(), chosen, chosen + 1);
  take_order(std::move(order));
  next_ = queue_.front().id;
  const std::string sent = next_;
  if (row_.held) resume_queue();
  if (current_ && current_->id != sent) {
    const std::string running = current_->id;
    Result<TurnRow> stopped = cancel(running, "another prompt was sent now");
    if (!stopped.has_value()) return stopped;
  }
  return *find_turn(sent);
}

}  // namespace berth::server
