#include "daemon/audit/audit_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/audit/segment_scan.h"
#include "daemon/base/unique_fd.h"
#include "tests/unit/daemon/audit/audit_fixture.h"

namespace sluice::audit {
namespace {

using testing::HasSubstr;

std::unique_ptr<AuditLog> opened(const LogOptions& options) {
  auto log = AuditLog::open(options);
  EXPECT_TRUE(log.has_value()) << log.error().message;
  return log ? std::move(*log) : nullptr;
}

std::string open_error(const LogOptions& options) {
  auto log = AuditLog::open(options);
  return log ? "opened" : log.error().message;
}

class AuditLogTest : public testing::Test {
 protected:
  // Fills a log and leaves it as kill -9 does: nothing sealed, nothing trimmed. In a child, so that the lock goes too.
  void leave_unclosed(const LogOptions& options, int commands) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto log = AuditLog::open(options);
      if (!log) ::_exit(1);
      events::EventRing& ring = (*log)->add_ring(-1);
      for (int i = 1; i <= commands; ++i) {
        static_cast<void>(
            ring.publish(source_.received(session_, static_cast<uint64_t>(i), a_text("select " + std::to_string(i)))));
        if (!(*log)->flush(10000)) ::_exit(2);
      }
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
  }
  std::string only_segment() const {
    for (const std::string& name : files_in(directory_.path())) {
      if (parse_segment_name(name).has_value()) return directory_.path() + "/" + name;
    }
    return {};
  }
  uint64_t end_of_records(const std::string& file) const {
    const auto scan =
        scan_segment(std::filesystem::path(file).parent_path(), std::filesystem::path(file).filename(), {});
    EXPECT_TRUE(scan.has_value());
    return scan ? scan->end : 0;
  }

  TempDirectory directory_;
  LogOptions options_ = log_options(directory_.path());
  EventSource source_;
  events::SessionInfo session_ = named_session("00000000000000aa");
};

TEST_F(AuditLogTest, WhatIsPublishedIsReadBackAndTheLogIsIntact) {
  write_log(options_, 2, 3);
  const auto lines = query_lines(directory_.path());
  ASSERT_EQ(lines.size(), 2u * (1 + 2 * 3 + 1));
  EXPECT_THAT(lines[1], HasSubstr("select * from cards"));
  EXPECT_THAT(lines[1], HasSubstr("\"user\":\"alice\""));
  const VerifyReport report = verify(directory_.path());
  EXPECT_EQ(report.verdict, Verdict::intact) << report.reason;
  EXPECT_EQ(files_in(directory_.path()).size(), 1u) << "nothing but the sealed segment";
}

TEST_F(AuditLogTest, StrictAnswersWhenSomebodyWaits) {
  const UniqueFd durable(::eventfd(0, EFD_NONBLOCK));
  auto log = opened(options_);
  events::EventRing& ring = log->add_ring(durable.get());
  for (int i = 0; i < 20; ++i) {
    const auto sequence = ring.publish(source_.daemon(events::EventType::coverage, "x"));
    ASSERT_TRUE(sequence.has_value());
    ring.request_durable(*sequence);
    while (ring.durable() < *sequence) {
      pollfd wait{durable.get(), POLLIN, 0};
      ASSERT_GT(::poll(&wait, 1, 5000), 0) << "never told";
      uint64_t count = 0;
      static_cast<void>(!::read(durable.get(), &count, sizeof count));
    }
  }
  EXPECT_GE(log->status().events, 20u);
}

TEST_F(AuditLogTest, RelaxedCommitsByItselfWithinTheInterval) {
  options_.durability = Durability::relaxed;
  auto log = opened(options_);
  events::EventRing& ring = log->add_ring(-1);
  const auto sequence = ring.publish(source_.daemon(events::EventType::coverage, "x"));
  EXPECT_TRUE(wait_until([&] { return ring.durable() >= *sequence; }, 2000));
}

TEST_F(AuditLogTest, EverySegmentCanBeReadOnItsOwn) {
  options_.segment_bytes = kSegmentBytesMin;
  write_log(options_, 3, 100);
  const VerifyReport report = verify(directory_.path());
  EXPECT_EQ(report.verdict, Verdict::intact) << report.reason;
  EXPECT_GT(report.segments, 5u);
  const auto names = files_in(directory_.path());
  // Only the last ones, as after retention: identity and text are still there.
  TempDirectory other;
  std::filesystem::create_directory(other.path());
  std::filesystem::copy(directory_.path() + "/" + names[names.size() - 2],
                        other.path() + "/" + names[names.size() - 2]);
  const auto lines = query_lines(other.path());
  ASSERT_FALSE(lines.empty());
  for (const std::string& line : lines) {
    EXPECT_THAT(line, HasSubstr("\"user\":\"alice\""));
    if (line.find("command_received") != std::string::npos) {
      EXPECT_THAT(line, HasSubstr("\"text\":\"select"));
    }
  }
  EXPECT_EQ(verify(other.path()).verdict, Verdict::incomplete);
}

TEST_F(AuditLogTest, ATextIsStoredOncePerSegment) {
  const std::string long_text = "select '" + std::string(2000, 'x') + "'";
  auto log = opened(options_);
  events::EventRing& ring = log->add_ring(-1);
  for (uint64_t i = 1; i <= 20; ++i) publish(ring, source_.received(session_, i, a_text(long_text)));
  ASSERT_TRUE(log->flush(5000).has_value());
  log.reset();
  EXPECT_LT(std::filesystem::file_size(only_segment()), 2 * long_text.size() + 5000);
  for (const std::string& line : query_lines(directory_.path())) EXPECT_THAT(line, HasSubstr(long_text));
}

TEST_F(AuditLogTest, ATextLargerThanASegmentIsStoredWhole) {
  const std::string text = "select '" + std::string(200'000, 'y') + "'";
  {
    auto log = opened(options_);
    events::EventRing& ring = log->add_ring(-1);
    publish(ring, source_.started(session_));
    publish(ring, source_.received(session_, 1, a_text(text)));
    publish(ring, source_.received(session_, 2, a_text("select 2")));
  }
  const auto lines = query_lines(directory_.path());
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_THAT(lines[1], HasSubstr(text));
  EXPECT_EQ(verify(directory_.path()).verdict, Verdict::intact);
}

TEST_F(AuditLogTest, GoesOnAcrossRestarts) {
  write_log(options_, 1, 2);
  const VerifyReport before = verify(directory_.path());
  write_log(options_, 1, 2);
  const VerifyReport after = verify(directory_.path());
  EXPECT_EQ(verify(directory_.path()).verdict, Verdict::intact);
  EXPECT_EQ(after.segments, 2u);
  EXPECT_EQ(after.log_id, before.log_id);
  EXPECT_EQ(opened(options_)->status().recovered, "");
}

TEST_F(AuditLogTest, ASecondWriterIsRefused) {
  const auto log = opened(options_);
  EXPECT_THAT(open_error(options_), HasSubstr("another process writes this log"));
}

TEST_F(AuditLogTest, BesideAWriterVerifyCoversWhatIsThere) {
  auto log = opened(options_);
  events::EventRing& ring = log->add_ring(-1);
  publish(ring, source_.started(session_));
  ASSERT_TRUE(log->flush(5000).has_value());
  const VerifyReport report = verify(directory_.path());
  EXPECT_EQ(report.verdict, Verdict::intact);
  EXPECT_THAT(report.reason, HasSubstr("a daemon is writing"));
  EXPECT_EQ(query_lines(directory_.path()).size(), 1u);
}

TEST_F(AuditLogTest, AfterKillTheLogIsRecoveredAndSaysSo) {
  leave_unclosed(options_, 5);
  EXPECT_EQ(verify(directory_.path()).verdict, Verdict::incomplete);
  auto log = opened(options_);
  EXPECT_THAT(log->status().recovered, HasSubstr("cut 0 torn bytes"));
  log.reset();
  EXPECT_EQ(verify(directory_.path()).verdict, Verdict::intact);
  EXPECT_EQ(query_lines(directory_.path()).size(), 5u);
}

TEST_F(AuditLogTest, ATornTailIsCutWhereverItWasTorn) {
  leave_unclosed(options_, 3);
  const std::string file = only_segment();
  const std::string whole = read_file(file);
  const uint64_t end = end_of_records(file);
  std::string record;
  append_record(record, RecordKind::event, true, source_.daemon(events::EventType::coverage, "torn").bytes);
  for (size_t torn = 1; torn < record.size(); ++torn) {
    std::string bytes = whole;
    bytes.replace(end, torn, record.substr(0, torn));
    write_file(file, bytes);
    copy_log(directory_.path(), directory_.path("copy"));
    LogOptions options = options_;
    options.directory = directory_.path("copy");
    auto log = opened(options);
    ASSERT_NE(log, nullptr) << torn;
    EXPECT_THAT(log->status().recovered, HasSubstr("had not been closed"));
    log.reset();
    ASSERT_EQ(verify(options.directory).verdict, Verdict::intact) << torn;
    ASSERT_EQ(query_lines(options.directory).size(), 3u) << torn;
  }
}

TEST_F(AuditLogTest, DamageInTheMiddleIsTamperingNotATornTail) {
  leave_unclosed(options_, 5);
  const std::string file = only_segment();
  std::string bytes = read_file(file);
  bytes[end_of_records(file) / 2] ^= 1;
  write_file(file, bytes);
  EXPECT_THAT(open_error(options_), HasSubstr("the log has been altered"));
  EXPECT_EQ(read_file(file), bytes) << "evidence is left as it is";
  EXPECT_EQ(verify(directory_.path()).verdict, Verdict::tampered);
}

TEST_F(AuditLogTest, AChangedLastRecordIsTampering) {
  leave_unclosed(options_, 5);
  const std::string file = only_segment();
  std::string bytes = read_file(file);
  bytes[end_of_records(file) - 1] ^= 1;
  write_file(file, bytes);
  EXPECT_THAT(open_error(options_), HasSubstr("has been changed"));
}

TEST_F(AuditLogTest, AMissingSegmentIsTampering) {
  options_.segment_bytes = kSegmentBytesMin;
  write_log(options_, 2, 60);
  const auto names = files_in(directory_.path());
  ASSERT_GT(names.size(), 3u);
  copy_log(directory_.path(), directory_.path("copy"));
  LogOptions options = options_;
  options.directory = directory_.path("copy");
  std::filesystem::remove(options.directory + "/" + names[1]);
  EXPECT_THAT(open_error(options), HasSubstr("missing"));
  copy_log(directory_.path(), options.directory);
  std::filesystem::remove(options.directory + "/" + names.back());
  EXPECT_THAT(open_error(options), HasSubstr("the segment after it is missing"));
}

TEST_F(AuditLogTest, AnAlteredEarlierSegmentIsTampering) {
  options_.segment_bytes = kSegmentBytesMin;
  write_log(options_, 2, 60);
  const std::string file = directory_.path() + "/" + files_in(directory_.path())[1];
  std::string bytes = read_file(file);
  bytes[bytes.size() / 2] ^= 0x10;
  write_file(file, bytes);
  EXPECT_THAT(open_error(options_), HasSubstr("the log has been altered"));
}

TEST_F(AuditLogTest, ManyProducersLoseNothing) {
  options_.segment_bytes = 1 << 20;
  constexpr int kProducers = 4;
  constexpr int kEach = 20000;
  {
    auto log = opened(options_);
    std::vector<std::thread> threads;
    for (int p = 0; p < kProducers; ++p) {
      events::EventRing& ring = log->add_ring(-1);
      threads.emplace_back([&ring, p] {
        EventSource source;
        for (int i = 0; i < kEach; ++i)
          publish(ring, source.daemon(events::EventType::coverage, std::to_string(p) + "/" + std::to_string(i)));
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(verify(directory_.path()).verdict, Verdict::intact);
  std::vector<int> next(kProducers, 0);
  for (const std::string& line : query_lines(directory_.path())) {
    const size_t at = line.find("\"detail\":\"") + 10;
    const int producer = line[at] - '0';
    ASSERT_EQ(std::stoi(line.substr(at + 2)), next[static_cast<size_t>(producer)]++);
  }
  for (const int count : next) EXPECT_EQ(count, kEach);
}

}  // namespace
}  // namespace sluice::audit
