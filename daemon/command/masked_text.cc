#include "daemon/command/masked_text.h"

#include <openssl/sha.h>

#include <utility>

#include "policies/cards/masked_value.h"
#include "policies/cards/statement_secrets.h"

namespace sluice::command {

MaskedText mask_for_record(std::string text, policies::CardScanner& scanner) {
  MaskedText masked;
  masked.carried_mask = policies::holds_masked_card({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  masked.text = std::move(text);
  // What the mask made must hold nothing either; where it does, whoever builds the event masks and counts that.
  const size_t found_first = policies::mask_text(scanner, masked.text);
  masked.secrets = policies::secrets_written_by(masked.text, found_first);
  if (found_first + policies::mask_written_secrets(masked.text, masked.secrets) == 0) {
    masked.scanned_clean = true;
  } else {
    policies::ValueView view;
    view.bytes = {reinterpret_cast<uint8_t*>(masked.text.data()), masked.text.size()};
    std::vector<policies::Finding> found;
    scanner.scan({&view, 1}, found, {});
    masked.scanned_clean = found.empty();
  }
  masked.sha256.resize(SHA256_DIGEST_LENGTH);
  SHA256(reinterpret_cast<const unsigned char*>(masked.text.data()), masked.text.size(),
         reinterpret_cast<unsigned char*>(masked.sha256.data()));
  return masked;
}

}  // namespace sluice::command
