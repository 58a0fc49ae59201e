#include "daemon/session/output_queue.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::session {
namespace {

void append(OutputQueue& queue, std::string_view text, uint64_t barrier, size_t skip = 0) {
  const Actions::Piece piece{reinterpret_cast<const uint8_t*>(text.data()), text.size()};
  queue.append({&piece, 1}, skip, barrier);
}

std::string take(OutputQueue& queue, uint64_t durable, size_t most = SIZE_MAX) {
  const auto ready = queue.ready(durable);
  std::string taken(reinterpret_cast<const char*>(ready.data()), std::min(most, ready.size()));
  queue.consume(taken.size());
  return taken;
}

TEST(OutputQueue, KeepsOrderAcrossPartialTakes) {
  OutputQueue queue;
  append(queue, "hello ", 0);
  append(queue, "world", 0);
  EXPECT_EQ(take(queue, 0, 4), "hell");
  append(queue, "!", 0);
  EXPECT_EQ(take(queue, 0), "o world!");
  EXPECT_TRUE(queue.empty());
}

TEST(OutputQueue, SkipsWhatWasSentAcrossPieces) {
  OutputQueue queue;
  const std::string a = "abc", b = "defg";
  const Actions::Piece pieces[] = {{reinterpret_cast<const uint8_t*>(a.data()), 3},
                                   {reinterpret_cast<const uint8_t*>(b.data()), 4}};
  queue.append(pieces, 4, 0);
  EXPECT_EQ(take(queue, 0), "efg");
}

TEST(OutputQueue, NothingBehindABarrierLeavesBeforeItIsDurable) {
  OutputQueue queue;
  append(queue, "free", 0);
  append(queue, "first", 5);
  append(queue, "upkeep", 5);
  append(queue, "second", 9);
  EXPECT_EQ(queue.waits_for(4), 5u);
  EXPECT_EQ(take(queue, 4), "free");
  EXPECT_EQ(take(queue, 4), "");
  EXPECT_EQ(take(queue, 5, 3), "fir");
  EXPECT_EQ(take(queue, 8), "stupkeep");
  EXPECT_EQ(queue.waits_for(8), 9u);
  EXPECT_EQ(take(queue, 9), "second");
  EXPECT_EQ(queue.waits_for(9), 0u);
}

TEST(OutputQueue, ABarrierStaysInPlaceWhenTheFrontMovesDown) {
  OutputQueue queue;
  append(queue, std::string(100, 'a'), 0);
  append(queue, "held", 3);
  EXPECT_EQ(take(queue, 0).size(), 100u);
  for (int i = 0; i < 10; ++i) append(queue, "more", 3);  // compacts
  EXPECT_EQ(take(queue, 2), "");
  append(queue, "last", 4);
  EXPECT_EQ(take(queue, 3).size(), 44u);
  EXPECT_EQ(take(queue, 3), "");
  EXPECT_EQ(take(queue, 4), "last");
}

TEST(OutputQueue, AMarkOnAnEmptyQueueHoldsTheNextBytes) {
  OutputQueue queue;
  append(queue, "x", 7);
  EXPECT_EQ(take(queue, 7), "x");
  append(queue, "y", 8);
  EXPECT_EQ(take(queue, 7), "");
  EXPECT_EQ(take(queue, 8), "y");
}

TEST(OutputQueue, DiscardForgetsBytesAndBarriers) {
  OutputQueue queue;
  append(queue, "secret", 7);
  queue.discard();
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.waits_for(0), 0u);
  append(queue, "fresh", 0);
  EXPECT_EQ(take(queue, 0), "fresh");
}

}  // namespace
}  // namespace sluice::session
