// server/store/store_dump.h — a store as lines of JSON, and a store made of such lines.
#pragma once

#include <berth/server/store/store.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::server {

/// What is in it, to tell people.
struct DumpCounts {
  std::uint64_t sessions = 0;
  std::uint64_t rows = 0;  ///< Of all tables.
  std::uint64_t events = 0;
  std::uint64_t lines = 0;
};

/// Takes the lines of an export, without their ends.
class DumpSink {
 public:
  virtual ~DumpSink() = default;
  virtual Result<void> on_line(std::string_view line) = 0;
};

/// Everything in the store, readable by any version from the one that wrote it on:
///
///     {"berth_store":1,"schema":2}
///     {"table":"sessions","row":{"no":1,"project":"default",...}}
///     {"table":"events","row":{"session":1,"first_seq":1,"count":3,"frames":"id: 1\n..."}}
///     {"end":3}                                                          lines before this one
///
/// Columns are those of the database, states their numbers. A text that is no UTF-8 (a path may be
/// such) is {"hex":"..."}. Files of worktrees and of agents are not in it.
Result<DumpCounts> export_store(Store& store, DumpSink& sink);

/// Puts the lines of an export into a store that is empty. Then the store gives the same answers as
/// the one that was exported.
class StoreImport {
 public:
  /// `store` is open with `epoch`, empty, and outlives this.
  StoreImport(Store& store, OwnerEpoch epoch) : store_(store), epoch_(epoch) {}

  /// Errors: `conflict` "store_not_empty"; `unsupported` "export_too_new"; `invalid` "bad_export",
  /// which names the line; those of the store. After an error the store is to be thrown away.
  Result<void> line(std::string_view line);
  /// After the last line. Error `invalid` "export_truncated" when the export's end was not there.
  Result<DumpCounts> finish();

 private:
  Result<void> begin(std::string_view line);
  Result<void> take(std::string_view line);
  Result<void> flush();

  Store& store_;
  OwnerEpoch epoch_;
  CommitBatch batch_;
  SessionNo run_of_ = 0;  // whose log the batch ends with: one run a session in a batch
  std::size_t batch_bytes_ = 0;
  DumpCounts counts_;
  bool ended_ = false;
};

}  // namespace berth::server
