// A statement text as the record keeps it: card data masked, and its hash. Looking at a text of megabytes takes long
// enough to be felt by other sessions, so that of a large one is made on an analysis thread, never on a worker. Pure;
// the scanner belongs to the calling thread.
#pragma once

#include <string>
#include <string_view>

#include "policies/cards/card_scanner.h"

namespace sluice::command {

struct MaskedText {
  std::string text;
  std::string sha256;                                     // of `text`, 32 raw bytes
  policies::NameKind secrets = policies::NameKind::none;  // what its bind values may be (statement_secrets.h)
  bool carried_mask = false;                              // as sent it held a card number that is masked
  bool scanned_clean = false;                             // looked at once more, and nothing was found
};

// `text` as sent; nothing of it is kept unmasked.
[[nodiscard]] MaskedText mask_for_record(std::string text, policies::CardScanner& scanner);

}  // namespace sluice::command
