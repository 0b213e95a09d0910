// Waiting for readiness, once.
#include <berth/io/fd_reactor.h>
#include <berth/io/op_tags.h>

#include <poll.h>
#include <cerrno>

namespace berth::inline v0::io {

void FdReactor::start(PollOp& op) {
  begin(op);
  OpAccess::armed(op) = true;
  poller_->poll_once(op.handle, POLLIN, user_data(Tag::poll, &op));
}

void FdReactor::poll_event(PollOp& op, const Completion& completion) {
  OpAccess::armed(op) = false;
  OpAccess::word(op) = static_cast<std::uint64_t>(completion.result < 0 ? -completion.result : 0);
  ended_.polls.push_back(op);
}

void FdReactor::cancel(PollOp& op) {
  if (!op.started() || OpAccess::cancelled(op) || !OpAccess::armed(op)) return;
  OpAccess::cancelled(op) = true;
  poller_->cancel(user_data(Tag::poll, &op));
  touch();
}

}  // namespace berth::inline v0::io
