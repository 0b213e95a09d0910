// tests/sim/committed_log.h — remembers every event that was committed, also those that a server
// has cut off its logs since.
#pragma once

#include <berth/server/sessions/frames.h>
#include <berth/server/store/sqlite_store.h>

#include <cstdint>
#include <map>
#include <string>

namespace berth::sim_test {

/// Outlives the servers. What a crash kept from the disk is replaced by what was committed under
/// its number later, as in the store.
class CommittedLog {
 public:
  void add(const server::CommitBatch& batch) {
    for (const auto& run : batch.runs) {
      std::string_view rest = run->frames;
      for (server::Frame frame; server::next_frame(rest, frame);) {
        frames_[run->session][frame.seq] = frame.bytes;
      }
    }
  }
  /// Of a session, from one event to another one.
  std::string frames(server::SessionNo session, std::uint64_t from, std::uint64_t to) const {
    std::string all;
    const auto log = frames_.find(session);
    if (log == frames_.end()) return all;
    for (auto at = log->second.lower_bound(from); at != log->second.end() && at->first <= to;
         ++at) {
      all += at->second;
    }
    return all;
  }

 private:
  std::map<server::SessionNo, std::map<std::uint64_t, std::string>> frames_;
};

class RememberedStore final : public server::SqliteStore {
 public:
  RememberedStore(server::SqliteOptions options, CommittedLog& log)
      : SqliteStore(std::move(options)), log_(log) {}

  server::CommitAnswer commit(const server::CommitBatch& batch, server::OwnerEpoch epoch) override {
    log_.add(batch);
    return SqliteStore::commit(batch, epoch);
  }
  server::Taken commit_now(const server::CommitBatch& batch, server::OwnerEpoch epoch) override {
    log_.add(batch);
    return SqliteStore::commit_now(batch, epoch);
  }

 private:
  CommittedLog& log_;
};

}  // namespace berth::sim_test
