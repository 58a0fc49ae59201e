// What a worker analyses itself is bounded, within one turn too: a client may send any number of texts that nobody has
// seen before.
#include "daemon/session/analyst.h"

#include <gtest/gtest.h>

namespace sluice::session {
namespace {

command::AnalysisJob job(size_t bytes) {
  command::AnalysisJob made;
  made.text = "SELECT 1" + std::string(bytes - 8, ' ');
  return made;
}

struct Threads {
  explicit Threads(command::PoolLimits limits = {})
      : pool(std::move(*command::AnalysisPool::start(limits))), mailbox(*command::AnalysisMailbox::create()) {}
  std::unique_ptr<command::AnalysisPool> pool;
  std::shared_ptr<command::AnalysisMailbox> mailbox;
  PoolAnalyst analyst{*pool, mailbox};
};

TEST(PoolAnalyst, ShortTextsAreAnsweredAtOnceAndLongOnesLater) {
  Threads threads;
  EXPECT_TRUE(threads.analyst.analyze(job(kInlineTextBytesMax)).has_value());
  EXPECT_FALSE(threads.analyst.analyze(job(kInlineTextBytesMax + 1)).has_value());
}

TEST(PoolAnalyst, OneTurnAnalysesSoManyAndNoMore) {
  Threads threads;
  for (int turn = 0; turn < 2; ++turn) {
    threads.analyst.begin_turn();
    size_t here = 0;
    while (threads.analyst.analyze(job(kInlineTextBytesMax)).has_value()) ++here;
    EXPECT_EQ(here, kInlineBytesPerTurnMax / kInlineTextBytesMax);
  }
}

TEST(PoolAnalyst, SaysThatTextsWaitForRoom) {
  Threads threads({.threads = 1, .queue_jobs_max = 0});
  EXPECT_TRUE(threads.analyst.has_room(100)) << "for those that it analyses itself there is";
  EXPECT_FALSE(threads.analyst.room_wanted());
  EXPECT_FALSE(threads.analyst.has_room(10'000));
  EXPECT_TRUE(threads.analyst.room_wanted());
  EXPECT_TRUE(threads.analyst.take_room_wanted());
  EXPECT_FALSE(threads.analyst.take_room_wanted());
}

}  // namespace
}  // namespace sluice::session
