// Counters add up and targets can be replaced while connects go on from many processes.
#include "tests/bpf/harness.h"

namespace sluice::interception::test {
namespace {

constexpr int kClients = 4;
constexpr int kConnectsEach = 300;

class LoadTest : public BpfTest {
 protected:
  struct Tally {
    int sluice = 0, refused = 0, direct = 0, other = 0;
  };
  // Every client connects to each address in turn.
  Tally hammer(const std::vector<std::pair<std::string, uint16_t>>& where) {
    std::vector<Tally> tallies(kClients);
    std::vector<std::thread> clients;
    for (int c = 0; c < kClients; ++c) {
      clients.emplace_back([&, c] {
        tallies[static_cast<size_t>(c)] = in_child<Tally>([&] {
          enter_cgroup();
          Tally out;
          for (int i = 0; i < kConnectsEach; ++i) {
            ConnectOptions options;
            std::tie(options.to, options.port) = where[static_cast<size_t>(i) % where.size()];
            Attempt one = attempt(options);
            if (std::strcmp(one.reply, "sluice") == 0)
              ++out.sluice;
            else if (std::strcmp(one.reply, "direct") == 0)
              ++out.direct;
            else if (one.error == ECONNREFUSED)
              ++out.refused;
            else
              ++out.other;
          }
          return out;
        });
      });
    }
    for (std::thread& client : clients) client.join();
    Tally sum;
    for (const Tally& one : tallies) {
      sum.sluice += one.sluice;
      sum.refused += one.refused;
      sum.direct += one.direct;
      sum.other += one.other;
    }
    return sum;
  }
};

TEST_F(LoadTest, counters_add_up_under_concurrent_load) {
  HelloServer direct("127.0.0.1", "direct");
  go_live({target("deny", {endpoint("198.51.100.7", 5432)}),
           target("allow", {endpoint("127.0.0.1", direct.port())}, WhenDown::allow)});
  std::atomic<bool> done = false;
  std::atomic<int> lopsided = 0;
  std::thread reader([&] {
    while (!done) {
      for (const TargetCounters& c : steering_->counters()) {
        if (c.connects != c.redirected + c.refused + c.exempt + c.uncovered) ++lopsided;
      }
    }
  });
  std::thread flapping([&] {  // up and down, so that every outcome happens
    while (!done) {
      steering_->stop();
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
      EXPECT_TRUE(steering_->go_live());
      std::this_thread::sleep_for(std::chrono::milliseconds(7));
    }
  });
  Tally tally = hammer({{"198.51.100.7", 5432}, {"127.0.0.1", direct.port()}});
  done = true;
  reader.join();
  flapping.join();
  EXPECT_EQ(lopsided, 0) << "a reader must see sums that hold";
  auto counters = steering_->counters();
  ASSERT_EQ(counters.size(), 2u);
  EXPECT_EQ(counters[0].connects, static_cast<uint64_t>(kClients * kConnectsEach / 2));
  EXPECT_EQ(counters[1].connects, static_cast<uint64_t>(kClients * kConnectsEach / 2));
  EXPECT_EQ(counters[0].redirected + counters[1].redirected, static_cast<uint64_t>(tally.sluice + tally.other));
  EXPECT_EQ(counters[0].refused, static_cast<uint64_t>(tally.refused));
  EXPECT_EQ(counters[1].uncovered, static_cast<uint64_t>(tally.direct));
  EXPECT_GT(tally.sluice, 0);
  EXPECT_GT(tally.refused, 0);
  EXPECT_GT(tally.direct, 0);
  expect_adds_up();
}

TEST_F(LoadTest, targets_are_replaced_without_a_gap) {
  HelloServer direct("127.0.0.1", "direct");
  SteeredTarget db = target("db", {endpoint("127.0.0.1", direct.port())});
  SteeredTarget other = target("other", {endpoint("198.51.100.7", 5432)});
  go_live({db});
  uint64_t first = steering_->target_generation();
  std::atomic<bool> done = false;
  std::thread reloading([&] {
    for (uint64_t round = 1; !done; ++round) {  // db is target 1 in odd generations (from the first), 0 in even ones
      std::vector<SteeredTarget> set =
          round % 2 == 1 ? std::vector<SteeredTarget>{other, db} : std::vector<SteeredTarget>{db, other};
      EXPECT_TRUE(steering_->set_targets(set));
    }
  });
  Tally tally = hammer({{"127.0.0.1", direct.port()}});
  done = true;
  reloading.join();
  EXPECT_EQ(tally.direct, 0);
  EXPECT_EQ(tally.refused, 0);
  EXPECT_EQ(tally.sluice, kClients * kConnectsEach);
  wait_until("all notes are taken", [&] { return accepting_->accepted() == kClients * kConnectsEach; });
  for (const ConnectNote& note : accepting_->notes()) {
    ASSERT_EQ(note.target, (note.target_generation - first) % 2) << "index and generation belong together";
  }
  EXPECT_GT(steering_->target_generation(), first + 2);
  uint64_t connects = 0;
  for (const TargetCounters& c : steering_->counters()) connects += c.connects;
  EXPECT_EQ(connects, static_cast<uint64_t>(kClients * kConnectsEach)) << "counters follow the name, not the index";
}

}  // namespace
}  // namespace sluice::interception::test
