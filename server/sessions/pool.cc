#include <berth/server/sessions/pool.h>

#include <berth/core/assert.h>

namespace berth::server {

Error overloaded(std::string_view limit, std::string_view what) {
  return make_error(ErrorKind::unavailable, "overloaded",
                    std::string(limit) + ": " + std::string(what));
}

Pool::Pool(io::Reactor& reactor, PoolLimits limits) : reactor_(reactor), limits_(limits) {}

Pool::~Pool() {
  BERTH_ASSERT(members_.empty());
  reactor_.disarm(*this);
}

std::vector<PooledAgent> Pool::agents() {
  std::vector<PooledAgent> all;
  all.reserve(size_);
  members_.for_each([&all](PoolMember& member) { all.push_back(member.pooled()); });
  return all;
}

/// True when no limit can stand in the way, which is so nearly always.
bool Pool::anything_goes(const PooledAgent& wanting) const {
  return waiting_ == 0 && limits_.agents_memory_max == 0 && limits_.agents_per_project_max == 0 &&
         (limits_.agents_live_max == 0 || size_ < limits_.agents_live_max) &&
         starting_ < limits_.agents_starting_max && wanting.not_before <= reactor_.clock().now();
}

Result<void> Pool::check(const PooledAgent& candidate) {
  if (anything_goes(candidate)) return {};
  const char* limit = limit_in_the_way(agents(), candidate, reactor_.clock().now(), limits_);
  if (limit == nullptr) return {};
  ++stats_.refused;
  return fail(overloaded(limit, "no agent can start: those that run are all busy"));
}

void Pool::want(PoolMember& member) {
  BERTH_ASSERT(!member.linked());
  member.waiting_ = true;
  const PooledAgent facts = member.pooled();
  const bool at_once = anything_goes(facts);
  members_.push_back(member);
  ++size_;
  ++waiting_;
  if (at_once) {
    grant(member, false);
  } else {
    look_soon();
  }
}

void Pool::grant(PoolMember& member, bool joins) {
  BERTH_ASSERT(member.waiting_);
  member.waiting_ = false;
  member.starting_ = true;
  --waiting_;
  ++starting_;
  ++stats_.starts;
  member.on_start_granted(joins);
}

void Pool::started(PoolMember& member) {
  if (!member.linked() || !member.starting_) return;
  member.starting_ = false;
  --starting_;
  if (waiting_ > 0) look_soon();
}

void Pool::rested(PoolMember& member) {
  if (!member.linked()) return;
  if (waiting_ > 0) {
    look_soon();
  } else {
    look_at(reactor_.clock().now() + limits_.agents_idle_ttl);
  }
}

void Pool::gone(PoolMember& member) {
  if (!member.linked()) return;
  member.unlink();
  --size_;
  if (member.waiting_) --waiting_;
  if (member.starting_) --starting_;
  member.waiting_ = member.starting_ = false;
  if (waiting_ > 0) look_soon();
}

// --- looking at all of them ---

void Pool::look_soon() {
  look_at(reactor_.clock().now());
}

/// An earlier look stays: it finds out when the next one is needed.
void Pool::look_at(TimePoint when) {
  if (TimerOp::started()) {
    if (looks_at_ <= when) return;
    reactor_.disarm(*this);
  }
  looks_at_ = when;
  reactor_.arm(*this, when);
}

void Pool::on_timer() {
  std::vector<PooledAgent> facts;
  std::vector<PoolMember*> members;
  facts.reserve(size_);
  members.reserve(size_);
  members_.for_each([&](PoolMember& member) {
    facts.push_back(member.pooled());
    members.push_back(&member);
  });
  const PoolPlan plan = plan_pool(facts, reactor_.clock().now(), limits_);
  if (plan.again) look_at(*plan.again);
  apply(plan, members);
}

void Pool::apply(const PoolPlan& plan, const std::vector<PoolMember*>& members) {
  for (const PoolAction& action : plan.actions) {
    PoolMember& member = *members[action.agent];
    // What an earlier action led to may have changed this one.
    if (!member.linked() || member.waiting_ == (action.step == PoolStep::evict)) continue;
    switch (action.step) {
      case PoolStep::start:
        grant(member, action.joins);
        break;
      case PoolStep::evict:
        ++stats_.evicted[action.limit];
        member.on_eviction(action.limit);
        break;
      case PoolStep::refuse:
        ++stats_.refused;
        gone(member);
        member.on_start_refused(
            overloaded(action.limit, "no place became free within start_wait_max"));
        break;
    }
  }
}

}  // namespace berth::server
