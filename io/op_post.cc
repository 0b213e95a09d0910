// Posting from other threads: by the eventfd; between two rings the wake-up is a message in what
// the sender submits anyway, one for a submission and target. A guest's loop is told beside that.
#include <berth/io/fd_reactor.h>
#include <berth/io/op_tags.h>
#include <berth/io/remote_inbox.h>
#include <berth/io/uring_ring.h>

#include <fcntl.h>
#include <utility>

namespace berth::inline v0::io {

namespace {

/// Reactors that one sends messages to; those beyond are woken by their eventfd.
constexpr std::size_t kPeersMax = 64;

}  // namespace

void FdReactor::post_remote(Runnable& runnable) {
  if (inbox_->push_and_wake(runnable) && host_ != nullptr) host_->on_wake();
}

// A ring's wait_fd() is an eventfd that the kernel writes to. What a write to another eventfd sets
// off it passes on only once (Linux 6.18), so whoever wakes us writes to both.
int FdReactor::wait_fd() {
  const int fd = poller_->wait_fd();
  if (fd < 0 || poller_->ring() == nullptr || std::exchange(told_guest_, true)) return fd;
  Fd same(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!same.valid()) {
    told_guest_ = false;
    return kNoHandle;
  }
  inbox_->tell_also(std::move(same));
  return fd;
}

void FdReactor::post_from(Reactor& sender, Runnable& runnable) {
  auto* from = dynamic_cast<FdReactor*>(&sender);
  if (from == this) return post(runnable);
  const int ring_fd = from == nullptr ? -1 : inbox_->ring_fd();
  Peer* peer = ring_fd < 0 ? nullptr : from->peer_of(inbox_);
  if (peer == nullptr) return post_remote(runnable);
  if (inbox_->push(runnable) == RemoteInbox::Wake::caller) from->send_message(*peer, ring_fd);
}

// Null: to be woken by its eventfd. Only within a turn is it certain that a submission follows.
FdReactor::Peer* FdReactor::peer_of(const std::shared_ptr<RemoteInbox>& inbox) {
  UringRing* ring = poller_->ring();
  if (!in_turn_ || ring == nullptr || !ring->has_messages()) return nullptr;
  for (Peer& peer : peers_) {
    if (peer.inbox == inbox) return &peer;
  }
  for (Peer& peer : peers_) {
    if (peer.inbox->ring_fd() >= 0) continue;
    peer = Peer{inbox};  // the old one is gone
    return &peer;
  }
  if (peers_.size() == kPeersMax) return nullptr;
  return &peers_.emplace_back(Peer{inbox});
}

// By the number of the submission, not of the turn: a full queue is submitted in mid-turn, and a
// message that left has woken nobody for what is posted after it.
void FdReactor::send_message(Peer& peer, int ring_fd) {
  UringRing& ring = *poller_->ring();
  if (peer.messaged && peer.submission == ring.submissions()) return;
  const auto index = static_cast<std::uint64_t>(&peer - peers_.data());
  ring.message(ring_fd, user_data(Tag::message, nullptr), numbered(Tag::undelivered, index));
  peer.messaged = true;
  peer.submission = ring.submissions();
}

// The kernel has no memory for the message, or the ring is gone.
void FdReactor::undelivered_event(std::uint64_t index) {
  if (index < peers_.size()) peers_[index].inbox->wake();
}

// The loop is left: what was queued for others must not wait until it is entered again.
void FdReactor::submit_messages() {
  if (peers_.empty()) return;
  poller_->enter(Duration::zero());
  collect_completions();
}

}  // namespace berth::inline v0::io
