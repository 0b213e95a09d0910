#include <berth/server/cli/batch_tasks.h>

#include <berth/core/hash.h>
#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/core/text.h>

#include <fmt/format.h>

#include <functional>
#include <utility>

namespace berth::server {

namespace {

/// Of the part of a session's id that shows the instance; the whole id has at most 128 characters.
constexpr std::size_t kShownIdMax = 56;

Error bad_line(const char* code, std::string_view where, std::size_t number,
               std::string_view what) {
  return make_error(ErrorKind::invalid, code, fmt::format("{}:{}: {}", where, number, what));
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

/// Gives `take` each line that is not blank, as JSON, until it gives an error.
Result<void> each_json_line(std::string_view text, const char* code, std::string_view where,
                            const std::function<std::string(const JsonView&)>& take) {
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = take_line(text);
    if (is_blank(line)) continue;
    Result<JsonDoc> document = JsonDoc::parse(line);
    if (!document.has_value()) return fail(bad_line(code, where, number, "is no JSON"));
    const std::string wrong = take(document->root());
    if (!wrong.empty()) return fail(bad_line(code, where, number, wrong));
  }
  return {};
}

/// Puts the first member that is there into `value`; false when one is no text.
bool read_text(const JsonView& task, std::initializer_list<std::string_view> names,
               std::string& value) {
  for (const std::string_view name : names) {
    const JsonView member = task.find(name);
    if (!member.present() || member.is_null()) continue;
    const std::optional<std::string_view> text = member.as_string();
    if (!text) return false;
    value = std::string(*text);
    return true;
  }
  return true;
}

/// What is wrong with it; empty if nothing is.
std::string read_task(const JsonView& json, BatchTask& task) {
  if (!json.is_object()) return "a task is a JSON object";
  const bool texts = read_text(json, {"instance_id"}, task.instance_id) &&
                     read_text(json, {"repository"}, task.repository) &&
                     read_text(json, {"base_commit"}, task.base_commit) &&
                     read_text(json, {"prompt", "problem_statement"}, task.prompt) &&
                     read_text(json, {"agent"}, task.agent) &&
                     read_text(json, {"model_name_or_path"}, task.model_name);
  if (!texts) {
    return "instance_id, repository, base_commit, prompt, agent and model_name_or_path are strings";
  }
  if (task.instance_id.empty()) return "instance_id is missing";
  if (task.repository.empty()) return "repository is missing (or give --repo)";
  if (task.prompt.empty()) return "prompt is missing";
  const JsonView timeout = json.find("timeout");
  if (timeout.present() && !timeout.is_null()) {
    const std::optional<std::int64_t> seconds = timeout.as_int64();
    if (!seconds || *seconds <= 0) return "timeout is a number of seconds above 0";
    task.timeout_s = static_cast<double>(*seconds);
  }
  if (task.model_name.empty()) task.model_name = task.agent.empty() ? "berth" : task.agent;
  return {};
}

}  // namespace

Result<std::vector<BatchTask>> parse_batch_tasks(std::string_view text, const BatchTask& fallback) {
  std::vector<BatchTask> tasks;
  std::set<std::string> seen;
  Result<void> read =
      each_json_line(text, "bad_tasks", "tasks", [&](const JsonView& json) -> std::string {
        BatchTask task = fallback;
        std::string wrong = read_task(json, task);
        if (!wrong.empty()) return wrong;
        if (!seen.insert(task.instance_id).second) {
          return "a second task with the instance_id " + task.instance_id;
        }
        tasks.push_back(std::move(task));
        return {};
      });
  if (!read.has_value()) return fail(std::move(read.error()));
  return tasks;
}

std::string batch_session_id(std::string_view run, std::string_view instance_id, int attempt) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-";
  std::string shown(instance_id.substr(0, kShownIdMax));
  for (char& c : shown) {
    if (kAllowed.find(c) == std::string_view::npos) c = '_';
  }
  // What was lost of the name still tells it from others.
  if (shown != instance_id) shown += fmt::format("-{:016x}", fnv1a(instance_id));
  return fmt::format("batch-{}-{}.{}", run, shown, attempt);
}

Result<BatchRecord> BatchRecord::open(const std::string& output, const std::string& wanted,
                                      const std::string& fresh) {
  Result<LineFile> predictions = LineFile::open(output);
  if (!predictions.has_value()) return fail(std::move(predictions.error()));
  Result<LineFile> record = LineFile::open(output + ".run");
  if (!record.has_value()) return fail(std::move(record.error()));
  BatchRecord opened(std::move(*predictions), std::move(*record));
  Result<void> read = opened.read();
  if (read.has_value()) read = opened.name(wanted, fresh);
  if (!read.has_value()) return fail(std::move(read.error()));
  return opened;
}

Result<void> BatchRecord::read() {
  Result<void> read = each_json_line(predictions_.text(), "bad_record", predictions_.path(),
                                     [this](const JsonView& line) -> std::string {
                                       const std::optional<std::string_view> id =
                                           line.get_string("instance_id");
                                       if (!id) return "is no prediction: it has no instance_id";
                                       if (!done_.emplace(*id).second)
                                         return "a second prediction of " + std::string(*id);
                                       return {};
                                     });
  if (!read.has_value()) return read;
  return each_json_line(record_.text(), "bad_record", record_.path(),
                        [this](const JsonView& line) -> std::string {
                          if (const auto name = line.get_string("run")) {
                            run_ = std::string(*name);
                            return {};
                          }
                          BatchFailure failure;
                          failure.instance_id = line.get_string("instance_id").value_or("");
                          failure.attempt = static_cast<int>(line.get_int64("attempt").value_or(1));
                          failure.session = line.get_string("session").value_or("");
                          failure.state = line.get_string("state").value_or("");
                          failure.reason = line.get_string("reason").value_or("");
                          failures_[failure.instance_id] = std::move(failure);
                          return {};
                        });
}

Result<void> BatchRecord::name(const std::string& wanted, const std::string& fresh) {
  if (!run_.empty()) {
    if (wanted.empty() || wanted == run_) return {};
    return fail(ErrorKind::conflict, "other_run",
                fmt::format("{} is of the run {}, not {}: give another --output", record_.path(),
                            run_, wanted));
  }
  run_ = wanted.empty() ? fresh : wanted;
  std::string line;
  JsonWriter(line).begin_object().member("run", run_).end_object();
  return record_.append(line);
}

const BatchFailure* BatchRecord::last_failure(const std::string& instance_id) const {
  const auto found = failures_.find(instance_id);
  return found == failures_.end() ? nullptr : &found->second;
}

Result<void> BatchRecord::add_prediction(const BatchTask& task, std::string_view patch) {
  std::string line;
  JsonWriter(line)
      .begin_object()
      .member("instance_id", task.instance_id)
      .member("model_name_or_path", task.model_name)
      .member("model_patch", patch)
      .end_object();
  Result<void> added = predictions_.append(line);
  if (added.has_value()) done_.insert(task.instance_id);
  return added;
}

Result<void> BatchRecord::add_failure(const BatchFailure& failure) {
  std::string line;
  JsonWriter(line)
      .begin_object()
      .member("instance_id", failure.instance_id)
      .member_int64("attempt", failure.attempt)
      .member("session", failure.session)
      .member("state", failure.state)
      .member("reason", failure.reason)
      .end_object();
  Result<void> added = record_.append(line);
  if (added.has_value()) failures_[failure.instance_id] = failure;
  return added;
}

}  // namespace berth::server
