#include "daemon/command/analysis_pool.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <thread>

namespace sluice::command {
namespace {

using std::chrono::milliseconds;
constexpr int kAnswerWithinMs = 30'000;
constexpr milliseconds kNoWaitLimit{3'600'000};

// Waits on the eventfd, as a worker's epoll would, until `count` answers came.
std::vector<AnalysisAnswer> answers(AnalysisMailbox& mailbox, size_t count) {
  std::vector<AnalysisAnswer> all;
  while (all.size() < count) {
    pollfd event{mailbox.event_fd(), POLLIN, 0};
    if (::poll(&event, 1, kAnswerWithinMs) != 1) break;
    for (AnalysisAnswer& answer : mailbox.take()) all.push_back(std::move(answer));
  }
  return all;
}

std::shared_ptr<AnalysisMailbox> mailbox() {
  return AnalysisMailbox::create().value();
}
std::unique_ptr<AnalysisPool> pool(const PoolLimits& limits) {
  return AnalysisPool::start(limits).value();
}

std::string chain(size_t terms) {
  std::string text = "SELECT 1";
  for (size_t i = 1; i < terms; ++i) text += "+1";
  return text;
}

TEST(AnalysisPool, AnswersThroughTheMailbox) {
  const auto threads = pool({});
  const auto box = mailbox();
  EXPECT_TRUE(box->take().empty());
  ASSERT_FALSE(threads->submit(box, {.ticket = 7, .text = "DELETE FROM cards"}).has_value());
  const auto got = answers(*box, 1);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].ticket, 7u);
  EXPECT_EQ(got[0].analysis.kinds, std::vector{sql::Kind::delete_});
  pollfd event{box->event_fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&event, 1, 0), 0);  // taken: no longer readable
}

TEST(AnalysisPool, TheAnswerHoldsTheMaskedTextWhateverBecameOfTheAnalysis) {
  const std::string text = "SELECT '4111111111111111'";
  for (const bool expired : {false, true}) {
    const auto threads = pool({.threads = 1, .wait_max = expired ? milliseconds(-1) : kNoWaitLimit});
    const auto box = mailbox();
    ASSERT_FALSE(threads->submit(box, {.ticket = 1, .text = text}).has_value());
    const auto got = answers(*box, 1);
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(got[0].analysis.kinds, std::vector{expired ? sql::Kind::unknown : sql::Kind::select});
    EXPECT_EQ(got[0].masked.text, "SELECT '411111******1111'");
    EXPECT_EQ(got[0].masked.sha256.size(), 32u);
    EXPECT_TRUE(got[0].masked.scanned_clean);
  }
}

TEST(AnalysisPool, SettingsReachTheAnalysis) {
  const auto threads = pool({.threads = 1});
  const auto box = mailbox();
  const std::string text = "SELECT '\\'; DROP TABLE cards; --'";
  ASSERT_FALSE(threads->submit(box, {.ticket = 1, .text = text}).has_value());
  ASSERT_FALSE(threads->submit(box, {.ticket = 2, .text = text, .standard_conforming_strings = false}).has_value());
  ASSERT_FALSE(threads->submit(box, {.ticket = 3, .text = text, .certain = false}).has_value());
  const auto got = answers(*box, 3);
  ASSERT_EQ(got.size(), 3u);
  EXPECT_EQ(got[0].analysis.kinds, (std::vector{sql::Kind::select, sql::Kind::drop}));
  EXPECT_EQ(got[1].analysis.kinds, std::vector{sql::Kind::select});
  EXPECT_EQ(got[2].analysis.kinds, std::vector{sql::Kind::unknown});
}

// The stack is the one that the analysis asks for: this text overflows an ordinary one.
TEST(AnalysisPool, DeepTextsHaveTheStackThatTheyNeed) {
  const auto threads = pool({.threads = 1});
  const auto box = mailbox();
  ASSERT_FALSE(threads->submit(box, {.ticket = 1, .text = chain(9'900)}).has_value());
  const auto got = answers(*box, 1);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].analysis.kinds, std::vector{sql::Kind::select}) << got[0].analysis.why_unknown;
}

TEST(AnalysisPool, AFullQueueIsAnsweredAtOnce) {
  const auto threads = pool({.threads = 1, .queue_jobs_max = 4, .wait_max = kNoWaitLimit});
  const auto box = mailbox();
  size_t queued = 0, refused = 0;
  for (uint64_t i = 0; i < 100; ++i) {
    const auto now = threads->submit(box, {.ticket = i, .text = chain(1'500)});
    if (now.has_value()) {
      EXPECT_EQ(now->kinds, std::vector{sql::Kind::unknown});
      EXPECT_EQ(now->why_unknown, "analysis queue full");
      EXPECT_TRUE(!now->kinds_complete && now->may_change_settings);
      ++refused;
    } else {
      ++queued;
    }
  }
  EXPECT_GE(queued, 4u);
  EXPECT_GT(refused, 0u);
  EXPECT_EQ(answers(*box, queued).size(), queued);
  EXPECT_EQ(threads->counters().refused_full, refused);
  EXPECT_TRUE(threads->has_room(100));
  EXPECT_EQ(threads->counters().analysed, queued);
}

TEST(AnalysisPool, TheQueueIsBoundedInBytes) {
  const auto threads = pool({.threads = 1, .queue_bytes_max = 1000});
  const auto box = mailbox();
  EXPECT_TRUE(threads->has_room(1001)) << "it would wait for ever";
  EXPECT_TRUE(threads->submit(box, {.ticket = 1, .text = std::string(1001, ' ')}).has_value());
  EXPECT_TRUE(threads->has_room(1000));
  EXPECT_FALSE(threads->submit(box, {.ticket = 2, .text = std::string(1000, ' ')}).has_value());
  EXPECT_EQ(answers(*box, 1).size(), 1u);
}

TEST(AnalysisPool, AJobThatWaitedTooLongIsNotAnalysed) {
  const auto threads = pool({.threads = 1, .wait_max = milliseconds(0)});
  const auto box = mailbox();
  for (uint64_t i = 0; i < 20; ++i) ASSERT_FALSE(threads->submit(box, {.ticket = i, .text = chain(2'000)}).has_value());
  const auto got = answers(*box, 20);
  ASSERT_EQ(got.size(), 20u);
  EXPECT_TRUE(std::any_of(got.begin(), got.end(), [](const AnalysisAnswer& a) {
    return a.analysis.kinds == std::vector{sql::Kind::unknown} &&
           a.analysis.why_unknown.find("in time") != std::string::npos;
  }));
  EXPECT_GT(threads->counters().expired, 0u);
}

TEST(AnalysisPool, StoppingAnswersEverything) {
  auto threads = pool({.threads = 1});
  const auto box = mailbox();
  for (uint64_t i = 0; i < 50; ++i) ASSERT_FALSE(threads->submit(box, {.ticket = i, .text = chain(1'000)}).has_value());
  threads->stop();
  threads->stop();
  const auto got = box->take();
  std::set<uint64_t> tickets;
  for (const AnalysisAnswer& answer : got) tickets.insert(answer.ticket);
  EXPECT_EQ(got.size(), 50u);
  EXPECT_EQ(tickets.size(), 50u);
  for (const AnalysisAnswer& answer : got) EXPECT_EQ(answer.masked.text, chain(1'000));
  EXPECT_TRUE(threads->has_room(1));
  const auto late = threads->submit(box, {.ticket = 99, .text = "SELECT 1"});
  ASSERT_TRUE(late.has_value());
  EXPECT_EQ(late->why_unknown, "analysis is stopping");
}

TEST(AnalysisPool, AWorkerMayLeaveBeforeItsAnswers) {
  const auto threads = pool({.threads = 2});
  auto box = mailbox();
  for (uint64_t i = 0; i < 10; ++i) ASSERT_FALSE(threads->submit(box, {.ticket = i, .text = chain(500)}).has_value());
  box.reset();
  const auto other = mailbox();
  ASSERT_FALSE(threads->submit(other, {.ticket = 1, .text = "SELECT 1"}).has_value());
  EXPECT_EQ(answers(*other, 1).size(), 1u);
}

// Several workers, several threads, statements of every sort: each gets its own answers, each right.
TEST(AnalysisPool, ManyWorkersAtOnce) {
  const auto threads = pool({.threads = 4, .wait_max = kNoWaitLimit});
  std::vector<std::thread> workers;
  for (int w = 0; w < 4; ++w) {
    workers.emplace_back([&threads, w] {
      const auto box = mailbox();
      const std::string texts[] = {"SELECT * FROM t" + std::to_string(w), "DO $$ BEGIN DELETE FROM t; END $$",
                                   "not sql", "SELECT E'\\n' FROM t", chain(200)};
      for (uint64_t i = 0; i < 200; ++i) {
        ASSERT_FALSE(
            threads->submit(box, {.ticket = i, .text = texts[i % 5], .standard_conforming_strings = i % 2 == 0})
                .has_value());
      }
      const auto got = answers(*box, 200);
      ASSERT_EQ(got.size(), 200u);
      for (const AnalysisAnswer& answer : got) {
        const auto& kinds = answer.analysis.kinds;
        switch (answer.ticket % 5) {
          case 0:
            EXPECT_EQ(answer.analysis.relations.at(0).name, "t" + std::to_string(w));
            break;
          case 1:
            EXPECT_EQ(kinds, (std::vector{sql::Kind::do_, sql::Kind::delete_}));
            break;
          case 2:
            EXPECT_EQ(kinds, std::vector{sql::Kind::unknown});
            break;
          default:
            EXPECT_EQ(kinds, std::vector{sql::Kind::select});
            break;
        }
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
}

}  // namespace
}  // namespace sluice::command
