// The quick no: could there be a card number in these bytes at all? Most fields of a result are shorter than a card
// number or hold few digits; they must cost a few nanoseconds. SSE2 where the target has it (every x86-64), portable
// code elsewhere. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "policies/cards/issuer_table.h"

namespace sluice::policies::cards {

// At least kPanDigitsMin ASCII digits, anywhere. Reads only within `bytes`.
[[nodiscard]] bool has_many_digits(std::span<const uint8_t> bytes);
[[nodiscard]] inline bool has_enough_digits(std::span<const uint8_t> bytes) {
  return bytes.size() >= kPanDigitsMin && has_many_digits(bytes);
}

// A stretch of digits and bytes that may be separators.
struct Stretch {
  size_t start = 0, end = 0;
};
// The first stretch at or behind `from` that is long enough for a card number; start == end == size where there is
// none. A superset: whatever is a candidate lies in such a stretch.
[[nodiscard]] Stretch next_stretch(std::span<const uint8_t> bytes, size_t from);

// The stretch around the byte before `hit`, not reaching before `from`.
[[nodiscard]] Stretch stretch_around(std::span<const uint8_t> bytes, size_t from, size_t hit);

}  // namespace sluice::policies::cards
