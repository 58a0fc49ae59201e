// Recognises a card number that has been masked with stars, so that a write that carries one back can be refused: it
// would destroy the number that it stands for. Costs one search for a star where there is none. Pure; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice::policies {

// Somewhere in `bytes` stands a masked number as the styles leave it: six or eight digits, stars, at most four digits;
// or nine stars at least and four digits; 13 to 19 of them together, with single separators at most, and neither digit
// nor star right around them. A number that is nothing but stars is not recognised, and neither is one whose mask is
// digits.
[[nodiscard]] bool holds_masked_card(std::span<const uint8_t> bytes);

// The same over a text that comes in pieces, COPY data say. Remembers the last bytes of the piece before.
class MaskedCardStream {
 public:
  void reset() { tail_bytes_ = 0; }
  // In this piece, or across its front border.
  [[nodiscard]] bool holds(std::span<const uint8_t> piece);

 private:
  static constexpr size_t kReachBytes = 40;  // 19 characters, a separator behind each, and what bounds them
  std::array<uint8_t, 2 * kReachBytes> joined_{};
  size_t tail_bytes_ = 0;  // at the front of joined_
};

}  // namespace sluice::policies
