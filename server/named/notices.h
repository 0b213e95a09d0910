// server/named/notices.h — tells a program, or a mailbox, how the turns of a session end.
#pragma once

#include <berth/core/scope.h>
#include <berth/core/sync.h>
#include <berth/server/agents/profile.h>
#include <berth/server/sessions/session.h>

#include <cstdint>
#include <memory>
#include <string>

namespace berth::server {

/// What is told of one turn.
struct Notice {
  std::string agent;
  std::string session;
  TurnRow turn;
  std::string answer;  ///< The text of the turn, bounded.

  /// Turns that a person cancelled are no news.
  bool wanted() const { return turn.state != TurnState::cancelled; }
  bool good() const { return turn.state == TurnState::completed; }
};

/// {"event":"agent_complete"|"agent_error","agent","session","turn","number","state","reason",
///  "answer","usage","ended_ms"}
std::string notice_json(const Notice& notice);
/// The same as a message of RFC 5322, in UTF-8.
std::string notice_mail(const Notice& notice);

/// At least once for each turn that ends, in the order of the turns: what was told is noted behind
/// it, in `<folder>/noticed`. A program that fails is tried three times; then the log says so. On
/// the session's shard; await stop() before it goes.
class Notices final : private LogReader {
 public:
  /// `profile` says whom to tell and outlives it.
  Notices(SessionContext& context, Session& session, const AgentProfile& profile, std::string agent)
      : context_(context),
        session_(session),
        profile_(profile),
        agent_(std::move(agent)),
        news_(context.reactor()),
        scope_(context.reactor()) {}

  /// Nothing happens when nobody is to be told. `folder` exists. From then on no ending is missed;
  /// errors are those of the file.
  Task<Result<void>> start(std::string folder);
  Task<void> stop();

 private:
  void on_log_grew() override;
  Task<void> run(StopToken stop);
  Task<Result<bool>> tell_next(StopToken stop);
  Task<Result<void>> tell(const Notice* notice, StopToken stop);
  Task<Result<void>> run_program(const std::string* json);
  Task<Result<void>> post_mail(const Notice* notice);
  Task<Result<std::int64_t>> read_noticed();
  Task<Result<void>> note(std::int64_t turn_number);

  SessionContext& context_;
  Session& session_;
  const AgentProfile& profile_;
  std::string agent_;
  std::string folder_;
  std::int64_t noticed_ = 0;
  std::int64_t running_ = -1;  // number of the turn that ran when we looked last
  Event news_;
  std::unique_ptr<StopSource> stop_;
  Scope scope_;
};

}  // namespace berth::server
