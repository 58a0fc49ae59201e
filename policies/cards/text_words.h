// What the words and keys right before a number say of it. Looks back a bounded way through a TextView, so that a text
// that comes in parts says the same. Pure; any thread.
#pragma once

#include <cstddef>

#include "policies/cards/card_names.h"
#include "policies/cards/text_view.h"

namespace sluice::policies::cards {

// How far before a number a word counts: on its line.
inline constexpr size_t kWordsBackBytes = 39;
static_assert(kWordsBackBytes < kLeftContextBytes);

// The name of the column, or a word before `start`, says that card numbers stand here.
[[nodiscard]] bool says_card(const TextView& text, size_t start);
// The quick no, for numbers among numbers.
[[nodiscard]] bool may_say_card(const TextView& text, size_t start);

// What the key says that the value at `value` belongs to: `"cvv": "123"`, `cvv=123`, `<cvv>123</cvv>`, `"cvv"=>"123"`.
// None where it belongs to no key, or the key says nothing.
// Nothing before `reach` is looked at: at most kWordsBackBytes before the number that is asked about.
[[nodiscard]] NameKind key_before(const TextView& text, ptrdiff_t value, ptrdiff_t reach);

// A key and its value stand at most so far apart, the one nearest to the value being `:`, `=` or `>`.
inline constexpr size_t kAssignedReachBytes = 4;
[[nodiscard]] constexpr bool is_assignment(int c) {
  return c == ':' || c == '=' || c == '>';
}

}  // namespace sluice::policies::cards
