// What a name says of the values that stand under it: the name of a column, a key of JSON, XML or hstore, a parameter,
// a header of CSV. The same list serves as the keywords that, nearby, make a card number of what needs context. Pure;
// any thread. docs/masking.md lists the names.
//
// A name is read as words: at underscores, dashes, dots, blanks and capitals a new one begins, digits do not count, and
// neither does case. What its last words say is what it says: `customer_cvv2` and `cardCvc` are codes, `cvv_result`,
// `pincode` and `shipping` are not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice::policies {

enum class NameKind : uint8_t {
  none,    // says nothing
  pan,     // card numbers
  cvv,     // card verification codes
  code,    // card verification codes where a card stands beside it, and something else everywhere else (`cid`)
  pin,     // PINs and PIN blocks
  expiry,  // says that a row is about a card, and nothing else
  other,   // numbers that are no card's (`order_id`, `imei`)
};

[[nodiscard]] NameKind name_kind(std::string_view name);

// Values under such a name are masked whole, where they have the form of a code.
[[nodiscard]] constexpr bool is_secret(NameKind kind) {
  return kind == NameKind::cvv || kind == NameKind::code || kind == NameKind::pin;
}

namespace cards {

// Is one of the last words of `text` a keyword for card numbers? Digits, however masked, do not matter.
[[nodiscard]] bool ends_near_card_word(std::string_view text);

}  // namespace cards

}  // namespace sluice::policies
