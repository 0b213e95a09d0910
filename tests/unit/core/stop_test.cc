#include <berth/core/stop.h>

#include <gtest/gtest.h>

#include <optional>

namespace berth {
namespace {

class Listener final : public StopListener {
 public:
  void on_stop() override {
    ++calls;
    if (other != nullptr) other->unlink();
  }
  int calls = 0;
  Listener* other = nullptr;
};

TEST(Stop, TellsEachListenerOnce) {
  StopSource source;
  Listener first;
  Listener second;
  source.token().listen(first);
  source.token().listen(second);
  EXPECT_FALSE(source.token().stop_requested());
  EXPECT_EQ(first.calls, 0);

  source.request_stop();
  source.request_stop();
  EXPECT_TRUE(source.token().stop_requested());
  EXPECT_EQ(first.calls, 1);
  EXPECT_EQ(second.calls, 1);
}

TEST(Stop, TellsALateListenerAtOnce) {
  StopSource source;
  source.request_stop();
  Listener late;
  source.token().listen(late);
  EXPECT_EQ(late.calls, 1);
  EXPECT_FALSE(late.linked());
}

TEST(Stop, AListenerThatIsGoneIsNotTold) {
  StopSource source;
  Listener stays;
  {
    Listener goes;
    source.token().listen(goes);
    source.token().listen(stays);
  }
  source.request_stop();
  EXPECT_EQ(stays.calls, 1);
}

TEST(Stop, AListenerMayUnlinkAnotherWhileItIsTold) {
  StopSource source;
  Listener first;
  Listener second;
  first.other = &second;
  source.token().listen(first);
  source.token().listen(second);
  source.request_stop();
  EXPECT_EQ(first.calls, 1);
  EXPECT_EQ(second.calls, 0);
}

TEST(Stop, GoesDownToChildrenAndNotUp) {
  StopSource parent;
  StopSource child(parent.token());
  StopSource grandchild(child.token());
  StopSource sibling(parent.token());

  child.request_stop();
  EXPECT_TRUE(grandchild.stop_requested());
  EXPECT_FALSE(parent.stop_requested());
  EXPECT_FALSE(sibling.stop_requested());

  parent.request_stop();
  EXPECT_TRUE(sibling.stop_requested());
}

TEST(Stop, AChildOfAStoppedParentIsBornStopped) {
  StopSource parent;
  parent.request_stop();
  StopSource child(parent.token());
  EXPECT_TRUE(child.stop_requested());
}

TEST(Stop, ATokenOfNobodyIsNeverStopped) {
  const StopToken token;
  Listener listener;
  token.listen(listener);
  EXPECT_FALSE(token.stop_requested());
  EXPECT_FALSE(listener.linked());
}

}  // namespace
}  // namespace berth
