// server/api/log_pages.h — a session's log, page by page, for answers that tell all of it.
#pragma once

#include <berth/core/result.h>
#include <berth/core/task.h>
#include <berth/server/sessions/context.h>

#include <cstdint>
#include <string_view>

namespace berth::server {

/// From behind `after` to `end`, without a hole. Read the first page before the head of the answer
/// goes out: behind it nothing can be told any more but by a body that is cut off.
class LogPages final {
 public:
  /// The context outlives it.
  LogPages(const SessionContext& context, SessionNo session, std::uint64_t after, std::uint64_t end)
      : context_(context), session_(session), after_(after), end_(end) {}

  bool done() const { return after_ >= end_; }
  std::uint64_t end() const { return end_; }

  /// Frames to go through as long as their seq is not above end(); they are good until the next
  /// call. Empty when done. Errors: those of Store::read_events; `not_found` "session_not_found" if
  /// the log was erased, `not_found` "log_cut" if what comes next was, since the page before.
  Task<Result<std::string_view>> next();

 private:
  const SessionContext& context_;
  SessionNo session_;
  std::uint64_t after_;
  std::uint64_t end_;
  bool begun_ = false;
  EventPage page_;
};

}  // namespace berth::server
