// Finds and masks card data in batches of values. One CardScanner per thread (it owns its Hyperscan scratch); cheap to
// call, expensive to make. Nothing here allocates once warm, except where a batch has more findings than any before it.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policies/cards/value.h"

namespace sluice::policies {

enum class MaskStyle : uint8_t { bin6_last4, last4, full, bin8_last4 };

// Longest tail of a streamed value that scan() may ask to see again (bytes). A window must be larger than this.
// A long run of hex or base64, in bytea in hex at that, and a match of a pattern (data_patterns.h).
inline constexpr size_t kHoldBackBytesMax = 2 * (4096 + 1024);

// Where a code or PIN under its key counts in text. (In columns of that name always.)
enum class KeyedSecrets : uint8_t { everywhere, beside_cards };
// Does a key that says something else (`order_id`, `imei`) make a card number none? Whoever may choose keys could hide
// card numbers so: only for texts that nobody wrote to deceive.
enum class ForeignKeys : uint8_t { distrusted, trusted };
struct DetectorOptions {
  KeyedSecrets secrets = KeyedSecrets::everywhere;
  ForeignKeys keys = ForeignKeys::distrusted;
};

class CardScanner {
 public:
  // Null, with `why` set, where the pattern database cannot be made on this CPU.
  [[nodiscard]] static std::unique_ptr<CardScanner> create(std::string& why, DetectorOptions options = {});
  virtual ~CardScanner() = default;

  // Finds card data in every value of the batch. `findings` is replaced; ordered by value, then offset; they never
  // overlap, but that a
  // finding of a pattern may cover one of a card. For a value presented in parts, `settled[i]` is how many of its bytes
  // are decided and may be forwarded; the caller presents the rest again at the front of the next part (at most
  // kHoldBackBytesMax bytes). For `whole` and `last` it is the size. `settled` may be empty where every value is whole.
  virtual void scan(std::span<const ValueView> values, std::vector<Finding>& findings, std::span<size_t> settled) = 0;

  // Overwrites the found digits in place: same length, separators kept, valid for the value's type. The masked value
  // has no finding (idempotent); same input, same mask.
  virtual void mask(std::span<ValueView> values, std::span<const Finding> findings, MaskStyle style) = 0;

  // What to call a finding: "pan", or the name of the pattern. Lives as long as the scanner.
  [[nodiscard]] virtual std::string_view kind_name(const Finding& finding) const;
};

// Masks every piece of card data in a text that is about to be stored, logged or streamed (SQL, error messages, event
// fields). Returns how many there were.
size_t mask_text(CardScanner& scanner, std::string& text, MaskStyle style = MaskStyle::bin6_last4);

// The digits of one text finding as a mask shows them, separators left out: "411111******1111"; nothing but stars where
// the bytes hold them in another form. `bytes` are those of its value.
[[nodiscard]] std::string masked_digits(std::span<const uint8_t> bytes, const Finding& finding, MaskStyle style);

// "bin6_last4", "last4", "full", "bin8_last4".
[[nodiscard]] std::optional<MaskStyle> parse_mask_style(std::string_view word);
[[nodiscard]] std::string_view to_string(Brand brand);
[[nodiscard]] std::string_view to_string(FindingKind kind);
// Version of the issuer range table; stands in every finding event.
[[nodiscard]] std::string_view issuer_table_version();

}  // namespace sluice::policies
