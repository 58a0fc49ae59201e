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

// By the first four digits (0–9999).
struct FirstFour {
  LengthSet lengths[10000] = {};    // that any issuer uses behind them, with context or without: for a quick no
  uint8_t first_range[10000] = {};  // the first range of the table that they may begin
  struct Settled {
    Brand brand = {};
    LengthSet lengths = 0;  // for which the brand is sure
  };
  Settled settled[10000] = {};
};
extern const FirstFour kFirstFour;
[[nodiscard]] inline LengthSet lengths_of_first_four(unsigned first_four) {
  return kFirstFour.lengths[first_four];
}
// Set beside the lengths where numbers begin that may count although their check digit is wrong: UnionPay's, with
// context, and a published test number.
inline constexpr LengthSet kUncheckedPrefix = 0x80;
// Of those the first two digits: 62, and 81 (of which 8100 to 8171 are meant).
[[nodiscard]] constexpr bool is_unchecked_prefix(unsigned first_four) {
  return first_four / 100 == 62 || (first_four >= 8100 && first_four <= 8171);
}
// The published test number among them begins so; it needs no context.
inline constexpr unsigned kUncheckedTestNumber = 6221;

// The brand of a card number: prefix and length in the table and Luhn's check digit right, or a published test number
// that no rule covers. `digits` are values 0–9, not characters.
[[nodiscard]] std::optional<Brand> brand_of(std::span<const uint8_t> digits);

// The brand of such a number by its first four digits and length alone, where they settle it.
[[nodiscard]] inline std::optional<Brand> brand_of_first_four(unsigned first_four, size_t digits) {
  const FirstFour::Settled& settled = kFirstFour.settled[first_four];
  if (!has_length(settled.lengths, digits)) return std::nullopt;
  return settled.brand;
}

// The same, of 13 to 19 digits whose check digit is known to be right; nothing also where a test number is all it may
// be.
[[nodiscard]] std::optional<Brand> brand_by_range(std::span<const uint8_t> digits);

// The brand of a number that is one of a card only where a name or word says so (says_card.h): Maestro of 12 to 15
// digits and UATP, with a right check digit, and UnionPay with a wrong one. A number that a mask made of such a
// UnionPay number (numbers.h) is none.
inline constexpr size_t kContextDigitsMin = 12;
[[nodiscard]] std::optional<Brand> brand_in_context(std::span<const uint8_t> digits);

// Luhn's check (ISO/IEC 7812-1, annex B).
[[nodiscard]] bool luhn_valid(std::span<const uint8_t> digits);

}  // namespace sluice::policies::cards
