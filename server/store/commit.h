// server/store/commit.h — a write as data: what one commit of a shard holds.
#pragma once

#include <berth/core/byte_buffer.h>
#include <berth/server/store/records.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// Says who owns the sessions of this store; raised each time a node opens it.
using OwnerEpoch = std::int64_t;

/// The events that one session adds in one commit, already in the form in which they are stored and
/// shown: SSE frames `id: N\nevent: T\ndata: {...}\n\n`, one after the other, without gap from
/// `first_seq`. Immutable once its batch is sealed; shared by the store, the tail and every
/// subscriber's write on one shard.
struct EventRun {
  SessionNo session = 0;
  std::uint64_t first_seq = 0;
  std::uint32_t count = 0;
  ByteBuffer frames;

  std::uint64_t last_seq() const { return first_seq + count - 1; }
};

/// Owned by the shard; while a commit is in flight the lane reads it and nobody writes it. The lane
/// gets plain references and never touches a reference count.
struct CommitBatch {
  std::uint64_t number = 0;                     ///< Order of submission on this shard.
  std::vector<std::shared_ptr<EventRun>> runs;  ///< At most one per session.
  std::vector<Record> records;                  ///< Applied in order, after the runs.
  std::size_t event_bytes = 0;
  std::size_t event_count = 0;

  bool empty() const { return runs.empty() && records.empty(); }
};

/// What became of a batch that was offered without the lane (Store::commit_now).
enum class Taken : std::uint8_t {
  no,        ///< Nothing can be said: commit() the very same batch.
  yes,       ///< It is in the log.
  yes_fold,  ///< It is, and so much waits in front of the database that fold() is due.
};

}  // namespace berth::server
