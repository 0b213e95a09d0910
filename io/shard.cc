#include <berth/io/shard.h>

#include <string>

namespace berth::inline v0::io {

namespace detail {

Result<void> ShardCall::send(bool urgent) {
  const std::size_t open = from_.calls_open(to_);
  const ShardLimits& limits = from_.limits_;
  if (open >= limits.mailbox_max + (urgent ? limits.mailbox_reserve : 0)) {
    return fail(ErrorKind::overloaded, "shard_mailbox_full",
                "shard " + std::to_string(to_.index()) + " has " + std::to_string(open) +
                    " calls of shard " + std::to_string(from_.index()) +
                    " to answer (shard_mailbox_max)");
  }
  ++from_.out_[to_.index()].open;
  sent_in_ = from_.round_;
  from_.put_out(to_, *this);
  return {};
}

bool ShardCall::withdraw() {
  State expected = State::waiting;
  if (!state_.compare_exchange_strong(expected, State::withdrawn, std::memory_order_relaxed)) {
    return false;
  }
  // On its way or there: the other shard finds it withdrawn and sends it back.
  if (sent_in_ != from_.round_) return false;
  unlink();
  --from_.out_[to_.index()].open;
  return true;
}

void ShardCall::answer() {
  answered_ = true;
  to_.put_out(from_, *this);
}

}  // namespace detail

Shard::Shard(Reactor& reactor, std::size_t index, std::size_t count, const ShardLimits& limits)
    : reactor_(reactor),
      index_(index),
      limits_(limits),
      scope_(reactor),
      calls_(reactor),
      out_(count) {
  reactor_.add_turn_hook(*this);
}

Shard::~Shard() {
  BERTH_ASSERT(idle());
}

bool Shard::idle() const {
  for (const Out& out : out_) {
    if (out.open != 0 || !out.calls.empty()) return false;
  }
  return scope_.size() == 0 && calls_.size() == 0;
}

void Shard::put_out(Shard& there, detail::ShardCall& call) {
  out_[there.index_].calls.push_back(call);
  if (anything_out_) return;
  anything_out_ = true;
  if (!nudge_.linked()) reactor_.post(nudge_);
}

void Shard::on_turn_end() {
  if (!anything_out_) return;
  anything_out_ = false;
  ++round_;
  for (Out& out : out_) {
    if (out.calls.empty()) continue;
    Mail& mail = *out.mail;
    bool post = false;
    {
      const std::lock_guard lock(mail.mutex);
      mail.calls.splice_back(out.calls);
      post = !std::exchange(mail.posted, true);
    }
    if (!post) continue;
    if (&mail.to == this) {
      reactor_.post(mail);
    } else {
      mail.to.reactor_.post_from(reactor_, mail);
    }
  }
}

void Shard::Mail::run() {
  IntrusiveList<detail::ShardCall> taken;
  {
    const std::lock_guard lock(mutex);
    taken.splice_back(calls);
    posted = false;
  }
  ++to.mails_received_;
  while (detail::ShardCall* call = taken.pop_front()) to.deliver(*call);
}

void Shard::deliver(detail::ShardCall& call) {
  using State = detail::ShardCall::State;
  if (call.answered_) {
    --out_[call.to_.index_].open;
    call.on_answer(call.state_.load(std::memory_order_relaxed) == State::withdrawn);
    return;
  }
  State expected = State::waiting;
  if (!call.state_.compare_exchange_strong(expected, State::begun, std::memory_order_relaxed)) {
    call.answer();
    return;
  }
  ++calls_begun_;
  call.begin();
}

Shards::Shards(std::span<Reactor* const> reactors, const ShardLimits& limits) {
  for (Reactor* reactor : reactors) {
    shards_.emplace_back(new Shard(*reactor, shards_.size(), reactors.size(), limits));
  }
  for (const std::unique_ptr<Shard>& from : shards_) {
    for (const std::unique_ptr<Shard>& to : shards_) {
      from->out_[to->index_].mail = std::make_unique<Shard::Mail>(*to);
    }
  }
}

void Shards::request_stop() {
  for (const std::unique_ptr<Shard>& shard : shards_) {
    shard->reactor_.post_remote(shard->stop_mail_);
  }
}

}  // namespace berth::inline v0::io
