#include "parsers/postgres/framing.h"

#include <gtest/gtest.h>

#include <vector>

#include "parsers/base/byte_writer.h"

namespace sluice::postgres {
namespace {

std::vector<uint8_t> header(uint8_t tag, uint32_t length) {
  return parsers::ByteWriter().u8(tag).u32(length).take();
}

FrameState state(uint8_t tag, uint32_t length, const BoundsTable& bounds) {
  return peek_frame(header(tag, length), bounds).state;
}

TEST(Framing, AHeaderTellsTheSizeOfItsMessage) {
  const Frame frame = peek_frame(header('Q', 4 + 9), kFrontendBounds);
  EXPECT_EQ(frame.state, FrameState::ok);
  EXPECT_EQ(frame.body_bytes, 9u);
  EXPECT_EQ(frame.total_bytes(), 14u);
}

TEST(Framing, NeedsTheWholeHeader) {
  const auto bytes = header('Q', 20);
  for (size_t cut = 0; cut < kHeaderBytes; ++cut) {
    EXPECT_EQ(peek_frame(std::span(bytes).first(cut), kFrontendBounds).state, FrameState::incomplete);
  }
}

TEST(Framing, AnUnknownTagIsKnownFromItsFirstByte) {
  const std::vector<uint8_t> one = {'!'};
  EXPECT_EQ(peek_frame(one, kFrontendBounds).state, FrameState::unknown_tag);
  EXPECT_EQ(peek_frame(one, kBackendBounds).state, FrameState::unknown_tag);
}

TEST(Framing, OnlyTagsOfTheProtocolExist) {
  const std::string_view frontend = "BCdcfDEHFPpQSX";
  const std::string_view backend = "RK23CdcGHWDIEVvnNAtS1sZT";
  for (int tag = 0; tag < 256; ++tag) {
    const std::vector<uint8_t> one = {static_cast<uint8_t>(tag)};
    const bool in_frontend = tag != 0 && frontend.find(static_cast<char>(tag)) != std::string_view::npos;
    const bool in_backend = tag != 0 && backend.find(static_cast<char>(tag)) != std::string_view::npos;
    EXPECT_EQ(peek_frame(one, kFrontendBounds).state != FrameState::unknown_tag, in_frontend) << tag;
    EXPECT_EQ(peek_frame(one, kBackendBounds).state != FrameState::unknown_tag, in_backend) << tag;
  }
}

TEST(Framing, ALengthCountsItself) {
  for (uint32_t length = 0; length < 4; ++length)
    EXPECT_EQ(state('S', length, kFrontendBounds), FrameState::bad_length);
  EXPECT_EQ(state('S', 4, kFrontendBounds), FrameState::ok);
  EXPECT_EQ(state('S', 5, kFrontendBounds), FrameState::bad_length) << "Sync has no body";
}

TEST(Framing, LengthsAreBounded) {
  EXPECT_EQ(state('Q', 0x3fffffff, kFrontendBounds), FrameState::ok);
  EXPECT_EQ(state('Q', 0x40000000, kFrontendBounds), FrameState::bad_length);
  EXPECT_EQ(state('Q', 0xffffffff, kFrontendBounds), FrameState::bad_length);
  EXPECT_EQ(state('E', 10001, kFrontendBounds), FrameState::bad_length);
  EXPECT_EQ(state('Z', 5, kBackendBounds), FrameState::ok);
  EXPECT_EQ(state('Z', 6, kBackendBounds), FrameState::bad_length);
  EXPECT_EQ(state('E', (16u << 20) + 5, kBackendBounds), FrameState::bad_length);
}

}  // namespace
}  // namespace sluice::postgres
