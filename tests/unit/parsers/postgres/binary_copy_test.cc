#include "parsers/postgres/binary_copy.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "parsers/base/byte_writer.h"

namespace sluice::postgres {
namespace {

using parsers::ByteWriter;
using Bytes = std::vector<uint8_t>;
using Kind = BinaryCopyReader::PieceKind;

constexpr std::string_view kSignature{"PGCOPY\n\377\r\n\0", 11};

ByteWriter start(uint32_t flags = 0, std::string_view extension = {}) {
  ByteWriter writer;
  writer.text(kSignature).u32(flags).u32(static_cast<uint32_t>(extension.size())).text(extension);
  return writer;
}

struct Read {
  std::vector<std::string> fields;  // "column:bytes"
  std::string structure;
  std::string why;
  bool complete = false;
  size_t taken = 0;
};

// Reads a stream that comes in pieces of `split` bytes.
Read read(const Bytes& bytes, uint16_t columns, size_t split) {
  BinaryCopyReader reader(columns);
  Read result;
  for (size_t at = 0; at < bytes.size();) {
    const size_t size = std::min(split, bytes.size() - at);
    std::span<const uint8_t> rest = std::span(bytes).subspan(at, size);
    at += size;
    while (!rest.empty()) {
      const auto piece = reader.next(rest);
      if (piece.kind == Kind::malformed) {
        result.why = piece.why;
        EXPECT_EQ(piece.size, 0u);
        EXPECT_EQ(reader.next(rest).kind, Kind::malformed) << "malformed for good";
        return result;
      }
      EXPECT_GT(piece.size, 0u);
      const std::string text(rest.begin(), rest.begin() + static_cast<ptrdiff_t>(piece.size));
      if (piece.kind == Kind::field) {
        if (piece.begins) result.fields.push_back(std::to_string(piece.column) + ":");
        result.fields.back() += text;
        EXPECT_EQ(piece.ends, result.fields.back().size() == piece.field_bytes + 2);
      } else {
        result.structure += text;
      }
      result.taken += piece.size;
      rest = rest.subspan(piece.size);
    }
  }
  result.complete = reader.complete();
  return result;
}

// The same for any split.
Read read_any(const Bytes& bytes, uint16_t columns) {
  const Read whole = read(bytes, columns, bytes.size());
  for (const size_t split : {1, 2, 3, 7, 16}) {
    const Read cut = read(bytes, columns, split);
    EXPECT_EQ(cut.fields, whole.fields) << split;
    EXPECT_EQ(cut.why, whole.why) << split;
    EXPECT_EQ(cut.complete, whole.complete) << split;
    // Of a number that makes the stream malformed, the first bytes have gone by before that is known.
    EXPECT_TRUE(cut.taken == whole.taken || !whole.why.empty()) << split;
  }
  return whole;
}

TEST(BinaryCopy, RowsFieldsAndNulls) {
  const Bytes bytes = start()
                          .u16(3)
                          .i32(2)
                          .text("ab")
                          .i32(-1)
                          .i32(0)
                          .u16(3)
                          .i32(-1)
                          .i32(1)
                          .text("c")
                          .i32(3)
                          .text("def")
                          .u16(0xffff)
                          .take();
  const Read got = read_any(bytes, 3);
  EXPECT_EQ(got.why, "");
  EXPECT_EQ(got.fields, (std::vector<std::string>{"0:ab", "1:c", "2:def"}));
  EXPECT_TRUE(got.complete);
  EXPECT_EQ(got.taken, bytes.size());
}

TEST(BinaryCopy, AHeaderExtensionIsRefusedForNobodyLooksAtIt) {
  const Read extended = read_any(start(0, "4111111111111111").u16(1).i32(1).text("x").u16(0xffff).take(), 1);
  EXPECT_NE(extended.why, "");
  EXPECT_TRUE(extended.fields.empty());
  const Read got = read_any(start(0x0000'ffff).u16(1).i32(1).text("x").u16(0xffff).take(), 1);
  EXPECT_EQ(got.fields, std::vector<std::string>{"0:x"});
  EXPECT_TRUE(got.complete) << "the lower half of the flags may be ignored";
}

TEST(BinaryCopy, RowsWithoutColumns) {
  const Read got = read_any(start().u16(0).u16(0).u16(0xffff).take(), 0);
  EXPECT_EQ(got.why, "");
  EXPECT_TRUE(got.complete);
}

TEST(BinaryCopy, EveryBeginningIsIncompleteAndNotMalformed) {
  const Bytes bytes = start().u16(1).i32(4).text("abcd").u16(0xffff).take();
  for (size_t size = 1; size < bytes.size(); ++size) {
    const Read got = read(Bytes(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size)), 1, size);
    EXPECT_EQ(got.why, "") << size;
    EXPECT_FALSE(got.complete) << size;
  }
}

TEST(BinaryCopy, MalformedStreams) {
  const auto why = [](Bytes bytes, uint16_t columns = 1) { return read_any(bytes, columns).why; };
  EXPECT_NE(why(ByteWriter().text("PGCOPX\n\377\r\n").take()), "");
  EXPECT_NE(why(ByteWriter().text("1\ttext\n").take()), "");
  EXPECT_NE(why(ByteWriter().text({"PGCOPY\n\377\n\0", 10}).take()), "") << "a transfer that ate a carriage return";
  EXPECT_NE(why(start(0x0001'0000).take()), "") << "OIDs, of old servers";
  EXPECT_NE(why(start(0x8000'0000).take()), "");
  EXPECT_NE(why(ByteWriter().text(kSignature).u32(0).u32(0x8000'0000).take()), "");
  EXPECT_NE(why(start().u16(2).take()), "") << "more fields than columns";
  EXPECT_NE(why(start().u16(1).take(), 2), "");
  EXPECT_NE(why(start().u16(0xfffe).take()), "");
  EXPECT_NE(why(start().u16(1).i32(-2).take()), "");
  EXPECT_NE(why(start().u16(1).u32(0x8000'0000).take()), "");
  EXPECT_NE(why(start().u16(0xffff).u8(0).take()), "") << "bytes behind the trailer";
}

}  // namespace
}  // namespace sluice::postgres
