// What happens when the disk does not do what it is asked: nothing is lost, nothing is claimed durable that is not.
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include <atomic>

#include "daemon/audit/file_system.h"
#include "tests/unit/daemon/audit/audit_fixture.h"

namespace sluice::audit {
namespace {

using testing::HasSubstr;

// Fails chosen calls; everything else goes through.
class FaultyFileSystem final : public FileSystem {
 public:
  std::atomic<int> fail_writes{0};  // so many of the next ones; -1: all
  std::atomic<int> fail_syncs{0};
  std::atomic<int> fail_allocations{0};
  std::atomic<int> fail_renames{0};
  std::atomic<int> fail_directory_syncs{0};
  std::atomic<int> fail_truncations{0};
  std::atomic<bool> tear_writes{false};      // a failing write writes half
  std::atomic<int> calls_until_failure{-1};  // the n-th call of any kind fails, once
  std::atomic<uint64_t> calls{0};

  Result<UniqueFd> open_file(const std::string& path, int flags) override {
    if (hit(nullptr)) return fail("open: injected");
    return real_file_system().open_file(path, flags);
  }
  Status write_at(int fd, std::string_view bytes, uint64_t offset) override {
    if (hit(&fail_writes)) {
      if (tear_writes) static_cast<void>(real_file_system().write_at(fd, bytes.substr(0, bytes.size() / 2), offset));
      return fail("write: injected");
    }
    return real_file_system().write_at(fd, bytes, offset);
  }
  Status sync_data(int fd) override {
    return hit(&fail_syncs) ? fail("fdatasync: injected") : real_file_system().sync_data(fd);
  }
  Status sync_directory(int fd) override {
    return hit(&fail_directory_syncs) ? fail("fsync: injected") : real_file_system().sync_directory(fd);
  }
  Status allocate(int fd, uint64_t bytes) override {
    return hit(&fail_allocations) ? fail("allocate: injected") : real_file_system().allocate(fd, bytes);
  }
  Status truncate(int fd, uint64_t bytes) override {
    return hit(&fail_truncations) ? fail("truncate: injected") : real_file_system().truncate(fd, bytes);
  }
  Status rename_file(const std::string& from, const std::string& to) override {
    return hit(&fail_renames) ? fail("rename: injected") : real_file_system().rename_file(from, to);
  }
  Status remove_file(const std::string& path) override { return real_file_system().remove_file(path); }

 private:
  bool hit(std::atomic<int>* counter) {
    ++calls;
    if (calls_until_failure.load() > 0 && --calls_until_failure == 0) return true;
    if (counter == nullptr || counter->load() == 0) return false;
    if (counter->load() > 0) --*counter;
    return true;
  }
};

class FailingDiskTest : public testing::Test {
 protected:
  void open() {
    options_.file_system = &disk_;
    auto log = AuditLog::open(options_);
    ASSERT_TRUE(log.has_value()) << log.error().message;
    log_ = std::move(*log);
    ring_ = &log_->add_ring(-1);
  }
  void publish_some(int count) {
    for (int i = 0; i < count; ++i)
      publish(*ring_, source_.daemon(events::EventType::coverage, "event " + std::to_string(published_++)));
  }
  // Every event is there exactly once and in order, whatever happened; and the log is intact.
  void check_all_there() {
    log_.reset();
    int next = 0;
    for (const std::string& line : query_lines(directory_.path())) {
      if (line.find("\"type\":\"coverage\"") == std::string::npos) continue;
      EXPECT_THAT(line, HasSubstr("\"event " + std::to_string(next++) + "\""));
    }
    EXPECT_EQ(next, published_);
    const VerifyReport report = verify(directory_.path());
    EXPECT_EQ(report.verdict, Verdict::intact) << report.reason;
  }
  void fail_and_heal(std::atomic<int>& what, int times) {
    open();
    publish_some(10);
    ASSERT_TRUE(log_->flush(5000).has_value());
    what = times;
    publish_some(10);
    ASSERT_TRUE(wait_until([&] { return log_->status().failures > 0; })) << "the failure was not noticed";
    ASSERT_TRUE(wait_until([&] { return ring_->state() == events::LogState::healthy; })) << log_->status().failure;
    ASSERT_TRUE(log_->flush(5000).has_value());
    publish_some(5);
    check_all_there();
    ASSERT_EQ(query_lines(directory_.path(), filtered("type=control_failure")).size(), 1u);
    EXPECT_EQ(query_lines(directory_.path(), filtered("type=control_recovery")).size(), 1u);
  }

  TempDirectory directory_;
  FaultyFileSystem disk_;
  LogOptions options_ = log_options(directory_.path());
  EventSource source_;
  std::unique_ptr<AuditLog> log_;
  events::EventRing* ring_ = nullptr;
  int published_ = 0;
};

TEST_F(FailingDiskTest, AFailedSyncMakesANewSegmentAndWritesAgain) {
  fail_and_heal(disk_.fail_syncs, 1);
  EXPECT_EQ(verify(directory_.path()).segments, 2u);
}

TEST_F(FailingDiskTest, AFailedWriteToo) {
  fail_and_heal(disk_.fail_writes, 1);
}

TEST_F(FailingDiskTest, ATornWriteToo) {
  disk_.tear_writes = true;
  fail_and_heal(disk_.fail_writes, 1);
}

TEST_F(FailingDiskTest, ManyFailuresInARowToo) {
  fail_and_heal(disk_.fail_syncs, 5);
}

TEST_F(FailingDiskTest, WhileItFailsNothingIsDurableAndTheRingsAreTold) {
  open();
  publish_some(3);
  ASSERT_TRUE(log_->flush(5000).has_value());
  const uint64_t durable = ring_->durable();
  disk_.fail_writes = -1;
  disk_.fail_allocations = -1;
  publish_some(3);
  ASSERT_TRUE(wait_until([&] { return ring_->state() == events::LogState::failing; }));
  EXPECT_THAT(log_->status().failure, HasSubstr("injected"));
  const Status flushed = log_->flush(300);
  ASSERT_FALSE(flushed.has_value());
  EXPECT_THAT(flushed.error().message, HasSubstr("cannot be written"));
  EXPECT_EQ(ring_->durable(), durable);
  events::EventRing& late = log_->add_ring(-1);
  EXPECT_EQ(late.state(), events::LogState::failing) << "a ring that comes later knows it too";
  disk_.fail_writes = 0;
  disk_.fail_allocations = 0;
  ASSERT_TRUE(wait_until([&] { return ring_->state() == events::LogState::healthy; }));
  EXPECT_EQ(late.state(), events::LogState::healthy);
  check_all_there();
}

TEST_F(FailingDiskTest, NoSpaceForTheNextSegmentIsAWarningFirst) {
  options_.segment_bytes = kSegmentBytesMin;
  open();
  disk_.fail_allocations = -1;
  publish_some(1);
  // The first reserve may have been made before; it is used up by the first roll.
  while (log_->status().warning.empty() && published_ < 200) {
    publish_some(1);
    static_cast<void>(log_->flush(1000));
  }
  EXPECT_THAT(log_->status().warning, HasSubstr("reserve"));
  EXPECT_EQ(log_->status().state, events::LogState::healthy) << "there is still room in the current segment";
  publish_some(200);
  ASSERT_TRUE(wait_until([&] { return log_->status().state == events::LogState::failing; }));
  disk_.fail_allocations = 0;
  ASSERT_TRUE(wait_until([&] { return log_->status().state == events::LogState::healthy; }));
  check_all_there();
}

// Every call that the writer makes fails once, in a run with several rolls.
TEST_F(FailingDiskTest, AnySingleCallMayFail) {
  for (int call = 1; call < 400; ++call) {
    std::filesystem::remove_all(directory_.path());
    options_.segment_bytes = kSegmentBytesMin;
    options_.flush_interval_ms = 2;
    published_ = 0;
    open();
    disk_.calls = 0;
    disk_.calls_until_failure = call;
    for (int batch = 0; batch < 8; ++batch) {
      publish_some(15);
      ASSERT_TRUE(wait_until([&] { return log_->flush(2000).has_value(); }))
          << "call " << call << ": " << log_->status().failure;
    }
    const bool reached = disk_.calls_until_failure.load() <= 0;
    disk_.calls_until_failure = -1;
    check_all_there();
    ASSERT_FALSE(testing::Test::HasFailure()) << "call " << call;
    if (!reached) return;
    if (call > 60) call += 6;  // the calls repeat; a sample of the later ones is enough
  }
}

// The real thing: a file system that is full.
TEST(FullDisk, FailsClosedAndRecoversBySpaceAlone) {
  TempDirectory directory;
  const std::string mount = directory.path("mount");
  std::filesystem::create_directory(mount);
  if (::mount("tmpfs", mount.c_str(), "tmpfs", 0, "size=256k") != 0) GTEST_SKIP() << "cannot mount a tmpfs here";
  {
    LogOptions options = log_options(mount + "/log", 64 * 1024);
    auto log = AuditLog::open(options);
    ASSERT_TRUE(log.has_value()) << log.error().message;
    events::EventRing& ring = (*log)->add_ring(-1);
    EventSource source;
    write_file(mount + "/ballast", std::string(64 * 1024, 'b'));
    uint64_t published = 0;
    while (ring.state() == events::LogState::healthy && published < 5000) {
      publish(ring, source.daemon(events::EventType::coverage, std::string(200, 'x')));
      if (++published % 50 == 0) static_cast<void>((*log)->flush(500));
    }
    EXPECT_EQ(ring.state(), events::LogState::failing);
    EXPECT_THAT((*log)->status().failure, HasSubstr("No space left"));
    const uint64_t durable = ring.durable();
    EXPECT_LT(durable, published);
    std::filesystem::remove(mount + "/ballast");
    EXPECT_TRUE(wait_until([&] { return ring.state() == events::LogState::healthy; })) << (*log)->status().failure;
    EXPECT_TRUE(wait_until([&] { return ring.durable() == published; }));
    log->reset();
    EXPECT_EQ(verify(options.directory).verdict, Verdict::intact) << verify(options.directory).reason;
    const auto lines = query_lines(options.directory);
    EXPECT_EQ(lines.size(), published + 2);
  }
  ::umount2(mount.c_str(), MNT_DETACH);
}

}  // namespace
}  // namespace sluice::audit
