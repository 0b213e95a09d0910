// server/cli/batch_tasks.h — what `berth batch` reads and keeps: tasks, predictions, and the record
// of a run.
#pragma once

#include <berth/core/result.h>
#include <berth/server/cli/line_file.h>

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

struct BatchTask {
  std::string instance_id;
  std::string repository;   ///< Path or URL.
  std::string base_commit;  ///< Empty: HEAD.
  std::string prompt;
  std::string agent;  ///< Empty: the server's default.
  std::string model_name;
  double timeout_s = 0;  ///< 0: as long as it takes.
};

/// Reads a task from each line. `fallback` gives what a line leaves out. Fields that it does not
/// know are passed over: data sets carry many. Error `invalid` ("bad_tasks") names the line, also
/// of a second task with the same instance_id.
Result<std::vector<BatchTask>> parse_batch_tasks(std::string_view text, const BatchTask& fallback);

/// How an attempt at a task ended that gave no prediction.
struct BatchFailure {
  std::string instance_id;
  int attempt = 1;
  std::string session;
  std::string state;  ///< A turn's ending, "timed_out", or "error".
  std::string reason;
};

/// The session of an attempt: the same after a restart of `berth batch`. In the grammar of session
/// ids, whatever the instance is called.
std::string batch_session_id(std::string_view run, std::string_view instance_id, int attempt);

/// The two files of a run: OUTPUT with the predictions, OUTPUT.run with its name and failures.
class BatchRecord {
 public:
  /// `wanted`: its name, empty if any will do; `fresh`: the name of a new one for which none is
  /// wanted. Error `conflict` ("other_run") when OUTPUT.run is of another one; `invalid`
  /// ("bad_record") for lines that are no JSON.
  static Result<BatchRecord> open(const std::string& output, const std::string& wanted,
                                  const std::string& fresh);

  const std::string& run() const { return run_; }
  bool has_prediction(const std::string& instance_id) const { return done_.contains(instance_id); }
  /// The last failed attempt; null if there is none.
  const BatchFailure* last_failure(const std::string& instance_id) const;

  /// On the disk when they return.
  Result<void> add_prediction(const BatchTask& task, std::string_view patch);
  Result<void> add_failure(const BatchFailure& failure);

 private:
  BatchRecord(LineFile predictions, LineFile record)
      : predictions_(std::move(predictions)), record_(std::move(record)) {}
  Result<void> read();
  Result<void> name(const std::string& wanted, const std::string& fresh);

  LineFile predictions_;
  LineFile record_;
  std::string run_;
  std::set<std::string, std::less<>> done_;
  std::map<std::string, BatchFailure, std::less<>> failures_;
};

}  // namespace berth::server
