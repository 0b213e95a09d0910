#include "uring_rig.h"

#include <berth/io/member_timer.h>

#include <gtest/gtest.h>

#include <chrono>

namespace berth::inline v0::io {
namespace {

class Owner {
 public:
  explicit Owner(Reactor& reactor) : reactor_(reactor) {}
  void begin() { reactor_.arm(timer_, reactor_.clock().now()); }
  int count() const { return count_; }

 private:
  /// Again until the third time.
  void on_time() {
    if (++count_ == 3) return reactor_.stop();
    reactor_.arm(timer_, reactor_.clock().now() + std::chrono::milliseconds(1));
  }

  Reactor& reactor_;
  int count_ = 0;
  MemberTimer<&Owner::on_time> timer_{*this};
};

TEST(MemberTimer, CallsItsOwnersFunctionEachTimeItFires) {
  UringRig rig;
  Owner owner(rig.reactor());
  owner.begin();
  rig.reactor().run();
  EXPECT_EQ(owner.count(), 3);
}

}  // namespace
}  // namespace berth::inline v0::io
