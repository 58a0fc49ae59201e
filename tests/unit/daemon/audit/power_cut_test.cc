// Power cuts and kills at any moment: what was called durable is there afterwards, and the log is recovered, not
// refused.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>
#include <random>

#include "daemon/audit/file_system.h"
#include "daemon/audit/recovery.h"
#include "tests/unit/daemon/audit/audit_fixture.h"

namespace sluice::audit {
namespace {

// Keeps beside the real files what a disk would have after a power cut: what was synced, and of the rest any 512-byte
// sectors in any order; of directory changes any prefix (file systems write those through a journal).
class PowerCutFileSystem final : public FileSystem {
 public:
  Result<UniqueFd> open_file(const std::string& path, int flags) override {
    const std::lock_guard lock(mutex_);
    auto fd = real_file_system().open_file(path, flags);
    if (!fd) return fd;
    if ((flags & O_CREAT) != 0 && names_.contains(path)) {
      names_[path]->pending.push_back({0, {}, true});  // O_TRUNC
    } else if ((flags & O_CREAT) != 0) {
      names_[path] = std::make_shared<File>();
      pending_names_.push_back([path, file = names_[path]](Names& names) { names[path] = file; });
    }
    fds_[fd->get()] = names_[path];
    return fd;
  }
  Status write_at(int fd, std::string_view bytes, uint64_t offset) override {
    const std::lock_guard lock(mutex_);
    fds_[fd]->pending.push_back({offset, std::string(bytes), false});
    return real_file_system().write_at(fd, bytes, offset);
  }
  Status sync_data(int fd) override {
    const std::lock_guard lock(mutex_);
    File& file = *fds_[fd];
    for (const Change& change : file.pending) apply(change, file.durable);
    file.pending.clear();
    return {};
  }
  Status sync_directory(int) override {
    const std::lock_guard lock(mutex_);
    for (const auto& change : pending_names_) change(durable_names_);
    pending_names_.clear();
    return {};
  }
  Status allocate(int fd, uint64_t bytes) override { return resize(fd, bytes); }
  Status truncate(int fd, uint64_t bytes) override { return resize(fd, bytes); }
  Status rename_file(const std::string& from, const std::string& to) override {
    const std::lock_guard lock(mutex_);
    names_[to] = names_[from];
    names_.erase(from);
    pending_names_.push_back([from, to](Names& names) {
      names[to] = names[from];
      names.erase(from);
    });
    return real_file_system().rename_file(from, to);
  }
  Status remove_file(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    names_.erase(path);
    pending_names_.push_back([path](Names& names) { names.erase(path); });
    return real_file_system().remove_file(path);
  }

  // Writes to `directory` what the disk may have if the power goes now.
  void cut_power(const std::string& directory, std::mt19937& random) {
    const std::lock_guard lock(mutex_);
    Names names = durable_names_;
    const size_t kept = random() % (pending_names_.size() + 1);
    for (size_t i = 0; i < kept; ++i) pending_names_[i](names);
    std::filesystem::remove_all(directory);
    std::filesystem::create_directory(directory);
    for (const auto& [path, file] : names) {
      std::string content = file->durable;
      for (const Change& change : file->pending) apply_in_part(change, content, random);
      write_file(directory + "/" + std::filesystem::path(path).filename().string(), content);
    }
  }

 private:
  static constexpr uint64_t kSectorBytes = 512;
  struct Change {
    uint64_t offset;  // or the new size
    std::string bytes;
    bool resizes;
  };
  struct File {
    std::string durable;
    std::vector<Change> pending;
  };
  using Names = std::map<std::string, std::shared_ptr<File>>;

  static void apply(const Change& change, std::string& content) {
    if (change.resizes) {
      content.resize(change.offset, '\0');
      return;
    }
    if (content.size() < change.offset + change.bytes.size()) content.resize(change.offset + change.bytes.size(), '\0');
    content.replace(change.offset, change.bytes.size(), change.bytes);
  }
  static void apply_in_part(const Change& change, std::string& content, std::mt19937& random) {
    if (change.resizes) {
      if (random() % 2 == 0) apply(change, content);
      return;
    }
    for (uint64_t at = change.offset; at < change.offset + change.bytes.size();) {
      const uint64_t end = std::min((at / kSectorBytes + 1) * kSectorBytes, change.offset + change.bytes.size());
      if (random() % 2 == 0) apply({at, change.bytes.substr(at - change.offset, end - at), false}, content);
      at = end;
    }
  }
  Status resize(int fd, uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    fds_[fd]->pending.push_back({bytes, {}, true});
    return real_file_system().truncate(fd, bytes);
  }

  std::mutex mutex_;
  Names names_;
  Names durable_names_;
  std::vector<std::function<void(Names&)>> pending_names_;
  std::map<int, std::shared_ptr<File>> fds_;
};

void power_cuts(Durability durability, uint64_t segment_bytes, unsigned seed) {
  TempDirectory directory;
  const std::string cut = directory.path("cut");
  std::mt19937 random(seed);
  PowerCutFileSystem disk;
  LogOptions options = log_options(directory.path(), segment_bytes);
  options.durability = durability;
  options.file_system = &disk;
  options.flush_interval_ms = 4;
  auto log = AuditLog::open(options);
  ASSERT_TRUE(log.has_value()) << log.error().message;
  events::EventRing& ring = (*log)->add_ring(-1);
  constexpr int kRounds = 40;
  constexpr int kEventsPerRound = 50;
  std::atomic<int> allowed{0};  // events; so that the log stays small however slow the machine is
  std::thread producer([&] {
    EventSource source;
    for (int i = 0; i < kRounds * kEventsPerRound; ++i) {
      while (i >= allowed) std::this_thread::sleep_for(std::chrono::microseconds(100));
      const auto session = named_session("00000000000000a" + std::to_string(i % 7));
      auto event = i % 5 == 0 ? source.started(session)
                              : source.received(session, static_cast<uint64_t>(i), a_text("t" + std::to_string(i % 9)));
      const auto sequence = ring.publish(std::move(event));
      if (i % 3 == 0 && sequence.has_value()) ring.request_durable(*sequence);
      if (i % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
  for (int round = 0; round < kRounds; ++round) {
    allowed += kEventsPerRound;
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 5000));
    const uint64_t durable = ring.durable();
    disk.cut_power(cut, random);
    const UniqueFd fd(::open(cut.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    BootId other_boot;
    other_boot.fill(0xee);
    const auto position = recover_log(real_file_system(), {cut, fd.get(), other_boot, 1});
    EXPECT_TRUE(position.has_value()) << "round " << round << ": " << position.error().message;
    // A process that dies right behind its recovery leaves something that can be opened again; and this closes it.
    auto again = AuditLog::open(log_options(cut, segment_bytes));
    EXPECT_TRUE(again.has_value()) << "round " << round << ": " << again.error().message;
    if (!again.has_value()) break;
    again->reset();
    const VerifyReport report = verify(cut);
    EXPECT_EQ(report.verdict, Verdict::intact) << "round " << round << ": " << report.reason;
    EXPECT_GE(report.events, durable) << "round " << round;
    if (testing::Test::HasFailure()) break;
  }
  allowed = kRounds * kEventsPerRound;
  producer.join();
}

TEST(PowerCut, StrictSmallSegments) {
  power_cuts(Durability::strict, kSegmentBytesMin, 1);
}
TEST(PowerCut, StrictLargeSegments) {
  power_cuts(Durability::strict, 1 << 18, 2);
}
TEST(PowerCut, RelaxedSmallSegments) {
  power_cuts(Durability::relaxed, kSegmentBytesMin, 3);
}
TEST(PowerCut, RelaxedLargeSegments) {
  power_cuts(Durability::relaxed, 1 << 18, 4);
}

// The process is killed while it writes, again and again in the same directory.
TEST(Kill, WhatWasCalledDurableIsThereAfterwards) {
  constexpr int kRounds = 12;
  TempDirectory directory;
  auto* durable = static_cast<std::atomic<uint64_t>*>(
      ::mmap(nullptr, sizeof(std::atomic<uint64_t>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(durable, MAP_FAILED);
  uint64_t owed = 0;  // events that some round called durable
  for (int round = 0; round < kRounds; ++round) {
    durable->store(0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto log = AuditLog::open(log_options(directory.path(), 32 * 1024));
      if (!log) ::_exit(1);
      events::EventRing& ring = (*log)->add_ring(-1);
      EventSource source;
      for (;;) {
        for (int i = 0; i < 20; ++i) static_cast<void>(ring.publish(source.daemon(events::EventType::coverage, "e")));
        ring.request_durable(ring.published());
        while (ring.durable() < ring.published()) std::this_thread::yield();
        durable->store(ring.durable());
      }
    }
    EXPECT_TRUE(wait_until([&] { return durable->load() >= 100; })) << "round " << round;
    std::this_thread::sleep_for(std::chrono::microseconds(137 * round));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child could not open the log in round " << round;
    owed += durable->load();
    EXPECT_EQ(verify(directory.path()).verdict, Verdict::incomplete);
  }
  ASSERT_TRUE(AuditLog::open(log_options(directory.path())).has_value());
  const VerifyReport report = verify(directory.path());
  EXPECT_EQ(report.verdict, Verdict::intact) << report.reason;
  EXPECT_GE(report.events, owed);
  ::munmap(durable, sizeof *durable);
}

}  // namespace
}  // namespace sluice::audit
