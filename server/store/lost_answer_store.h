// server/store/lost_answer_store.h — a store whose answers get lost on the way back, now and then.
// For tests.
#pragma once

#include <berth/core/prng.h>
#include <berth/server/store/store.h>

namespace berth::server {

/// Passes everything through; some commits that were made answer `unknown`, as a broken connection
/// would.
class LostAnswerStore final : public Store {
 public:
  /// One answer in `one_in` is lost. Both outlive this.
  LostAnswerStore(Store& store, Random& random, std::uint64_t one_in)
      : store_(store), random_(random), one_in_(one_in) {}

  std::uint64_t lost() const { return lost_; }

  CommitAnswer commit(const CommitBatch& batch, OwnerEpoch epoch) override {
    CommitAnswer answer = store_.commit(batch, epoch);
    if (answer.outcome != CommitOutcome::committed || !random_.one_in(one_in_)) return answer;
    ++lost_;
    return {CommitOutcome::unknown,
            make_error(ErrorKind::unavailable, "answer_lost", "the answer got lost")};
  }

  Result<OwnerEpoch> open() override { return store_.open(); }
  bool was_left_open() const override { return store_.was_left_open(); }
  Taken commit_now(const CommitBatch& batch, OwnerEpoch epoch) override {
    return store_.commit_now(batch, epoch);
  }
  Result<void> fold() override { return store_.fold(); }
  Result<EventPage> read_events(SessionNo session, std::uint64_t after,
                                std::size_t bytes_max) override {
    return store_.read_events(session, after, bytes_max);
  }
  Result<LogExtent> measure_log(SessionNo session, int turns_max) override {
    return store_.measure_log(session, turns_max);
  }
  Result<LogStretch> weigh_log(SessionNo session, std::uint64_t below, std::size_t bytes_max,
                               int steps_max) override {
    return store_.weigh_log(session, below, bytes_max, steps_max);
  }
  Result<std::optional<LogCutRow>> find_log_cut(SessionNo session) override {
    return store_.find_log_cut(session);
  }
  Result<ErasedLog> erase_cut(std::size_t bytes_max) override {
    return store_.erase_cut(bytes_max);
  }
  Result<SessionNo> last_session_no() override { return store_.last_session_no(); }
  Result<SessionNo> find_session(std::string_view project, std::string_view id) override {
    return store_.find_session(project, id);
  }
  Result<SessionNo> find_session_by_key(std::string_view project,
                                        std::string_view idempotency_key) override {
    return store_.find_session_by_key(project, idempotency_key);
  }
  Result<SessionSnapshot> load_session(SessionNo session) override {
    return store_.load_session(session);
  }
  Result<std::vector<SessionRow>> list_sessions(const SessionQuery& query) override {
    return store_.list_sessions(query);
  }
  Result<std::vector<SessionNo>> unsettled_sessions() override {
    return store_.unsettled_sessions();
  }
  Result<std::vector<TurnRow>> list_turns(SessionNo session, std::int64_t before_number,
                                          int limit) override {
    return store_.list_turns(session, before_number, limit);
  }
  Result<std::optional<TurnRow>> find_turn(SessionNo session, std::string_view id) override {
    return store_.find_turn(session, id);
  }
  Result<std::optional<TurnRow>> find_turn_by_key(SessionNo session,
                                                  std::string_view idempotency_key) override {
    return store_.find_turn_by_key(session, idempotency_key);
  }
  Result<std::vector<InteractionRow>> list_interactions(SessionNo session, bool open_only,
                                                        int limit) override {
    return store_.list_interactions(session, open_only, limit);
  }
  Result<std::optional<InteractionRow>> find_interaction(SessionNo session,
                                                         std::string_view id) override {
    return store_.find_interaction(session, id);
  }
  Result<std::vector<TokenRow>> list_tokens() override { return store_.list_tokens(); }
  Result<StoreSizes> sizes() override { return store_.sizes(); }
  Result<bool> compact(std::size_t bytes_max) override { return store_.compact(bytes_max); }
  Result<std::unique_ptr<StoreBackup>> begin_backup(const std::string& path) override {
    return store_.begin_backup(path);
  }
  Result<void> visit(StoreVisitor& visitor) override { return store_.visit(visitor); }
  Result<std::vector<std::string>> check() override { return store_.check(); }
  Result<std::unique_ptr<StoreScan>> begin_scan() override { return store_.begin_scan(); }

 private:
  Store& store_;
  Random& random_;
  std::uint64_t one_in_;
  std::uint64_t lost_ = 0;
};

}  // namespace berth::server
