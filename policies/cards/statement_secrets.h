// Codes and PINs in the text of a statement that is about to be stored. What stands under its key is found by the
// detector
// (`cvv = '123'`); in `INSERT INTO cards (pan, cvv) VALUES (…)` nothing stands beside the value. So where a text that
// writes values names such a column, or holds a card number, every number of that length is masked: too much of a log's
// text, never too little. For the record alone, never for what the server gets. Pure; any thread.
#pragma once

#include <string>

#include "policies/cards/card_names.h"

namespace sluice::policies {

// What the text says of the values that it writes: `code` or `pin` (4 to 12 digits) where they may be such, else
// `none`. `cards` is how many card numbers it held.
[[nodiscard]] NameKind secrets_written_by(const std::string& text, size_t cards);

// Masks every number of 3 or 4 digits (for `pin` of 3 to 12) that stands alone. Returns how many there were.
size_t mask_written_secrets(std::string& text, NameKind secrets);

}  // namespace sluice::policies
