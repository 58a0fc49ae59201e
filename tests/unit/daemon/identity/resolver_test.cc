#include "daemon/identity/resolver.h"

#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "daemon/identity/proc_reader.h"

namespace sluice::identity {
namespace {

class SettableClock final : public Clock {
 public:
  uint64_t monotonic_ms() const override { return now; }
  int64_t utc_ns() const override { return 0; }
  uint64_t now = 1;
};

// Blocks where the test says so, like a name service that is far away.
class FakeNames final : public NameService {
 public:
  std::string user_name(int64_t uid) override {
    std::unique_lock lock(mutex);
    ++asked;
    changed.notify_all();
    changed.wait(lock, [this] { return !blocked; });
    return "user" + std::to_string(uid);
  }
  std::string group_name(int64_t gid) override { return "group" + std::to_string(gid); }
  void wait_until_asked() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return asked > 0; });
  }
  void unblock() {
    const std::lock_guard lock(mutex);
    blocked = false;
    changed.notify_all();
  }
  std::mutex mutex;
  std::condition_variable changed;
  bool blocked = false;
  int asked = 0;
};

// An answer that may come on another thread.
class Answer {
 public:
  Resolver::Done taker() {
    return [this](policies::AttestedIdentity identity) {
      const std::lock_guard lock(mutex_);
      identity_ = std::move(identity);
      changed_.notify_all();
    };
  }
  policies::AttestedIdentity wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return identity_.has_value(); });
    return *identity_;
  }
  bool there() {
    const std::lock_guard lock(mutex_);
    return identity_.has_value();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<policies::AttestedIdentity> identity_;
};

std::unique_ptr<ProcessLookup> reader() {
  return std::make_unique<ProcReader>(std::move(*ProcReader::open("/proc", "")));
}

// Like a helper that is gone.
class NobodyToAsk final : public ProcessLookup {
 public:
  std::optional<ProcessLook> look(const ProcessFacts&, CgroupPath) override { return std::nullopt; }
};

ProcessFacts own_facts() {
  ProcessFacts facts;
  facts.pid = getpid();
  facts.uid = 42;
  facts.gid = 43;
  std::ifstream file("/proc/self/stat");
  std::stringstream text;
  text << file.rdbuf();
  facts.start_boottime_ns = start_ticks_of(text.str()).value_or(0) * 10'000'000;
  return facts;
}

TEST(Resolver, FirstSlowlyThenFromTheCaches) {
  SettableClock clock;
  FakeNames names;
  Resolver resolver(reader(), names, clock);
  ASSERT_TRUE(resolver.start().has_value());
  Answer first;
  ASSERT_EQ(resolver.resolve(own_facts(), first.taker()), Taken::yes);
  const auto identity = first.wait();
  EXPECT_EQ(identity.user, "user42");
  EXPECT_EQ(identity.group, "group43");
  EXPECT_EQ(identity.uid, 42);
  EXPECT_EQ(identity.exe_sha256.size(), 64u);
  EXPECT_NE(identity.exe.find("unit_daemon_identity"), std::string::npos);
  Answer second;
  ASSERT_EQ(resolver.resolve(own_facts(), second.taker()), Taken::yes);
  EXPECT_TRUE(second.there()) << "answered before resolve() returned";
  EXPECT_EQ(names.asked, 1);
  clock.now += Resolver::kNameTtlMs + 1;
  Answer third;
  ASSERT_EQ(resolver.resolve(own_facts(), third.taker()), Taken::yes);
  EXPECT_EQ(third.wait().user, "user42");
  EXPECT_EQ(names.asked, 2) << "names are asked for again when they are old";
}

TEST(Resolver, AProcessThatIsGoneKeepsTheNumbersAlone) {
  SettableClock clock;
  FakeNames names;
  Resolver resolver(reader(), names, clock);
  ASSERT_TRUE(resolver.start().has_value());
  ProcessFacts facts = own_facts();
  facts.start_boottime_ns -= 1'000'000'000;
  Answer answer;
  ASSERT_EQ(resolver.resolve(facts, answer.taker()), Taken::yes);
  const auto identity = answer.wait();
  EXPECT_EQ(identity.pid, getpid());
  EXPECT_EQ(identity.uid, 42);
  EXPECT_EQ(identity.exe, "");
  EXPECT_EQ(identity.exe_sha256, "");
}

// A process that connects again is not read again for a moment: the kernel's note says that it is the same one, running
// the same program.
TEST(Resolver, AProcessIsReadOnceAMoment) {
  namespace fs = std::filesystem;
  const fs::path proc = fs::temp_directory_path() / ("sluice-resolver-" + std::to_string(getpid()));
  fs::create_directories(proc / "77");
  std::ofstream(proc / "program") << "code";
  fs::create_symlink(proc / "program", proc / "77/exe");
  std::ofstream(proc / "77/stat") << "77 (p) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 500 0 0";
  struct stat status {};
  ASSERT_EQ(::stat((proc / "program").c_str(), &status), 0);
  ProcessFacts facts;
  facts.pid = 77;
  facts.uid = 42;
  facts.gid = 43;
  facts.start_boottime_ns = 5'000'000'000;
  facts.exe_inode = status.st_ino;
  facts.exe_device = status.st_dev;
  SettableClock clock;
  FakeNames names;
  Resolver resolver(std::make_unique<ProcReader>(std::move(*ProcReader::open(proc.string(), ""))), names, clock);
  ASSERT_TRUE(resolver.start().has_value());
  const auto resolved = [&](const ProcessFacts& of) {
    Answer answer;
    EXPECT_EQ(resolver.resolve(of, answer.taker()), Taken::yes);
    return answer.wait();
  };
  EXPECT_EQ(resolved(facts).exe_sha256.size(), 64u);  // slowly
  EXPECT_EQ(resolved(facts).exe, (proc / "program").string());
  fs::remove(proc / "77/stat");  // from here on nothing can be read
  EXPECT_EQ(resolved(facts).exe, (proc / "program").string());
  EXPECT_EQ(resolved(facts).exe_sha256.size(), 64u);
  ProcessFacts other = facts;
  other.start_boottime_ns += 1;
  EXPECT_EQ(resolved(other).exe, "") << "another process with the same number";
  other = facts;
  other.exe_inode += 1;
  EXPECT_EQ(resolved(other).exe, "") << "another program in the same process";
  clock.now += Resolver::kProcessTtlMs + 1;
  EXPECT_EQ(resolved(facts).exe, "") << "read again after a moment";
  fs::remove_all(proc);
}

TEST(Resolver, WithNobodyToAskNobodyIsResolved) {
  SettableClock clock;
  FakeNames names;
  Resolver resolver(std::make_unique<NobodyToAsk>(), names, clock);
  ASSERT_TRUE(resolver.start().has_value());
  Answer answer;
  EXPECT_EQ(resolver.resolve(own_facts(), answer.taker()), Taken::nobody_to_ask);
  EXPECT_FALSE(answer.there());
}

TEST(Resolver, AtItsEndEverybodyWhoWaitsIsAnswered) {
  SettableClock clock;
  FakeNames names;
  names.blocked = true;
  Answer first, second;
  {
    Resolver resolver(reader(), names, clock);
    ASSERT_TRUE(resolver.start().has_value());
    ASSERT_EQ(resolver.resolve(own_facts(), first.taker()), Taken::yes);
    names.wait_until_asked();
    ASSERT_EQ(resolver.resolve(own_facts(), second.taker()), Taken::yes);
    names.unblock();
  }
  EXPECT_TRUE(first.there());
  EXPECT_TRUE(second.there());
}

}  // namespace
}  // namespace sluice::identity
