// Writing: tried at once, then whenever the poller says that there is room.
#include <berth/io/fd_io.h>
#include <berth/io/fd_reactor.h>
#include <berth/io/op_tags.h>

#include <poll.h>
#include <cerrno>

namespace berth::inline v0::io {

void FdReactor::start(WriteOp& op) {
  begin(op);
  op.written = 0;
  write_more(op);
}

void FdReactor::write_more(WriteOp& op) {
  for (;;) {
    cut_front(op.parts, 0);
    if (op.parts.empty()) return finish_write(op, 0);
    const IoStep step = write_some(op.handle, op.parts);
    if (step.error == EAGAIN) {
      OpAccess::armed(op) = true;
      poller_->poll_once(op.handle, POLLOUT, user_data(Tag::write, &op));
      return;
    }
    if (step.error != 0) return finish_write(op, step.error);
    op.written += step.bytes;
    cut_front(op.parts, step.bytes);
  }
}

void FdReactor::write_event(WriteOp& op, const Completion& completion) {
  OpAccess::armed(op) = false;
  if (OpAccess::cancelled(op)) return finish_write(op, ECANCELED);
  if (completion.result < 0) return finish_write(op, -completion.result);
  write_more(op);
}

void FdReactor::finish_write(WriteOp& op, int error) {
  OpAccess::word(op) = static_cast<std::uint64_t>(error);
  ended_.writes.push_back(op);
}

void FdReactor::cancel(WriteOp& op) {
  // One that is not armed has its result already and only waits for its callback.
  if (!op.started() || OpAccess::cancelled(op) || !OpAccess::armed(op)) return;
  OpAccess::cancelled(op) = true;
  poller_->cancel(user_data(Tag::write, &op));
  touch();
}

}  // namespace berth::inline v0::io
