// The contract of every Store, with each implementation and decorator.
#include "store_worlds.h"

#include <gtest/gtest.h>

namespace berth::server {
namespace {

class StoreContract : public testing::TestWithParam<WorldKind> {
 protected:
  void SetUp() override { reopen(); }

  void reopen() {
    store_ = &world_->restart();
    Result<OwnerEpoch> epoch = store_->open();
    ASSERT_TRUE(epoch.has_value()) << epoch.error().message;
    epoch_ = *epoch;
  }
  void commit(const CommitBatch& batch) {
    ASSERT_EQ(commit_until_known(*store_, batch, epoch_), CommitOutcome::committed);
  }
  void commit_events(SessionNo session, std::uint64_t first_seq, std::uint32_t count,
                     std::size_t text_bytes = 10) {
    CommitBatch batch;
    add_events(batch, session, first_seq, count, text_bytes);
    commit(batch);
  }
  void commit_record(Record record) {
    CommitBatch batch;
    batch.records.push_back(std::move(record));
    commit(batch);
  }
  EventPage read(SessionNo session, std::uint64_t after, std::size_t bytes_max = 1U << 20U) {
    Result<EventPage> page = store_->read_events(session, after, bytes_max);
    EXPECT_TRUE(page.has_value()) << page.error().message;
    return page ? *page : EventPage{};
  }

  std::unique_ptr<StoreWorld> world_ = GetParam().make();
  Store* store_ = nullptr;
  OwnerEpoch epoch_ = 0;
};

SessionRow full_session(SessionNo no) {
  return {.no = no,
          .project = "default",
          .id = fmt::format("ses_{}", no),
          .key = "01jx",
          .state = SessionState::archived,
          .title = "title \xc3\xa9",
          .agent = "opencode",
          .permission = "ask",
          .workspace_mode = "worktree",
          .repository = "/r",
          .directory = "/w/01jx",
          .branch = "berth/01jx",
          .base_commit = "c0ffee",
          .base_tree = "7ee",
          .options = "{\"a\":1}",
          .created_ms = 1,
          .updated_ms = 2,
          .workspace_ready = true,
          .held = true};
}

TurnRow full_turn(SessionNo session, std::int64_t number) {
  return {.session = session,
          .number = number,
          .id = fmt::format("trn_{}_{}", session, number),
          .state = TurnState::running,
          .agent = "opencode",
          .prompt = "[{\"type\":\"text\"}]",
          .idempotency_key = fmt::format("key {}", number),
          .body_hash = "abc",
          .reason = "end_turn",
          .usage = "{}",
          .snapshot = "d00d",
          .started_seq = 17,
          .created_ms = 3,
          .started_ms = 4,
          .ended_ms = 5,
          .timeout_ms = 90'000};
}

BindingRow full_binding(SessionNo session) {
  return {.session = session,
          .agent = "opencode",
          .state = BindingState::needs_decision,
          .native_session_id = "ses_native",
          .attach_epoch = 9,
          .continuation_owed = true,
          .agent_info = "{\"name\":\"x\"}",
          .mode = "plan",
          .config = "{\"model\":\"m\"}",
          .pid = 4711,
          .start_time = 123456789012,
          .updated_ms = 6};
}

InteractionRow full_interaction(SessionNo session, const std::string& id) {
  return {.session = session,
          .id = id,
          .turn = "trn_1",
          .kind = "permission",
          .payload = "{\"options\":[]}",
          .state = InteractionState::answered,
          .answer = "{\"option_id\":\"once\"}",
          .answered_by = "user",
          .opened_ms = 7,
          .closed_ms = 8};
}

void expect_same(const SessionRow& a, const SessionRow& b) {
  EXPECT_EQ(
      std::tie(a.no, a.project, a.id, a.key, a.state, a.title, a.agent, a.permission,
               a.workspace_mode, a.repository, a.directory, a.branch, a.base_commit, a.base_tree,
               a.options, a.created_ms, a.updated_ms, a.workspace_ready, a.held),
      std::tie(b.no, b.project, b.id, b.key, b.state, b.title, b.agent, b.permission,
               b.workspace_mode, b.repository, b.directory, b.branch, b.base_commit, b.base_tree,
               b.options, b.created_ms, b.updated_ms, b.workspace_ready, b.held));
}

void expect_same(const TurnRow& a, const TurnRow& b) {
  EXPECT_EQ(std::tie(a.session, a.number, a.id, a.state, a.agent, a.prompt, a.idempotency_key,
                     a.body_hash, a.reason, a.usage, a.snapshot, a.started_seq, a.created_ms,
                     a.started_ms, a.ended_ms, a.timeout_ms),
            std::tie(b.session, b.number, b.id, b.state, b.agent, b.prompt, b.idempotency_key,
                     b.body_hash, b.reason, b.usage, b.snapshot, b.started_seq, b.created_ms,
                     b.started_ms, b.ended_ms, b.timeout_ms));
}

TEST_P(StoreContract, GivesBackAnEmptyLogAsAnEmptyPage) {
  const EventPage page = read(1, 0);
  EXPECT_EQ(page.first_seq, 0U);
  EXPECT_EQ(page.last_seq, 0U);
  EXPECT_TRUE(page.frames.empty());
}

TEST_P(StoreContract, GivesBackEventsInOrderAcrossCommitsAndSessions) {
  for (std::uint64_t seq = 1; seq <= 30; seq += 3) {
    CommitBatch batch;
    add_events(batch, 1, seq, 3);
    add_events(batch, 2, seq, 3);
    commit(batch);
  }
  for (SessionNo session : {1, 2}) {
    const EventPage page = read(session, 0);
    EXPECT_EQ(page.first_seq, 1U);
    EXPECT_EQ(page.last_seq, 30U);
    EXPECT_EQ(page.frames, frames_of(session, 1, 30));
  }
}

TEST_P(StoreContract, ReadsFromTheMiddleOfACommit) {
  commit_events(1, 1, 5);
  commit_events(1, 6, 5);
  for (std::uint64_t after = 0; after < 10; ++after) {
    const EventPage page = read(1, after);
    EXPECT_EQ(page.first_seq, after + 1);
    EXPECT_EQ(page.last_seq, 10U);
    EXPECT_EQ(page.frames, frames_of(1, after + 1, static_cast<std::uint32_t>(10 - after)));
  }
  EXPECT_EQ(read(1, 10).first_seq, 0U);
  EXPECT_EQ(read(1, 11).first_seq, 0U);
}

TEST_P(StoreContract, PagesAreBoundedInBytesButGiveAtLeastOneEvent) {
  commit_events(1, 1, 40, 200);
  commit_events(1, 41, 40, 200);
  std::string all;
  std::uint64_t after = 0;
  int pages = 0;
  for (EventPage page = read(1, 0, 1000); page.first_seq != 0; page = read(1, after, 1000)) {
    EXPECT_EQ(page.first_seq, after + 1);
    EXPECT_LE(page.frames.size(), 1300U);
    after = page.last_seq;
    all += page.frames;
    ++pages;
  }
  EXPECT_EQ(all, frames_of(1, 1, 80, 200));
  EXPECT_GE(pages, 16);
  EXPECT_EQ(read(1, 3, 1).last_seq, 4U);
}

TEST_P(StoreContract, RepeatingABatchLeavesOneCopy) {
  CommitBatch batch;
  add_events(batch, 1, 1, 4);
  batch.records.push_back(full_turn(1, 1));
  for (int i = 0; i < 3; ++i) commit(batch);
  commit_events(1, 5, 1);
  EXPECT_EQ(read(1, 0).frames, frames_of(1, 1, 5));
  EXPECT_EQ(store_->list_turns(1, 0, 10)->size(), 1U);
}

TEST_P(StoreContract, RefusesOtherEventsUnderNumbersThatAreTaken) {
  commit_events(1, 1, 4);
  CommitBatch other;
  add_events(other, 2, 1, 1);
  add_events(other, 1, 1, 5);
  const CommitAnswer answer = store_->commit(other, epoch_);
  EXPECT_EQ(answer.outcome, CommitOutcome::unknown);
  EXPECT_STREQ(answer.error.code, "log_conflict");
  EXPECT_EQ(read(1, 0).last_seq, 4U);
  EXPECT_EQ(read(2, 0).last_seq, 0U) << "half of a refused batch is in the log";
}

TEST_P(StoreContract, AStaleEpochWritesNothing) {
  CommitBatch batch;
  add_events(batch, 1, 1, 1);
  batch.records.push_back(full_session(1));
  const CommitAnswer answer = store_->commit(batch, epoch_ - 1);
  EXPECT_EQ(answer.outcome, CommitOutcome::stale_epoch);
  EXPECT_STREQ(answer.error.code, "stale_epoch");
  EXPECT_EQ(read(1, 0).first_seq, 0U);
  EXPECT_EQ(*store_->last_session_no(), 0);
}

TEST_P(StoreContract, EveryOpeningRaisesTheEpoch) {
  const OwnerEpoch before = epoch_;
  reopen();
  EXPECT_GT(epoch_, before);
  CommitBatch batch;
  add_events(batch, 1, 1, 1);
  EXPECT_EQ(commit_until_known(*store_, batch, before), CommitOutcome::stale_epoch);
}

TEST_P(StoreContract, GivesEveryFieldOfASessionBackAfterAReopening) {
  const TurnRow turn = full_turn(3, 1);
  const BindingRow binding = full_binding(3);
  InteractionRow interaction = full_interaction(3, "int_1");
  interaction.state = InteractionState::open;
  CommitBatch batch;
  add_events(batch, 3, 1, 2);
  batch.records = {full_session(3), turn, binding, interaction,
                   ChangeRow{.session = 3,
                             .turn_number = 1,
                             .base = "b",
                             .tree = "t",
                             .summary = "[]",
                             .outcome = "recorded",
                             .recorded_ms = 12}};
  commit(batch);
  reopen();
  Result<SessionSnapshot> found = store_->load_session(3);
  ASSERT_TRUE(found.has_value()) << found.error().message;
  expect_same(found->session, full_session(3));
  EXPECT_EQ(found->last_seq, 2U);
  EXPECT_EQ(found->last_turn_number, 1);
  ASSERT_EQ(found->open_turns.size(), 1U);
  expect_same(found->open_turns[0], turn);
  ASSERT_EQ(found->bindings.size(), 1U);
  const BindingRow& b = found->bindings[0];
  EXPECT_EQ(
      std::tie(b.session, b.agent, b.state, b.native_session_id, b.attach_epoch,
               b.continuation_owed, b.agent_info, b.mode, b.config, b.pid, b.start_time,
               b.updated_ms),
      std::tie(binding.session, binding.agent, binding.state, binding.native_session_id,
               binding.attach_epoch, binding.continuation_owed, binding.agent_info, binding.mode,
               binding.config, binding.pid, binding.start_time, binding.updated_ms));
  ASSERT_EQ(found->open_interactions.size(), 1U);
  const InteractionRow& i = found->open_interactions[0];
  EXPECT_EQ(std::tie(i.session, i.id, i.turn, i.kind, i.payload, i.state, i.answer, i.answered_by,
                     i.opened_ms, i.closed_ms),
            std::tie(interaction.session, interaction.id, interaction.turn, interaction.kind,
                     interaction.payload, interaction.state, interaction.answer,
                     interaction.answered_by, interaction.opened_ms, interaction.closed_ms));
  ASSERT_TRUE(found->change.has_value());
  EXPECT_EQ(found->change->turn_number, 1);
  EXPECT_EQ(
      found->change->base + found->change->tree + found->change->summary + found->change->outcome,
      "bt[]recorded");
  EXPECT_EQ(found->change->recorded_ms, 12);
}

TEST_P(StoreContract, ALaterRecordReplacesTheRowWithItsKey) {
  commit_record(full_session(1));
  SessionRow renamed = full_session(1);
  renamed.title = "new";
  renamed.held = false;
  commit_record(renamed);
  expect_same(store_->load_session(1)->session, renamed);
  for (const char* tree : {"one", "two"}) {
    commit_record(ChangeRow{.session = 1, .tree = tree, .outcome = "recorded"});
  }
  EXPECT_EQ(store_->load_session(1)->change->tree, "two");
}

TEST_P(StoreContract, AnErasureLeavesTheIdOfTheSessionAndOthersAlone) {
  for (const SessionNo no : {1, 2}) {
    commit_events(no, 1, 50);
    commit_record(full_session(no));
    commit_record(full_turn(no, 1));
    commit_record(full_binding(no));
    commit_record(full_interaction(no, "int_1"));
  }
  const SessionSnapshot other = *store_->load_session(2);
  commit_record(Erasure{1});
  commit_record(Erasure{1});
  reopen();
  EXPECT_EQ(read(1, 0).last_seq, 0U);
  EXPECT_EQ(*store_->find_session("default", "ses_1"), 1);
  const Result<SessionSnapshot> erased = store_->load_session(1);
  ASSERT_TRUE(erased.has_value());
  EXPECT_EQ(erased->last_turn_number, 0);
  EXPECT_TRUE(erased->open_turns.empty());
  EXPECT_TRUE(erased->bindings.empty());
  EXPECT_TRUE(store_->list_interactions(1, false, 10)->empty());
  EXPECT_EQ(erased->session.title, "");
  EXPECT_EQ(erased->session.options, "");
  EXPECT_EQ(read(2, 0).last_seq, 50U);
  EXPECT_EQ(store_->load_session(2)->bindings.size(), other.bindings.size());
  EXPECT_EQ(store_->load_session(2)->last_turn_number, 1);
}

TEST_P(StoreContract, KeepsTokensUntilTheyAreErased) {
  const TokenRow first = {.id = "1",
                          .name = "ci",
                          .project = "p",
                          .scopes = "sessions:run",
                          .hash = "aa",
                          .created_ms = 1,
                          .expires_ms = 2,
                          .last_used_ms = 3,
                          .revoked_ms = 4};
  TokenRow second = first;
  second.id = "2";
  commit_record(second);
  commit_record(first);
  second.name = "renamed";
  commit_record(second);
  reopen();
  const Result<std::vector<TokenRow>> tokens = store_->list_tokens();
  ASSERT_EQ(tokens->size(), 2U);
  const TokenRow& kept = (*tokens)[0];
  EXPECT_EQ(std::tie(kept.id, kept.name, kept.project, kept.scopes, kept.hash),
            std::tie(first.id, first.name, first.project, first.scopes, first.hash));
  EXPECT_EQ(std::tie(kept.created_ms, kept.expires_ms, kept.last_used_ms, kept.revoked_ms),
            std::tie(first.created_ms, first.expires_ms, first.last_used_ms, first.revoked_ms));
  EXPECT_EQ((*tokens)[1].name, "renamed");
  commit_record(TokenErasure{"1"});
  commit_record(TokenErasure{"1"});
  EXPECT_EQ(store_->list_tokens()->size(), 1U);
}

TEST_P(StoreContract, FindsSessionsByTheCallersId) {
  commit_record(full_session(5));
  EXPECT_EQ(*store_->find_session("default", "ses_5"), 5);
  EXPECT_EQ(store_->find_session("other", "ses_5").error().kind, ErrorKind::not_found);
  EXPECT_EQ(store_->find_session("default", "ses_6").error().kind, ErrorKind::not_found);
  EXPECT_EQ(store_->load_session(6).error().kind, ErrorKind::not_found);
  EXPECT_EQ(*store_->last_session_no(), 5);
}

TEST_P(StoreContract, ListsSessionsNewestFirstInPages) {
  for (SessionNo no = 1; no <= 7; ++no) {
    SessionRow row = full_session(no);
    row.state = no == 1 ? SessionState::archived : SessionState::open;
    if (no == 4) row.state = SessionState::deleted;
    if (no == 5) row.project = "other";
    commit_record(row);
  }
  const auto numbers = [&](const SessionQuery& query) {
    std::vector<SessionNo> list;
    const std::vector<SessionRow> rows = *store_->list_sessions(query);
    for (const SessionRow& row : rows) list.push_back(row.no);
    return list;
  };
  EXPECT_EQ(numbers({}), (std::vector<SessionNo>{7, 6, 3, 2}));
  EXPECT_EQ(numbers({.include_archived = true}), (std::vector<SessionNo>{7, 6, 3, 2, 1}));
  EXPECT_EQ(numbers({.limit = 2}), (std::vector<SessionNo>{7, 6}));
  EXPECT_EQ(numbers({.before_no = 6, .limit = 2}), (std::vector<SessionNo>{3, 2}));
  EXPECT_EQ(numbers({.include_deleted = true, .before_no = 6}), (std::vector<SessionNo>{4, 3, 2}));
  EXPECT_EQ(numbers({.project = "other"}), (std::vector<SessionNo>{5}));
}

TEST_P(StoreContract, FindsTurnsByIdByKeyAndInPages) {
  for (std::int64_t number = 1; number <= 5; ++number) {
    TurnRow turn = full_turn(1, number);
    if (number == 5) turn.idempotency_key.clear();
    if (number < 4) turn.state = TurnState::completed;
    commit_record(turn);
  }
  commit_record(full_turn(2, 1));
  expect_same(**store_->find_turn(1, "trn_1_2"), [] {
    TurnRow turn = full_turn(1, 2);
    turn.state = TurnState::completed;
    return turn;
  }());
  EXPECT_EQ((*store_->find_turn_by_key(1, "key 3"))->number, 3);
  EXPECT_FALSE(store_->find_turn_by_key(1, "")->has_value());
  EXPECT_FALSE(store_->find_turn_by_key(1, "key 5")->has_value());
  EXPECT_FALSE(store_->find_turn(1, "trn_2_1")->has_value());
  const std::vector<TurnRow> page = *store_->list_turns(1, 4, 2);
  ASSERT_EQ(page.size(), 2U);
  EXPECT_EQ(page[0].number, 3);
  EXPECT_EQ(page[1].number, 2);
  commit_record(full_session(1));
  const SessionSnapshot snapshot = *store_->load_session(1);
  EXPECT_EQ(snapshot.last_turn_number, 5);
  ASSERT_EQ(snapshot.open_turns.size(), 2U);
  EXPECT_EQ(snapshot.open_turns[0].number, 4);
}

TEST_P(StoreContract, EveryTurnStateIsOpenOrEndedAsRecordsSay) {
  for (int state = 0; state <= static_cast<int>(TurnState::expired); ++state) {
    TurnRow turn = full_turn(state + 1, 1);
    turn.state = static_cast<TurnState>(state);
    commit_record(turn);
    commit_record(full_session(state + 1));
    EXPECT_EQ(store_->load_session(state + 1)->open_turns.empty(), is_ended(turn.state)) << state;
  }
  EXPECT_EQ(*store_->unsettled_sessions(), (std::vector<SessionNo>{1, 2, 3, 4, 5}));
}

TEST_P(StoreContract, TellsWhichSessionsARestartMustSettle) {
  TurnRow ended = full_turn(1, 1);
  ended.state = TurnState::cancelled;
  commit_record(ended);
  commit_record(full_turn(2, 1));
  BindingRow live = full_binding(3);
  live.state = BindingState::live;
  commit_record(live);
  commit_record(full_binding(4));
  InteractionRow open = full_interaction(5, "int_1");
  open.state = InteractionState::open;
  commit_record(open);
  commit_record(full_interaction(6, "int_1"));
  EXPECT_EQ(*store_->unsettled_sessions(), (std::vector<SessionNo>{2, 3, 5}));
  open.state = InteractionState::cancelled;
  commit_record(open);
  EXPECT_EQ(*store_->unsettled_sessions(), (std::vector<SessionNo>{2, 3}));
}

TEST_P(StoreContract, ListsInteractionsAndFindsOne) {
  InteractionRow open = full_interaction(1, "int_2");
  open.state = InteractionState::open;
  commit_record(open);
  commit_record(full_interaction(1, "int_1"));
  EXPECT_EQ(store_->list_interactions(1, false, 10)->size(), 2U);
  EXPECT_EQ(store_->list_interactions(1, false, 1)->size(), 1U);
  const std::vector<InteractionRow> waiting = *store_->list_interactions(1, true, 10);
  ASSERT_EQ(waiting.size(), 1U);
  EXPECT_EQ(waiting[0].id, "int_2");
  EXPECT_EQ((*store_->find_interaction(1, "int_1"))->answered_by, "user");
  EXPECT_FALSE(store_->find_interaction(2, "int_1")->has_value());
}

TEST_P(StoreContract, LargeFramesAreReadAsTheyWereWritten) {
  constexpr std::size_t kSizes[] = {500'000, 524'288, 600'000, 3'000'000};
  std::string all;
  std::uint64_t seq = 1;
  for (const std::size_t size : kSizes) {
    for (const std::uint32_t count : {1U, 3U}) {
      CommitBatch batch;
      add_events(batch, 1, seq, count, size);
      commit(batch);
      commit(batch);  // after a lost answer
      all += frames_of(1, seq, count, size);
      seq += count;
    }
    commit_events(1, seq, 1);
    all += frames_of(1, seq++, 1);
  }
  EXPECT_TRUE(read(1, 0, SIZE_MAX).frames == all);
  // Page by page, and from the middle of a large run.
  std::string paged;
  for (std::uint64_t after = 0; after + 1 < seq;) {
    const EventPage page = read(1, after, 700'000);
    ASSERT_EQ(page.first_seq, after + 1);
    ASSERT_GE(page.last_seq, page.first_seq);
    paged += page.frames;
    after = page.last_seq;
  }
  EXPECT_TRUE(paged == all);
  EXPECT_TRUE(read(1, 2, 1).frames == frames_of(1, 3, 1, kSizes[0]));
  while (store_->compact(100'000).value()) {
  }
  EXPECT_TRUE(read(1, 0, SIZE_MAX).frames == all);
  EXPECT_TRUE(store_->check()->empty());
}

TEST_P(StoreContract, CompactingChangesNothingThatCanBeSeen) {
  constexpr std::uint32_t kEvents = 500;
  for (std::uint64_t seq = 1; seq <= kEvents; ++seq) {
    CommitBatch batch;
    add_events(batch, 1, seq, 1, 300);
    if (seq % 7 == 0) add_events(batch, 2, seq / 7, 1, seq == 70 ? 100'000 : 20);
    commit(batch);
  }
  int rounds = 0;
  while (store_->compact(100'000).value()) ++rounds;
  EXPECT_GT(rounds, 0);
  EXPECT_FALSE(store_->compact(1).value());
  EXPECT_EQ(read(1, 0).frames, frames_of(1, 1, kEvents, 300));
  EXPECT_EQ(read(1, 250).first_seq, 251U);
  std::string second;
  for (std::uint64_t seq = 1; seq <= kEvents / 7; ++seq) {
    second += frames_of(2, seq, 1, seq == 10 ? 100'000 : 20);
  }
  EXPECT_EQ(read(2, 0).frames, second);
  CommitBatch repeated;
  add_events(repeated, 1, kEvents, 1, 300);
  commit(repeated);
  for (std::uint64_t seq = kEvents + 1; seq <= kEvents + 40; ++seq) commit_events(1, seq, 1, 300);
  while (store_->compact(100'000).value()) {
  }
  EXPECT_EQ(read(1, 0).frames, frames_of(1, 1, kEvents + 40, 300));
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreContract, testing::ValuesIn(store_worlds()),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace berth::server
