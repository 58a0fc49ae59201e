#include "daemon/io/mailbox.h"

#include <poll.h>

#include <thread>

#include <gtest/gtest.h>

namespace sluice::io {
namespace {

bool readable(int fd) {
  pollfd entry{fd, POLLIN, 0};
  return poll(&entry, 1, 0) == 1;
}

TEST(Mailbox, LettersArriveInOrderAndTheEventClears) {
  auto mailbox = std::move(*Mailbox::create());
  std::vector<int> got;
  EXPECT_FALSE(readable(mailbox->fd()));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(mailbox->post([&got, i] { got.push_back(i); }));
  EXPECT_TRUE(readable(mailbox->fd()));
  mailbox->on_ready(0);
  EXPECT_EQ(got, (std::vector<int>{0, 1, 2}));
  EXPECT_FALSE(readable(mailbox->fd()));
}

TEST(Mailbox, ALetterPostedByALetterComesNext) {
  auto mailbox = std::move(*Mailbox::create());
  int got = 0;
  ASSERT_TRUE(mailbox->post([&] {
    ++got;
    ASSERT_TRUE(mailbox->post([&] { ++got; }));
  }));
  mailbox->on_ready(0);
  EXPECT_EQ(got, 1);
  EXPECT_TRUE(readable(mailbox->fd()));
  mailbox->on_ready(0);
  EXPECT_EQ(got, 2);
}

TEST(Mailbox, FullOrClosedItSaysNo) {
  auto mailbox = std::move(*Mailbox::create());
  for (size_t i = 0; i < Mailbox::kLettersMax; ++i) ASSERT_TRUE(mailbox->post([] {}));
  EXPECT_FALSE(mailbox->post([] {}));
  mailbox->on_ready(0);
  EXPECT_TRUE(mailbox->post([] {}));
  mailbox->close();
  EXPECT_FALSE(mailbox->post([] {}));
}

TEST(Mailbox, NothingIsLostBetweenThreads) {
  auto mailbox = std::move(*Mailbox::create());
  constexpr int kEach = 5'000;
  int got = 0;
  std::vector<std::thread> posters;
  for (int t = 0; t < 4; ++t) {
    posters.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) {
        while (!mailbox->post([&got] { ++got; })) std::this_thread::yield();
      }
    });
  }
  while (got < 4 * kEach) {
    pollfd entry{mailbox->fd(), POLLIN, 0};
    ASSERT_EQ(poll(&entry, 1, 10'000), 1) << "a letter lies there without an event";
    mailbox->on_ready(0);
  }
  for (auto& poster : posters) poster.join();
}

}  // namespace
}  // namespace sluice::io
