#include <berth/server/sessions/ladder.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>

#include <algorithm>
#include <vector>

namespace berth::server {

namespace {

constexpr std::size_t kNativeHistoryMax = 32;

bool may_pass(ErrorKind kind) {
  return kind == ErrorKind::unavailable || kind == ErrorKind::timed_out ||
         kind == ErrorKind::busy || kind == ErrorKind::overloaded;
}

}  // namespace

AttachPlan plan_after_failure(const AttachFailure& failure, int failures, int timeouts,
                              bool has_memory, const RetryLimits& limits) {
  const AttachStep otherwise = has_memory ? AttachStep::decide : AttachStep::fail;
  if (failure.needs_decision || !may_pass(failure.error.kind)) return {otherwise, {}};
  if (failures > limits.retries_max || timeouts > limits.timeouts_max) return {otherwise, {}};
  Duration wait = limits.wait_first;
  for (int i = 1; i < failures && wait < limits.wait_max; ++i) wait *= 2;
  return {AttachStep::retry, std::min(wait, limits.wait_max)};
}

Result<Choice> choice_named(std::string_view name) {
  if (name == "retry") return Choice::retry;
  if (name == "history") return Choice::history;
  if (name == "fail") return Choice::fail;
  return fail(ErrorKind::invalid, "bad_field", "choice: must be retry, history or fail");
}

std::string_view to_string(Choice choice) {
  switch (choice) {
    case Choice::retry:
      return "retry";
    case Choice::history:
      return "history";
    case Choice::fail:
      return "fail";
  }
  return "retry";
}

std::string add_native_session(std::string_view history, std::string_view id,
                               std::int64_t to_turn) {
  std::vector<std::string> entries;
  std::int64_t from_turn = 1;
  const Result<JsonDoc> doc = JsonDoc::parse(history.empty() ? std::string_view("[]") : history);
  if (doc.has_value()) {
    for (const JsonView& entry : doc->root().elements()) {
      from_turn = std::max(from_turn, entry.get_int64("to_turn").value_or(0) + 1);
      entries.push_back(entry.raw());
    }
  }
  std::string added;
  JsonWriter(added)
      .begin_object()
      .member("id", id)
      .member_int64("from_turn", from_turn)
      .member_int64("to_turn", std::max(to_turn, from_turn - 1))
      .end_object();
  entries.push_back(std::move(added));
  if (entries.size() > kNativeHistoryMax) entries.erase(entries.begin());
  std::string out;
  JsonWriter writer(out);
  writer.begin_array();
  for (const std::string& entry : entries) writer.raw(entry);
  writer.end_array();
  return out;
}

}  // namespace berth::server
