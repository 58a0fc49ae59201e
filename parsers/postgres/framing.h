// Where messages begin and end. Every message after start-up is a tag, a length that counts itself, and a body.
// The tag and the length are checked against their bounds as soon as they are there, before anything is allocated for
// the body.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "parsers/postgres/protocol.h"

namespace sluice::postgres {

inline constexpr size_t kHeaderBytes = 5;

enum class FrameState : uint8_t { incomplete, ok, unknown_tag, bad_length };

struct Frame {
  FrameState state = FrameState::incomplete;
  uint8_t tag = 0;
  uint32_t body_bytes = 0;

  [[nodiscard]] size_t total_bytes() const { return kHeaderBytes + body_bytes; }
};

// Smallest and largest body of a tag; `max` 0 with `min` 1 marks a tag that does not exist.
struct BodyBounds {
  uint32_t min = 1;
  uint32_t max = 0;
};
using BoundsTable = std::array<BodyBounds, 256>;
extern const BoundsTable kFrontendBounds;
extern const BoundsTable kBackendBounds;

// Looks at the header at the front of `bytes`. Knows an impossible tag from the first byte on.
[[nodiscard]] inline Frame peek_frame(std::span<const uint8_t> bytes, const BoundsTable& bounds) {
  Frame frame;
  if (bytes.empty()) return frame;
  frame.tag = bytes[0];
  const BodyBounds bound = bounds[frame.tag];
  if (bound.min > bound.max) {
    frame.state = FrameState::unknown_tag;
    return frame;
  }
  if (bytes.size() < kHeaderBytes) return frame;
  uint32_t length;
  std::memcpy(&length, bytes.data() + 1, sizeof length);
  length = __builtin_bswap32(length);
  if (length < 4 || length - 4 < bound.min || length - 4 > bound.max) {
    frame.state = FrameState::bad_length;
    return frame;
  }
  frame.body_bytes = length - 4;
  frame.state = FrameState::ok;
  return frame;
}

}  // namespace sluice::postgres
