#include "daemon/io/timers.h"

#include <functional>
#include <memory>
#include <random>

#include <gtest/gtest.h>

namespace sluice::io {
namespace {

class TestTimer final : public Timer {
 public:
  explicit TestTimer(std::function<void(uint64_t)> action = {}) : action_(std::move(action)) {}
  int fired = 0;
  uint64_t fired_at = 0;

 private:
  void on_timer(uint64_t now_ms) override {
    ++fired;
    fired_at = now_ms;
    if (action_) action_(now_ms);
  }
  std::function<void(uint64_t)> action_;
};

TEST(Timers, FireInOrderAndOnlyWhenDue) {
  Timers timers;
  std::vector<int> order;
  TestTimer late([&](uint64_t) { order.push_back(2); }), early([&](uint64_t) { order.push_back(1); });
  timers.arm(late, 200);
  timers.arm(early, 100);
  EXPECT_EQ(timers.next_deadline_ms(), 100u);
  timers.fire(99);
  EXPECT_TRUE(order.empty());
  timers.fire(250);
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  EXPECT_FALSE(timers.next_deadline_ms().has_value());
}

TEST(Timers, ArmingAgainMovesTheDeadline) {
  Timers timers;
  TestTimer timer;
  timers.arm(timer, 100);
  timers.arm(timer, 300);
  timers.fire(200);
  EXPECT_EQ(timer.fired, 0);
  timers.fire(300);
  EXPECT_EQ(timer.fired, 1);
}

TEST(Timers, ATimerThatGoesIsCancelled) {
  Timers timers;
  {
    TestTimer timer;
    timers.arm(timer, 1);
  }
  EXPECT_EQ(timers.armed(), 0u);
  timers.fire(10);
}

TEST(Timers, AHandlerMayArmItselfAgainWithoutHoldingTheLoop) {
  Timers timers;
  TestTimer* self = nullptr;
  TestTimer timer([&](uint64_t) { timers.arm(*self, 0); });
  self = &timer;
  timers.arm(timer, 0);
  timers.fire(5);
  EXPECT_EQ(timer.fired, 1);
  timers.fire(5);
  EXPECT_EQ(timer.fired, 2);
}

TEST(Timers, AHandlerMayEndAnotherTimerThatIsDue) {
  Timers timers;
  auto victim = std::make_unique<TestTimer>();
  TestTimer killer([&](uint64_t) { victim.reset(); });
  timers.arm(killer, 1);
  timers.arm(*victim, 2);
  timers.fire(10);
  EXPECT_EQ(killer.fired, 1);
  EXPECT_EQ(timers.armed(), 0u);
}

TEST(Timers, ManyRandomMovesKeepTheOrder) {
  Timers timers;
  std::mt19937 random(7);
  uint64_t last = 0;
  std::vector<std::unique_ptr<TestTimer>> all;
  for (int i = 0; i < 500; ++i) {
    all.push_back(std::make_unique<TestTimer>([&](uint64_t) {}));
  }
  for (int round = 0; round < 5'000; ++round) {
    TestTimer& timer = *all[random() % all.size()];
    if (random() % 4 == 0)
      timer.cancel();
    else
      timers.arm(timer, random() % 10'000);
  }
  size_t armed = timers.armed();
  while (const auto next = timers.next_deadline_ms()) {
    ASSERT_GE(*next, last);
    last = *next;
    timers.fire(*next);
    ASSERT_LT(timers.armed(), armed);
    armed = timers.armed();
  }
}

}  // namespace
}  // namespace sluice::io
