#include <gtest/gtest.h>

#include "daemon/audit/crc32c.h"
#include "daemon/audit/log_format.h"
#include "daemon/audit/merkle.h"

namespace sluice::audit {
namespace {

std::string hex(const Hash& hash) {
  return to_hex(hash.data(), hash.size());
}

TEST(Crc32c, KnownValuesAndBothWaysAgree) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);  // RFC 3720 appendix B.4 and the usual check value
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    bytes.push_back(static_cast<char>(i * 7));
    EXPECT_EQ(crc32c(bytes), crc32c_by_table(bytes));
    EXPECT_EQ(crc32c(bytes), crc32c(std::string_view(bytes).substr(bytes.size() / 2),
                                    crc32c(std::string_view(bytes).substr(0, bytes.size() / 2))));
  }
}

// The tree of the Certificate Transparency reference implementation's tests.
TEST(Merkle, ReferenceVectors) {
  const std::string leaves[] = {std::string(),
                                std::string(1, '\0'),
                                std::string("\x10", 1),
                                std::string("\x20\x21", 2),
                                std::string("\x30\x31", 2),
                                std::string("\x40\x41\x42\x43", 4),
                                std::string("\x50\x51\x52\x53\x54\x55\x56\x57", 8),
                                std::string("\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16)};
  const char* roots[] = {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                         "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                         "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                         "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                         "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                         "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                         "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                         "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
  Frontier frontier;
  EXPECT_EQ(hex(frontier.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  for (size_t i = 0; i < 8; ++i) {
    frontier.append(leaf_hash(leaves[i]));
    EXPECT_EQ(hex(frontier.root()), roots[i]) << i;
    const auto again = Frontier::from(frontier.size(), frontier.nodes());
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(*again, frontier);
  }
  EXPECT_FALSE(Frontier::from(3, frontier.nodes()).has_value());
}

TEST(LogFormat, RecordsReadBack) {
  SegmentRecord record;
  record.log_id.fill(7);
  record.boot_id.fill(9);
  record.number = 3;
  record.created_ns = -5;
  record.previous_end = PreviousEnd::abandoned;
  record.previous_bytes = 1234;
  for (int i = 0; i < 5; ++i) record.frontier.append(leaf_hash("x"));
  record.first_index = record.frontier.size();
  record.host = "host";
  const std::string bytes = encode(record);
  const auto read = decode_segment(bytes);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(encode(*read), bytes);
  EXPECT_EQ(read->created_ns, -5);
  EXPECT_EQ(read->frontier, record.frontier);
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(decode_segment(bytes.substr(0, size)).has_value()) << size;
  EXPECT_FALSE(decode_segment(bytes + "x").has_value());

  SealRecord seal{SealReason::recovered, 5, 6, 7, 8, record.frontier.root()};
  const auto seal_read = decode_seal(encode(seal));
  ASSERT_TRUE(seal_read.has_value());
  EXPECT_EQ(encode(*seal_read), encode(seal));
  EXPECT_FALSE(decode_seal(encode(seal) + "x").has_value());
  std::string other = encode(seal);
  other[0] = 9;
  EXPECT_FALSE(decode_seal(other).has_value());
}

TEST(LogFormat, SegmentNames) {
  EXPECT_EQ(segment_name(42), "00000000000000000042.seg");
  EXPECT_EQ(parse_segment_name(segment_name(UINT64_MAX)), UINT64_MAX);
  for (const char* name :
       {"42.seg", "0000000000000000004x.seg", "99999999999999999999.seg", "00000000000000000042.bak", "reserve", ""}) {
    EXPECT_FALSE(parse_segment_name(name).has_value()) << name;
  }
}

}  // namespace
}  // namespace sluice::audit
