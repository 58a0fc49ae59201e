// Card numbers held as numbers: integers, PostgreSQL numeric (text and base-10000 binary), floating point. A number
// cannot hold
// `*`: its mask is another number of the same length that keeps the first six and last four digits and fails Luhn's
// check. Pure; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "policies/cards/card_scanner.h"
#include "policies/cards/issuer_table.h"

namespace sluice::policies::cards {

// The digits of a whole number. `held` of them, from the front, stand in the bytes; the rest are zeros that an exponent
// or trimmed trailing groups stand for.
struct WholeNumber {
  std::array<uint8_t, kPanDigitsMax> digits{};
  uint8_t size = 0;
  uint8_t held = 0;

  [[nodiscard]] std::span<const uint8_t> all() const { return {digits.data(), size}; }
};

struct NumberFinding {
  size_t offset = 0;  // bytes from the number's start
  size_t length = 0;
  uint8_t digits = 0;
  Brand brand = Brand::visa;
};

inline constexpr size_t kInt8Bytes = 8;
inline constexpr size_t kFloat8Bytes = 8;
inline constexpr size_t kNumberTextBytesMax = 64;     // longer texts are no number that a card number could hide in
inline constexpr size_t kNumericBinaryBytesMax = 64;  // likewise

// What is said of a number: that it is one of a card (says_card()), or nothing.
enum class Said : uint8_t { nothing, card };

// Text: optional sign, digits, a fraction of zeros, an exponent. The finding spans the digits that can be changed.
[[nodiscard]] std::optional<NumberFinding> find_in_number_text(std::span<const uint8_t> text,
                                                               Said said = Said::nothing);
[[nodiscard]] std::optional<NumberFinding> find_in_int8(std::span<const uint8_t> bytes, Said said = Said::nothing);
[[nodiscard]] std::optional<NumberFinding> find_in_numeric(std::span<const uint8_t> bytes, Said said = Said::nothing);
[[nodiscard]] std::optional<NumberFinding> find_in_float8(std::span<const uint8_t> bytes, Said said = Said::nothing);

// The mask of a whole number, digit by digit: as the style says, or, with a filler from 1 to kFillersMax, nothing but
// zeros between a first and a last digit that the filler chooses. Never a card number by itself; a filler is for a
// place where what stands beside the mask would make it one.
inline constexpr uint8_t kFillersMax = 81;
void fill_digits(WholeNumber& number, MaskStyle style, uint8_t filler);

// Replace the digits in place. REQUIRES: bytes of a finding of the same form; anything else is left as it is.
void mask_number_text(std::span<uint8_t> text, size_t digits, MaskStyle style, uint8_t filler = 0);
void mask_int8(std::span<uint8_t> bytes, MaskStyle style);
void mask_numeric(std::span<uint8_t> bytes, MaskStyle style);
void mask_float8(std::span<uint8_t> bytes, MaskStyle style);

}  // namespace sluice::policies::cards
