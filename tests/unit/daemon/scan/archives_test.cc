// Compressed files and archives: searched inside, bounded, and never skipped in silence.
#include "tests/unit/daemon/scan/archive_maker.h"
#include "tests/unit/daemon/scan/search_fixture.h"

#include <fcntl.h>
#include <unistd.h>

#include "daemon/base/unique_fd.h"
#include "daemon/scan/limits.h"
#include "daemon/scan/packing.h"
#include "daemon/scan/unpacker.h"

namespace sluice::scan {
namespace {

const std::string kText = "one\ntwo 4111111111111111\n";
constexpr const char* kHit = " 8 2 411111******1111\n";

TEST_F(SearchTest, CompressedTextsAreSearchedInside) {
  file("a.gz", compressed(ARCHIVE_FILTER_GZIP, kText));
  file("b.zst", compressed(ARCHIVE_FILTER_ZSTD, kText));
  file("c.xz", compressed(ARCHIVE_FILTER_XZ, kText));
  file("d.bz2", compressed(ARCHIVE_FILTER_BZIP2, kText));
  file("e", compressed(ARCHIVE_FILTER_GZIP, kText));  // names lie
  file("f.gz", kText);
  run();
  std::string expected;
  for (const char* name : {"a.gz", "b.zst", "c.xz", "d.bz2", "e", "f.gz"}) expected += name + std::string(kHit);
  EXPECT_EQ(out_, expected);
  EXPECT_EQ(err_, "");
}

TEST_F(SearchTest, SeveralCompressedPartsAreOneText) {
  file("a.gz", compressed(ARCHIVE_FILTER_GZIP, "one\ntwo 41111111") + compressed(ARCHIVE_FILTER_GZIP, "11111111\n"));
  run();
  EXPECT_EQ(out_, std::string("a.gz") + kHit);
}

TEST_F(SearchTest, MembersOfArchivesAreNamed) {
  file("a.tar", tar({{"x/1", "nothing"}, {"x/2", kText}}));
  file("b.tar.gz", tar({{"1", kText}}, ARCHIVE_FILTER_GZIP));
  file("c.zip", zip({{"1", kText}, {"2", "nothing"}}));
  run();
  EXPECT_EQ(out_, "a.tar!x/2" + std::string(kHit) + "b.tar.gz!1" + kHit + "c.zip!1" + kHit);
  EXPECT_EQ(counts_.members, 5U);
  EXPECT_EQ(err_, "");
}

TEST_F(SearchTest, ArchivesWithinArchivesAreSearched) {
  file("a.zip", zip({{"in.tar", tar({{"deep.gz", compressed(ARCHIVE_FILTER_GZIP, kText)}, {"after", kText}})}}));
  run();
  EXPECT_EQ(out_, "a.zip!in.tar!deep.gz" + std::string(kHit) + "a.zip!in.tar!after" + kHit);
}

TEST_F(SearchTest, ATarBehindAnotherIsSearched) {
  file("a.tar", tar({{"1", "nothing"}}) + tar({{"2", kText}}));
  run();
  EXPECT_EQ(out_, "a.tar!2" + std::string(kHit));
}

TEST_F(SearchTest, StandardInputMayBePacked) {
  file("in", tar({{"1", std::string(kWindowBytes, '.')}, {"2", kText}}, ARCHIVE_FILTER_ZSTD));
  const UniqueFd input(::open(tree("in").c_str(), O_RDONLY | O_CLOEXEC));
  options_.paths = {std::string(kStandardInput)};
  options_.standard_input = input.get();
  run();
  EXPECT_EQ(out_, "!2" + std::string(kHit));
}

TEST_F(SearchTest, NestingHasALimit) {
  std::string nested = kText;
  for (size_t i = 0; i < kNestingMax + 1; ++i) nested = tar({{"t", nested}});
  file("a.tar", nested);
  run();
  EXPECT_EQ(out_, "");
  EXPECT_NE(err_.find("archives within each other; not looked into"), std::string::npos) << err_;
  EXPECT_EQ(counts_.problems, 1U);
}

TEST_F(SearchTest, ExpansionHasALimit) {
  file("a.tar.gz", tar({{"bomb", std::string(1 << 20, '0')}, {"never", kText}}, ARCHIVE_FILTER_GZIP));
  options_.file.expanded_bytes_max = 1 << 19;
  run();
  EXPECT_EQ(out_, "");
  EXPECT_EQ(err_, "a.tar.gz!bomb: expands to more than 524288 bytes; the rest was not looked at\n");
}

TEST(ExpansionBudget, IsByRatioUnlessANumberIsNamed) {
  ExpansionBudget by_ratio(0);
  EXPECT_TRUE(by_ratio.take_expanded(kExpandedFreeBytes));
  EXPECT_FALSE(by_ratio.take_expanded(1));
  EXPECT_TRUE(by_ratio.exhausted());
  ExpansionBudget large(0);
  large.read_packed(kExpandedFreeBytes);
  EXPECT_TRUE(large.take_expanded(kExpandedFreeBytes * kExpansionRatioMax));
  EXPECT_FALSE(large.take_expanded(1));
  ExpansionBudget members(0);
  for (uint64_t i = 0; i < kMembersMax; ++i) ASSERT_TRUE(members.take_member());
  EXPECT_FALSE(members.take_member());
}

TEST_F(SearchTest, DamagedArchivesAreSaidAndSearchedAsFarAsTheyGo) {
  std::string text = kText;
  for (uint32_t i = 1; text.size() < 4 * kWindowBytes; i = i * 1664525 + 1013904223)
    text += static_cast<char>('a' + i % 26);
  const std::string whole = compressed(ARCHIVE_FILTER_GZIP, text);
  file("a.gz", whole.substr(0, whole.size() - 6));
  run();
  EXPECT_EQ(out_, std::string("a.gz") + kHit);
  EXPECT_NE(err_.find("a.gz: "), std::string::npos) << err_;
  EXPECT_EQ(counts_.problems, 1U);
}

TEST_F(SearchTest, WhatFollowsCompressedDataIsSaid) {
  file("a.gz", compressed(ARCHIVE_FILTER_GZIP, "nothing") + "4111111111111111");
  run();
  EXPECT_NE(err_.find("something follows behind the end of the compressed data"), std::string::npos) << err_;
  EXPECT_EQ(counts_.problems, 1U);
}

TEST_F(SearchTest, EncryptedMembersAreSaid) {
  ArchiveMaker maker(ARCHIVE_FILTER_NONE, ARCHIVE_FORMAT_ZIP);
  maker.encrypt();
  file("a.zip", maker.make({{"locked", kText}}));
  run();
  EXPECT_EQ(err_, "a.zip!locked: encrypted; it was not looked at\n");
  EXPECT_EQ(counts_.problems, 1U);
}

TEST_F(SearchTest, ForeignArchivesAreSaid) {
  file("a", std::string("Rar!\x1a\x07\x01\x00", 8) + "whatever");
  run();
  EXPECT_EQ(err_, "a: a rar archive, which cannot be looked into\n");
  EXPECT_EQ(counts_.problems, 1U);
}

TEST_F(SearchTest, ASignatureByChanceIsATextLikeAnyOther) {
  std::string text(257, '.');
  text += "ustar " + kText;
  file("a", text);
  run();
  EXPECT_EQ(out_, "a 271 2 411111******1111\n") << err_;
}

TEST_F(SearchTest, ArchivesCanBeSearchedAsTheyAre) {
  file("a.tar", tar({{"1", kText}}));
  options_.file.unpacking = Unpacking::off;
  run();
  EXPECT_EQ(out_, "a.tar 520 2 411111******1111\n");
}

TEST(PackingOf, NeedsMoreThanThreeLetters) {
  const auto kind = [](std::string_view text) {
    return packing_of({reinterpret_cast<const uint8_t*>(text.data()), text.size()}).kind;
  };
  EXPECT_EQ(kind(""), Packing::Kind::none);
  EXPECT_EQ(kind("BZhello world"), Packing::Kind::none);
  EXPECT_EQ(kind("PK is a football word"), Packing::Kind::none);
  EXPECT_EQ(kind("\x1f\x8b"), Packing::Kind::none);
  EXPECT_EQ(kind("\x1f\x8b\x08"), Packing::Kind::unpacked);
}

}  // namespace
}  // namespace sluice::scan
