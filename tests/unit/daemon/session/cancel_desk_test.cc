#include "daemon/session/cancel_desk.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace sluice::session {
namespace {

std::vector<uint8_t> key(std::string_view text) {
  return {text.begin(), text.end()};
}

struct Count {
  int delivered = 0;
  bool takes = true;
  CancelDesk::Deliver deliver() {
    return [this] {
      delivered += takes ? 1 : 0;
      return takes;
    };
  }
};

TEST(CancelDesk, OnlyWhoWaitsIsTold) {
  CancelDesk desk;
  Count count;
  const auto slot = desk.enter("db", key("1234abcd"), count.deliver());
  ASSERT_NE(slot, nullptr);
  EXPECT_FALSE(desk.deliver("db", key("1234abcd"))) << "nothing waits: it is the server's";
  slot->set_waiting(true);
  EXPECT_FALSE(desk.deliver("db", key("1234abce")));
  EXPECT_FALSE(desk.deliver("other", key("1234abcd")));
  EXPECT_TRUE(desk.deliver("db", key("1234abcd")));
  EXPECT_EQ(count.delivered, 1);
  EXPECT_FALSE(desk.deliver("db", key("1234abcd"))) << "one cancel for one command";
  slot->set_waiting(false);
  slot->set_waiting(true);
  EXPECT_FALSE(desk.deliver("db", key("1234abcd"))) << "the first one was not seen to yet";
  EXPECT_TRUE(slot->take());
  EXPECT_FALSE(slot->take()) << "once";
  slot->set_waiting(true);
  EXPECT_FALSE(slot->take());
  EXPECT_TRUE(desk.deliver("db", key("1234abcd")));
  EXPECT_EQ(count.delivered, 2);
}

TEST(CancelDesk, AWorkerThatTakesNoMoreLeavesItToTheServer) {
  CancelDesk desk;
  Count count;
  count.takes = false;
  const auto slot = desk.enter("db", key("k"), count.deliver());
  slot->set_waiting(true);
  EXPECT_FALSE(desk.deliver("db", key("k")));
  count.takes = true;
  slot->set_waiting(true);
  EXPECT_TRUE(desk.deliver("db", key("k"))) << "and the slot still works";
}

// The session's worker may look while the letter is refused: then it has the cancel, and the server must not.
TEST(CancelDesk, ACancelThatTheWorkerSawByItselfNeedsNoLetter) {
  CancelDesk desk;
  CancelDesk::SlotRef slot;
  slot = desk.enter("db", key("k"), [&slot] {
    EXPECT_TRUE(slot->take());
    return false;
  });
  slot->set_waiting(true);
  EXPECT_TRUE(desk.deliver("db", key("k")));
}

TEST(CancelDesk, SlotsEndWithTheirSessions) {
  CancelDesk desk;
  Count first, second;
  const auto one = desk.enter("db", key("k"), first.deliver());
  const auto two = desk.enter("db", key("k"), second.deliver());
  EXPECT_EQ(desk.size(), 1u) << "the server gave the key to another session";
  desk.leave("db", key("k"), one);
  EXPECT_EQ(desk.size(), 1u) << "it is no longer the first one's";
  two->set_waiting(true);
  EXPECT_TRUE(desk.deliver("db", key("k")));
  EXPECT_EQ(second.delivered, 1);
  desk.leave("db", key("k"), two);
  EXPECT_EQ(desk.size(), 0u);
  EXPECT_FALSE(desk.deliver("db", key("k")));
}

TEST(CancelDesk, IsBounded) {
  CancelDesk desk;
  Count count;
  for (size_t i = 0; i < CancelDesk::kSlotsMax; ++i)
    ASSERT_NE(desk.enter("db", key(std::to_string(i)), count.deliver()), nullptr);
  EXPECT_EQ(desk.enter("db", key("one more"), count.deliver()), nullptr);
  EXPECT_NE(desk.enter("db", key("7"), count.deliver()), nullptr) << "a known key takes no more room";
}

// A cancel reaches its command exactly once, or the server: whatever the two threads do meanwhile.
TEST(CancelDesk, ACancelIsNeverLostBetweenThreads) {
  CancelDesk desk;
  std::atomic<int> told{0};
  const auto slot = desk.enter("db", key("k"), [&told] {
    ++told;
    return true;
  });
  int delivered = 0;
  std::atomic<bool> over{false};
  std::thread canceller([&] {
    while (!over) delivered += desk.deliver("db", key("k")) ? 1 : 0;
  });
  int seen = 0;
  for (int i = 0; i < 20'000; ++i) {
    slot->set_waiting(true);
    slot->set_waiting(false);
    seen += slot->take() ? 1 : 0;
  }
  over = true;
  canceller.join();
  EXPECT_EQ(delivered, told);
  EXPECT_LE(told - seen, 1);
}

}  // namespace
}  // namespace sluice::session
