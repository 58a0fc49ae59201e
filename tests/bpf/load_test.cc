// Counters add up and targets can be replaced while connects go on from many processes.
#include <array>

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
  using Addresses = std::vector<std::pair<std::string, uint16_t>>;

  // Client processes that wait for a word and then connect to each address in turn. They are forked before a test
  // starts threads of its own: a process forked while another thread holds the allocator's lock would wait for it for
  // ever.
  class Crowd {
   public:
    Crowd(const LoadTest& test, const Addresses& where) {
      if (pipe(go_) != 0) std::abort();
      for (Client& client : clients_) {
        int result[2];
        if (pipe(result) != 0) std::abort();
        client.pid = fork();
        if (client.pid == 0) {
          prctl(PR_SET_PDEATHSIG, SIGKILL);
          close(go_[1]);
          char word;
          const Tally tally = read(go_[0], &word, 1) == 0 ? test.connect_to_all(where) : Tally{};
          _exit(write(result[1], &tally, sizeof tally) == static_cast<ssize_t>(sizeof tally) ? 0 : 1);
        }
        close(result[1]);
        client.result = result[0];
      }
    }

    // Lets them go, waits for all of them, and adds up what they saw.
    Tally run() {
      close(go_[1]);  // end of file is the word, and reaches all of them
      Tally sum;
      for (const Client& client : clients_) {
        Tally one;
        EXPECT_EQ(read(client.result, &one, sizeof one), static_cast<ssize_t>(sizeof one)) << "a client process died";
        close(client.result);
        waitpid(client.pid, nullptr, 0);
        sum.sluice += one.sluice;
        sum.refused += one.refused;
        sum.direct += one.direct;
        sum.other += one.other;
      }
      close(go_[0]);
      return sum;
    }

   private:
    struct Client {
      pid_t pid = -1;
      int result = -1;
    };
    int go_[2] = {-1, -1};
    std::array<Client, kClients> clients_;
  };

  Tally connect_to_all(const Addresses& where) const {
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
  }
};

TEST_F(LoadTest, counters_add_up_under_concurrent_load) {
  HelloServer direct("127.0.0.1", "direct");
  go_live({target("deny", {endpoint("198.51.100.7", 5432)}),
           target("allow", {endpoint("127.0.0.1", direct.port())}, WhenDown::allow)});
  Crowd crowd(*this, {{"198.51.100.7", 5432}, {"127.0.0.1", direct.port()}});
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
  Tally tally = crowd.run();
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
  Crowd crowd(*this, {{"127.0.0.1", direct.port()}});
  std::atomic<bool> done = false;
  std::thread reloading([&] {
    for (uint64_t round = 1; !done; ++round) {  // db is target 1 in odd generations (from the first), 0 in even ones
      std::vector<SteeredTarget> set =
          round % 2 == 1 ? std::vector<SteeredTarget>{other, db} : std::vector<SteeredTarget>{db, other};
      EXPECT_TRUE(steering_->set_targets(set));
    }
  });
  Tally tally = crowd.run();
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
