// Which prefixes and lengths are card numbers: one table, versioned, compiled in. The version stands in every finding
// event, so that a reader of the log knows which table decided. docs/masking.md explains what is left out and why.
// Immutable and free of state; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "policies/cards/value.h"

namespace sluice::policies::cards {

inline constexpr size_t kPanDigitsMin = 13;
inline constexpr size_t kPanDigitsMax = 19;

// A set of lengths: bit n stands for kPanDigitsMin + n digits.
using LengthSet = uint8_t;
[[nodiscard]] constexpr bool has_length(LengthSet set, size_t digits) {
  return digits >= kPanDigitsMin && digits <= kPanDigitsMax && ((set >> (digits - kPanDigitsMin)) & 1) != 0;
}

// The lengths that any issuer uses behind these first four digits (0–9999): a superset, for a quick no.
[[nodiscard]] LengthSet lengths_of_first_four(unsigned first_four);

// The brand of a card number: prefix and length in the table and Luhn's check digit right, or a published test number
// that no rule covers. `digits` are values 0–9, not characters.
[[nodiscard]] std::optional<Brand> brand_of(std::span<const uint8_t> digits);

// Luhn's check (ISO/IEC 7812-1, annex B).
[[nodiscard]] bool luhn_valid(std::span<const uint8_t> digits);

}  // namespace sluice::policies::cards
