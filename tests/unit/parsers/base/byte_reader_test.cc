#include "parsers/base/byte_reader.h"

#include <gtest/gtest.h>

#include <vector>

#include "parsers/base/byte_writer.h"

namespace sluice::parsers {
namespace {

TEST(ByteReader, ReadsWhatAWriterWrote) {
  ByteWriter writer;
  writer.u8(7).u16(0x1234).u32(0x89abcdef).i32(-2).cstring("name").text("raw");
  ByteReader reader(writer.bytes());
  EXPECT_EQ(reader.u8(), 7);
  EXPECT_EQ(reader.u16(), 0x1234);
  EXPECT_EQ(reader.u32(), 0x89abcdefu);
  EXPECT_EQ(reader.i32(), -2);
  EXPECT_EQ(reader.cstring(), "name");
  EXPECT_EQ(reader.bytes(3).size(), 3u);
  EXPECT_TRUE(reader.done());
}

TEST(ByteReader, AReadPastTheEndFailsForGood) {
  const std::vector<uint8_t> bytes = {1, 2, 3};
  ByteReader reader(bytes);
  EXPECT_EQ(reader.u32(), 0u);
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.u8(), 0) << "there is a byte, but the reader has failed";
  EXPECT_FALSE(reader.done());
}

TEST(ByteReader, EveryCutOfAMessageFails) {
  ByteWriter writer;
  writer.u16(1).cstring("x").u32(5);
  for (size_t cut = 0; cut < writer.size(); ++cut) {
    ByteReader reader(std::span(writer.bytes()).first(cut));
    (void)reader.u16();
    (void)reader.cstring();
    (void)reader.u32();
    EXPECT_FALSE(reader.ok()) << "cut at " << cut;
  }
}

TEST(ByteReader, AStringNeedsItsEnd) {
  const std::vector<uint8_t> bytes = {'a', 'b'};
  ByteReader reader(bytes);
  EXPECT_EQ(reader.cstring(), "");
  EXPECT_FALSE(reader.ok());
}

TEST(ByteReader, AHugeCountDoesNotOverflow) {
  const std::vector<uint8_t> bytes = {1};
  ByteReader reader(bytes);
  EXPECT_TRUE(reader.bytes(SIZE_MAX).empty());
  EXPECT_FALSE(reader.ok());
}

TEST(ByteWriter, PutsALengthAfterwards) {
  ByteWriter writer;
  writer.u8('Q').u32(0).u8(9);
  writer.put_u32(1, 0x01020304);
  EXPECT_EQ(writer.bytes(), (std::vector<uint8_t>{'Q', 1, 2, 3, 4, 9}));
}

}  // namespace
}  // namespace sluice::parsers
