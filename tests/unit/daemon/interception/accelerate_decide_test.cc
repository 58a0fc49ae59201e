// The short-circuit's decisions, compiled as they are into this test.
#include "bpf/accelerate_decide.h"

#include <gtest/gtest.h>

namespace {

sluice_first_facts drained(bool reader_is_daemon) {
  sluice_first_facts facts = {};
  facts.reader_is_daemon = reader_is_daemon;
  facts.peer_known = 1;
  facts.nothing_sent = 1;
  facts.sent_up_to = facts.taken_up_to = 4'000'000'001u;
  return facts;
}

struct Decided {
  sluice_way way;
  uint8_t reason;
};
Decided decide(const sluice_first_facts& facts) {
  uint8_t reason = SLUICE_TCP_NOT_ASKED;
  const sluice_way way = sluice_decide_first(&facts, &reason);
  return {way, reason};
}

TEST(ShortCircuitFirst, begins_with_the_first_byte) {
  EXPECT_EQ(decide(drained(true)).way, SLUICE_REDIRECTED);
  EXPECT_EQ(decide(drained(false)).way, SLUICE_REDIRECTED);
}

TEST(ShortCircuitFirst, encryption_in_the_kernel_forbids_it) {
  for (const bool reader_is_daemon : {true, false}) {
    sluice_first_facts facts = drained(reader_is_daemon);
    facts.encrypted = 1;
    EXPECT_EQ(decide(facts).way, SLUICE_BY_TCP);
    EXPECT_EQ(decide(facts).reason, SLUICE_TCP_ENCRYPTED);
  }
}

TEST(ShortCircuitFirst, into_the_daemon_it_waits_until_tcp_is_drained) {
  sluice_first_facts facts = drained(true);
  facts.nothing_sent = 0;
  EXPECT_EQ(decide(facts).way, SLUICE_REDIRECTED);  // all that was sent is taken
  facts.sent_up_to += 1;
  EXPECT_EQ(decide(facts).way, SLUICE_UNDECIDED);
  facts.taken_up_to += 1;
  EXPECT_EQ(decide(facts).way, SLUICE_REDIRECTED);
}

TEST(ShortCircuitFirst, into_the_daemon_it_does_not_wait_for_ever) {
  sluice_first_facts facts = drained(true);
  facts.peer_known = 0;
  facts.messages_before = SLUICE_UNDECIDED_MESSAGES_MAX - 1;
  EXPECT_EQ(decide(facts).way, SLUICE_UNDECIDED);
  facts.messages_before = SLUICE_UNDECIDED_MESSAGES_MAX;
  EXPECT_EQ(decide(facts).way, SLUICE_BY_TCP);
  EXPECT_EQ(decide(facts).reason, SLUICE_TCP_NO_PEER);
  facts.peer_known = 1;
  facts.sent_up_to += 1;
  EXPECT_EQ(decide(facts).reason, SLUICE_TCP_NOT_FIRST);
}

TEST(ShortCircuitFirst, into_others_it_is_the_first_byte_or_never) {
  sluice_first_facts facts = drained(false);
  facts.nothing_sent = 0;
  EXPECT_EQ(decide(facts).way, SLUICE_BY_TCP);
  EXPECT_EQ(decide(facts).reason, SLUICE_TCP_NOT_FIRST);
  facts = drained(false);
  facts.peer_known = 0;
  EXPECT_EQ(decide(facts).way, SLUICE_BY_TCP);
  EXPECT_EQ(decide(facts).reason, SLUICE_TCP_NO_PEER);
}

TEST(ShortCircuitRoom, half_of_the_receive_buffer) {
  EXPECT_TRUE(sluice_has_room(0, 65'536, 131'072));
  EXPECT_FALSE(sluice_has_room(0, 65'537, 131'072));
  EXPECT_FALSE(sluice_has_room(1, 65'536, 131'072));
  EXPECT_TRUE(sluice_has_room(65'535, 1, 131'072));
  EXPECT_FALSE(sluice_has_room(65'537, 0, 131'072));
}

TEST(ShortCircuitRoom, sums_do_not_wrap) {
  EXPECT_FALSE(sluice_has_room(0xffffffffu, 2, 0xffffffffu));
  EXPECT_FALSE(sluice_has_room(2, 0xffffffffu, 0xffffffffu));
  EXPECT_FALSE(sluice_has_room(0, 1, 0));
}

TEST(ShortCircuitEnd, two_queues_are_never_filled_for_a_reader_that_does_not_know) {
  EXPECT_TRUE(sluice_may_end(1, 100));
  EXPECT_FALSE(sluice_may_end(0, 100));
  EXPECT_TRUE(sluice_may_end(0, 0));
}

}  // namespace
