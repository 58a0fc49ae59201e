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

namespace sluice::policies::cards {

enum class Separator : uint8_t { none, space, dash, dot, slash, tab, underscore, no_break_space, unicode_dash };

struct SeparatorAt {
  Separator kind = Separator::none;
  uint8_t bytes = 0;
};
// The separator that starts at `index`, or ends just before it.
[[nodiscard]] SeparatorAt separator_at(const TextView& text, ptrdiff_t index);
[[nodiscard]] SeparatorAt separator_before(const TextView& text, ptrdiff_t index);

struct Candidate {
  size_t end = 0;  // just behind the last digit
  uint8_t digits = 0;
  uint8_t last_kept = 4;  // see Finding::last_kept
  Brand brand = Brand::visa;
};

// REQUIRES: a digit at `start` and none before it; kReachBytes behind `start` are there, or the value ends earlier.
// Of several card numbers that start here the longest is taken.
[[nodiscard]] std::optional<Candidate> candidate_at(const TextView& text, size_t start);

}  // namespace sluice::policies::cards
