// The verdict on one candidate in text: do the digits that start here, with single separators between groups, make a
// card number? This is the scalar oracle: every faster scanner only chooses at which positions to ask it. Pure; any
// thread.
//
// A candidate is a window of whole digit groups: never a part of an unbroken run of digits (a random run of 24 digits
// holds 0.69 card numbers by chance), but any group may be its first or last ("2025-12-01 4111 1111 1111 1111").
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "policies/cards/issuer_table.h"
#include "policies/cards/text_view.h"
#include "policies/cards/track_data.h"

namespace sluice::policies::cards {

enum class Separator : uint8_t { none, space, dash, dot, slash, tab, underscore, no_break_space, unicode_dash };

struct SeparatorAt {
  Separator kind = Separator::none;
  uint8_t bytes = 0;
};
// The separator that starts at `index`, or ends just before it.
[[nodiscard]] SeparatorAt separator_at(const TextView& text, ptrdiff_t index);
[[nodiscard]] SeparatorAt separator_before(const TextView& text, ptrdiff_t index);

inline constexpr uint8_t kLastKept = 4;        // digits that a mask shows at the end
inline constexpr size_t kDatetimeDigits = 14;  // DDMMYYYYhhmmss

struct Candidate {
  size_t end = 0;  // just behind the last digit, or behind what goes on from there on a magnetic stripe
  uint8_t digits = 0;
  uint8_t last_kept = kLastKept;  // see Finding::last_kept
  Brand brand = Brand::visa;
  uint8_t tail = 0;  // bytes before `end` that are no part of the number
};

// REQUIRES: a digit at `start` and none before it; kReachBytes behind `start` are there, or the value ends earlier.
// Of several card numbers that start here the longest is taken.
[[nodiscard]] std::optional<Candidate> candidate_at(const TextView& text, size_t start);

// Is this byte no part of a number, a hash, a UUID, a mask or a separator?
struct NeutralBytes {
  bool is[256] = {};
  constexpr NeutralBytes() {
    for (int c = 0; c < 0x80; ++c) {
      const bool separator = c == ' ' || c == '-' || c == '.' || c == '/' || c == '\t' || c == '_';
      is[c] = !separator && !is_digit_or_mask(c) && !is_hex_letter(c);
    }
  }
};
inline constexpr NeutralBytes kNeutral;

// The same for an unbroken run of `digits` digits at `start` whose length, issuer and check digit are known to be
// right, where what stands beside it settles the rest at a glance; nothing where candidate_at has to be asked.
[[nodiscard]] inline std::optional<Candidate> checked_candidate_at(const TextView& text, size_t start, size_t digits,
                                                                   unsigned first_four) {
  // No context rule reaches a number between two neutral bytes. (A date is the one rule about the digits themselves.)
  const auto neutral = [](int c) { return c == TextView::kNone || kNeutral.is[c]; };
  const size_t end = start + digits;
  if (!neutral(text.at(static_cast<ptrdiff_t>(start) - 1)) || !neutral(text.at(static_cast<ptrdiff_t>(end)))) return {};
  if (digits == kDatetimeDigits || begins_track_tail(text.at(static_cast<ptrdiff_t>(end)))) return {};
  const std::optional<Brand> brand = brand_of_first_four(first_four, digits);
  if (!brand) return {};
  return Candidate{end, static_cast<uint8_t>(digits), kLastKept, *brand};
}

}  // namespace sluice::policies::cards
