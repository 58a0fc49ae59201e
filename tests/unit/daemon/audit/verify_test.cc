// The mutation suite: whatever is done to a log, both verifiers notice, and agree.
#include "daemon/audit/verify.h"

#include <gmock/gmock.h>

#include <cstdio>
#include <sstream>

#include "daemon/audit/merkle.h"
#include "daemon/audit/segment_scan.h"
#include "tests/unit/daemon/audit/audit_fixture.h"

namespace sluice::audit {
namespace {

int exit_status(Verdict verdict) {
  switch (verdict) {
    case Verdict::intact:
      return 0;
    case Verdict::tampered:
      return 4;
    case Verdict::incomplete:
      return 5;
    case Verdict::cannot_verify:
      return 2;
  }
  return -1;
}

// Exit statuses of scripts/verify-log for "directory[\thead]" lines.
std::vector<int> independent_verdicts(const TempDirectory& scratch, const std::vector<std::string>& lines) {
  const std::string list = scratch.path("list");
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  write_file(list, text);
  FILE* pipe = ::popen(("python3 tests/support/verify_many.py < " + list).c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  std::vector<int> statuses;
  int status = 0;
  while (pipe != nullptr && std::fscanf(pipe, "%d", &status) == 1) statuses.push_back(status);
  EXPECT_EQ(::pclose(pipe), 0);
  EXPECT_EQ(statuses.size(), lines.size());
  return statuses;
}

class VerifyTest : public testing::Test {
 protected:
  void write(uint64_t segment_bytes, int sessions, int commands) {
    write_log(log_options(log_, segment_bytes), sessions, commands);
  }
  // A copy of the log under a number, to be mutated.
  std::string copy(size_t number) {
    const std::string to = scratch_.path("copy" + std::to_string(number));
    copy_log(log_, to);
    return to;
  }
  // Both verifiers refuse every directory, and say the same.
  void expect_caught(const std::vector<std::string>& directories) {
    const std::vector<int> independent = independent_verdicts(scratch_, directories);
    ASSERT_EQ(independent.size(), directories.size());
    for (size_t i = 0; i < directories.size(); ++i) {
      const VerifyReport report = verify(directories[i]);
      EXPECT_NE(report.verdict, Verdict::intact) << directories[i];
      EXPECT_EQ(exit_status(report.verdict), independent[i]) << directories[i] << ": " << report.reason;
      EXPECT_FALSE(report.reason.empty());
    }
  }
  std::vector<std::string> segments() const { return files_in(log_); }

  TempDirectory scratch_;
  const std::string log_ = scratch_.path("log");
};

TEST_F(VerifyTest, AnIntactLogIsIntactForBoth) {
  write(kSegmentBytesMin, 3, 40);
  const VerifyReport report = verify(log_);
  EXPECT_EQ(report.verdict, Verdict::intact) << report.reason;
  EXPECT_GT(report.segments, 3u);
  EXPECT_EQ(report.first_time_ns, 1'700'000'000'000'000'001);
  EXPECT_EQ(report.last_time_ns, 1'700'000'000'000'000'000 + 3 * (2 + 2 * 40));
  EXPECT_EQ(report.root_hash.size(), 64u);
  EXPECT_EQ(report.events, 3u * (2 + 2 * 40));
  EXPECT_GT(report.records, report.events);
  EXPECT_EQ(independent_verdicts(scratch_, {log_}), std::vector<int>{0});
}

TEST_F(VerifyTest, NothingThere) {
  EXPECT_EQ(verify(scratch_.path("nowhere")).verdict, Verdict::cannot_verify);
  std::filesystem::create_directory(log_);
  EXPECT_EQ(verify(log_).verdict, Verdict::cannot_verify);
  EXPECT_EQ(independent_verdicts(scratch_, {log_, scratch_.path("nowhere")}), (std::vector<int>{2, 2}));
}

TEST_F(VerifyTest, EveryByteOfASmallLogCounts) {
  write(kSegmentBytesMin, 1, 2);
  ASSERT_EQ(segments().size(), 1u);
  const std::string file = log_ + "/" + segments()[0];
  const std::string bytes = read_file(file);
  const std::string mutant = copy(0) + "/" + segments()[0];
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const int bit : {0, 3, 7}) {
      std::string changed = bytes;
      changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
      write_file(mutant, changed);
      const VerifyReport report = verify(scratch_.path("copy0"));
      ASSERT_NE(report.verdict, Verdict::intact) << "byte " << at << " bit " << bit;
      ASSERT_NE(report.verdict, Verdict::cannot_verify) << "byte " << at << " bit " << bit;
    }
  }
}

TEST_F(VerifyTest, BothVerifiersAgreeOnEveryFlippedByte) {
  write(kSegmentBytesMin, 1, 1);
  const std::string name = segments()[0];
  const std::string bytes = read_file(log_ + "/" + name);
  std::vector<std::string> mutants;
  for (size_t at = 0; at < bytes.size(); ++at) {
    mutants.push_back(copy(at));
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 0x55);
    write_file(mutants.back() + "/" + name, changed);
  }
  expect_caught(mutants);
}

TEST_F(VerifyTest, EveryTruncationIsCaught) {
  write(kSegmentBytesMin, 1, 1);
  const std::string name = segments()[0];
  const std::string bytes = read_file(log_ + "/" + name);
  std::vector<std::string> mutants;
  for (size_t size = 0; size < bytes.size(); ++size) {
    mutants.push_back(copy(size));
    write_file(mutants.back() + "/" + name, bytes.substr(0, size));
  }
  for (const char* more : {"x", "\0"}) {
    mutants.push_back(copy(bytes.size() + static_cast<size_t>(*more)));
    write_file(mutants.back() + "/" + name, bytes + std::string(more, 1));
  }
  expect_caught(mutants);
}

TEST_F(VerifyTest, DroppedSwappedDuplicatedAndReplayedSegmentsAreCaught) {
  write(kSegmentBytesMin, 3, 60);
  const auto names = segments();
  ASSERT_GT(names.size(), 4u);
  std::vector<std::string> mutants;
  size_t number = 0;
  for (const std::string& dropped : names) {
    mutants.push_back(copy(number++));
    std::filesystem::remove(mutants.back() + "/" + dropped);
  }
  for (size_t i = 0; i + 1 < names.size(); ++i) {
    mutants.push_back(copy(number++));
    write_file(mutants.back() + "/" + names[i], read_file(log_ + "/" + names[i + 1]));
    write_file(mutants.back() + "/" + names[i + 1], read_file(log_ + "/" + names[i]));
  }
  for (const std::string& duplicated : names) {
    mutants.push_back(copy(number++));
    write_file(mutants.back() + "/" + segment_name(1'000'000), read_file(log_ + "/" + duplicated));
    mutants.push_back(copy(number++));
    write_file(mutants.back() + "/" + duplicated + ".bak", read_file(log_ + "/" + duplicated));
    mutants.push_back(copy(number++));
    write_file(mutants.back() + "/" + names[0],
               read_file(log_ + "/" + duplicated) + read_file(log_ + "/" + duplicated));
  }
  mutants.push_back(copy(number++));
  write_file(mutants.back() + "/reserve", std::string(4096, '\0'));
  expect_caught(mutants);
}

TEST_F(VerifyTest, RecordsDroppedSwappedOrDuplicatedAreCaught) {
  write(64 * 1024, 1, 5);
  const std::string name = segments()[0];
  const std::string bytes = read_file(log_ + "/" + name);
  std::vector<std::string> records;
  for (size_t at = kPrefixBytes; at < bytes.size();) {
    records.push_back(bytes.substr(at, kRecordHeaderBytes + load_u32(bytes.data() + at)));
    at += records.back().size();
  }
  ASSERT_GT(records.size(), 10u);
  const auto join = [&](const std::vector<std::string>& list) {
    std::string out = encode_prefix();
    for (const std::string& record : list) out += record;
    return out;
  };
  ASSERT_EQ(join(records), bytes);
  std::vector<std::string> mutants;
  size_t number = 0;
  for (size_t i = 0; i < records.size(); ++i) {
    auto changed = records;
    changed.erase(changed.begin() + static_cast<std::ptrdiff_t>(i));
    mutants.push_back(copy(number++));
    write_file(mutants.back() + "/" + name, join(changed));
    changed = records;
    changed.insert(changed.begin() + static_cast<std::ptrdiff_t>(i), records[i]);
    mutants.push_back(copy(number++));
    write_file(mutants.back() + "/" + name, join(changed));
    if (i + 1 == records.size()) continue;
    changed = records;
    std::swap(changed[i], changed[i + 1]);
    mutants.push_back(copy(number++));
    write_file(mutants.back() + "/" + name, join(changed));
  }
  expect_caught(mutants);
}

// Whoever rewrites a record with a right checksum still meets the hashes.
TEST_F(VerifyTest, AForgedRecordWithAValidChecksumIsCaught) {
  write(kSegmentBytesMin, 2, 40);
  const auto names = segments();
  std::vector<std::string> mutants;
  size_t number = 0;
  for (const std::string& name : names) {
    const std::string bytes = read_file(log_ + "/" + name);
    for (size_t at = kPrefixBytes; at < bytes.size();) {
      const uint32_t length = load_u32(bytes.data() + at);
      std::string forged;
      std::string body = bytes.substr(at + kRecordHeaderBytes, length);
      body.back() = static_cast<char>(body.back() ^ 1);
      const auto kind = body_kind(static_cast<uint8_t>(body[0]));
      append_record(forged, kind->kind, kind->after_commit, std::string_view(body).substr(1));
      if (number < 200) {
        mutants.push_back(copy(number++));
        write_file(mutants.back() + "/" + name, bytes.substr(0, at) + forged + bytes.substr(at + forged.size()));
      }
      at += kRecordHeaderBytes + length;
    }
  }
  ASSERT_GT(mutants.size(), 50u);
  // The forged host name in the very first record is covered by every root after it.
  expect_caught(mutants);
}

TEST_F(VerifyTest, ASegmentOfAnotherLogIsCaught) {
  write(kSegmentBytesMin, 2, 40);
  const std::string other = scratch_.path("other");
  write_log(log_options(other, kSegmentBytesMin), 2, 40);
  const std::string mutant = copy(0);
  const auto names = files_in(other);
  write_file(mutant + "/" + names[1], read_file(other + "/" + names[1]));
  expect_caught({mutant});
}

TEST_F(VerifyTest, AKeptHeadShowsWhatTheLogAloneCannot) {
  write(64 * 1024, 1, 3);
  const VerifyReport old = verify(log_);
  const auto root_bytes = [](const std::string& hex) {
    std::string out;
    for (size_t i = 0; i < hex.size(); i += 2)
      out.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    return out;
  };
  const std::string rolled_back = copy(0);
  write(64 * 1024, 1, 3);  // the log grows after a restart
  const VerifyReport now = verify(log_);
  const LogHead old_head{old.log_id, old.records, root_bytes(old.root_hash)};
  const LogHead new_head{now.log_id, now.records, root_bytes(now.root_hash)};
  EXPECT_EQ(verify(log_, old_head).verdict, Verdict::intact) << verify(log_, old_head).reason;
  EXPECT_EQ(verify(log_, new_head).verdict, Verdict::intact);
  // Rolled back to the earlier clean stop: in order by itself, but not against the head.
  EXPECT_EQ(verify(rolled_back).verdict, Verdict::intact);
  EXPECT_EQ(verify(rolled_back, new_head).verdict, Verdict::incomplete);
  LogHead wrong = old_head;
  wrong.root[0] = static_cast<char>(wrong.root[0] ^ 1);
  EXPECT_EQ(verify(log_, wrong).verdict, Verdict::tampered);
  wrong = old_head;
  wrong.log_id[0] = wrong.log_id[0] == '0' ? '1' : '0';
  EXPECT_EQ(verify(log_, wrong).verdict, Verdict::tampered);

  const std::string file = scratch_.path("head");
  write_file(file, format_head(new_head));
  const auto read = parse_head(read_file(file));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->root, new_head.root);
  EXPECT_EQ(independent_verdicts(scratch_, {log_ + "\t" + file, rolled_back + "\t" + file}), (std::vector<int>{0, 5}));
  for (const char* text : {"", "x\n1\n", "sluice.log/a\nx\n", "sluice.log/a\n1\nAAAA\n"})
    EXPECT_FALSE(parse_head(text).has_value());
}

// Pieces cut out, put in and changed at random.
TEST_F(VerifyTest, RandomDamageIsNeverIntact) {
  write(kSegmentBytesMin, 2, 30);
  const auto names = segments();
  std::vector<std::string> mutants;
  uint32_t random = 12345;
  const auto next = [&random](uint32_t below) {
    random = random * 1664525 + 1013904223;
    return (random >> 8) % below;
  };
  for (size_t i = 0; i < 150; ++i) {
    mutants.push_back(copy(i));
    const std::string file = mutants.back() + "/" + names[next(static_cast<uint32_t>(names.size()))];
    std::string bytes = read_file(file);
    const uint32_t at = next(static_cast<uint32_t>(bytes.size()));
    const uint32_t size = 1 + next(64);
    switch (i % 3) {
      case 0:
        bytes.erase(at, size);
        break;
      case 1:
        bytes.insert(at, std::string(size, static_cast<char>(next(256))));
        break;
      default:
        for (uint32_t j = at; j < std::min<size_t>(at + size, bytes.size()); ++j)
          bytes[j] = static_cast<char>(bytes[j] ^ (1 + next(255)));
    }
    write_file(file, bytes);
  }
  expect_caught(mutants);
}

}  // namespace
}  // namespace sluice::audit
