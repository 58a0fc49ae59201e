#include "daemon/events/event_ring.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <thread>

#include "daemon/base/unique_fd.h"

namespace sluice::events {
namespace {

EncodedEvent an_event(std::string bytes) {
  EncodedEvent event;
  event.bytes = std::move(bytes);
  return event;
}

bool take_signal(int fd) {
  uint64_t count = 0;
  return ::read(fd, &count, sizeof count) == sizeof count;
}

class EventRingTest : public testing::Test {
 protected:
  UniqueFd durable_{::eventfd(0, EFD_NONBLOCK)};
  UniqueFd writer_{::eventfd(0, EFD_NONBLOCK)};
  EventRing ring_{durable_.get()};
  void SetUp() override { ring_.set_writer_fd(writer_.get()); }
};

TEST_F(EventRingTest, KeepsOrderAndContentSmallAndLarge) {
  for (size_t size : {size_t{0}, size_t{1}, EventRing::kInlineBytes, EventRing::kInlineBytes + 1, size_t{100000}}) {
    EncodedEvent event = an_event(std::string(size, static_cast<char>('a' + size % 20)));
    event.session = size;
    event.context = size == 1;
    event.type = EventType::coverage;
    ASSERT_TRUE(ring_.publish(std::move(event)).has_value());
  }
  std::vector<EncodedEvent> out;
  EXPECT_EQ(ring_.drain(out, 3), 3u);
  EXPECT_EQ(ring_.drain(out, 100), 2u);
  ASSERT_EQ(out.size(), 5u);
  EXPECT_EQ(out[3].bytes,
            std::string(EventRing::kInlineBytes + 1, static_cast<char>('a' + (EventRing::kInlineBytes + 1) % 20)));
  EXPECT_EQ(out[4].bytes.size(), 100000u);
  EXPECT_EQ(out[4].session, 100000u);
  EXPECT_TRUE(out[1].context);
  EXPECT_EQ(out[1].type, EventType::coverage);
  EXPECT_EQ(ring_.drained(), 5u);
}

TEST_F(EventRingTest, AFullRingSaysSoAndTakesAgainAfterRelease) {
  for (size_t i = 0; i < EventRing::kSlots; ++i) ASSERT_TRUE(ring_.publish(an_event("x")).has_value());
  EXPECT_EQ(ring_.free_slots(), 0u);
  EXPECT_FALSE(ring_.publish(an_event("y")).has_value());
  EXPECT_EQ(ring_.at(1).bytes, "x");
  ring_.release(2);
  EXPECT_EQ(ring_.free_slots(), 2u);
  EXPECT_EQ(ring_.publish(an_event("y")), EventRing::kSlots + 1);
}

TEST_F(EventRingTest, ReleaseLetsTextsGo) {
  auto text = std::make_shared<StoredText>();
  EncodedEvent event = an_event("x");
  event.text = text;
  ASSERT_TRUE(ring_.publish(std::move(event)).has_value());
  EXPECT_EQ(text.use_count(), 2);
  ring_.release(1);
  EXPECT_EQ(text.use_count(), 1);
}

TEST_F(EventRingTest, DurabilityIsSignalledOnlyWhereItIsWaitedFor) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(ring_.publish(an_event("x")).has_value());
  ring_.mark_durable(1);
  EXPECT_FALSE(take_signal(durable_.get()));
  ring_.request_durable(3);
  ring_.mark_durable(2);
  EXPECT_TRUE(take_signal(durable_.get())) << "progress while somebody waits";
  ring_.mark_durable(3);
  EXPECT_TRUE(take_signal(durable_.get()));
  ASSERT_TRUE(ring_.publish(an_event("x")).has_value());
  ring_.mark_durable(4);
  EXPECT_FALSE(take_signal(durable_.get()));
  EXPECT_EQ(ring_.durable(), 4u);
}

TEST_F(EventRingTest, ARequestThatComesTooLateIsAnsweredAtOnce) {
  ASSERT_TRUE(ring_.publish(an_event("x")).has_value());
  ring_.mark_durable(1);
  ring_.request_durable(1);
  EXPECT_TRUE(take_signal(durable_.get()));
}

TEST_F(EventRingTest, WakesASleepingWriterOnRequestAndWhenHalfFullOnly) {
  ring_.set_writer_sleeping(true);
  ASSERT_TRUE(ring_.publish(an_event("x")).has_value());
  EXPECT_FALSE(take_signal(writer_.get()));
  ring_.request_durable(1);
  EXPECT_TRUE(take_signal(writer_.get()));
  ring_.set_writer_sleeping(true);
  for (size_t i = 1; i < EventRing::kSlots / 2 - 1; ++i) ASSERT_TRUE(ring_.publish(an_event("x")).has_value());
  EXPECT_FALSE(take_signal(writer_.get()));
  ASSERT_TRUE(ring_.publish(an_event("x")).has_value());
  EXPECT_TRUE(take_signal(writer_.get()));
}

TEST_F(EventRingTest, AChangeOfStateIsSignalledOnce) {
  EXPECT_EQ(ring_.state(), LogState::healthy);
  ring_.set_state(LogState::healthy);
  EXPECT_FALSE(take_signal(durable_.get()));
  ring_.set_state(LogState::failing);
  EXPECT_TRUE(take_signal(durable_.get()));
  EXPECT_EQ(ring_.state(), LogState::failing);
}

TEST_F(EventRingTest, TwoThreadsLoseNothingAndNeverMissAWakeUp) {
  constexpr uint64_t kEvents = 200000;
  constexpr int kStuckMs = 10000;
  std::thread writer([&] {
    uint64_t next = 1;
    while (next <= kEvents) {
      const uint64_t to = ring_.published();
      for (; next <= to; ++next) ASSERT_EQ(ring_.at(next).bytes, std::to_string(next));
      ring_.mark_durable(to);
      ring_.release(to);
      if (next > kEvents) break;
      ring_.set_writer_sleeping(true);
      if (ring_.durable_requested() <= ring_.durable()) {
        pollfd wake{writer_.get(), POLLIN, 0};
        ASSERT_GT(::poll(&wake, 1, kStuckMs), 0) << "nobody woke the writer";
      }
      ring_.set_writer_sleeping(false);
      take_signal(writer_.get());
    }
  });
  for (uint64_t i = 1; i <= kEvents; ++i) {
    while (!ring_.publish(an_event(std::to_string(i))).has_value()) std::this_thread::yield();
    if (i % 64 != 0 && i != kEvents) continue;
    ring_.request_durable(i);
    while (ring_.durable() < i) {
      pollfd wake{durable_.get(), POLLIN, 0};
      ASSERT_GT(::poll(&wake, 1, kStuckMs), 0) << "nobody said that it is durable";
      take_signal(durable_.get());
    }
  }
  writer.join();
  EXPECT_EQ(ring_.durable(), kEvents);
}

}  // namespace
}  // namespace sluice::events
