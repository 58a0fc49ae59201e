// The seam between whoever has field values (a protocol machine, `sluice mask`, the event builder) and the detector.
// A value is looked at decoded as its type says, never as raw wire bytes. Work comes in batches: one call for all
// fields of a read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "policies/cards/card_names.h"

namespace sluice::policies {

// How the bytes of a value are to be read. PostgreSQL forms are named as such, because their binary layout is its own.
enum class ValueType : uint8_t {
  text,        // characters: text, varchar, bpchar, name, xml, json in text, error fields, SQL text
  integer,     // text: decimal digits; binary: 2, 4 or 8 bytes, two's complement, big-endian
  numeric,     // text: decimal; binary: PostgreSQL numeric (base-10000 groups)
  floating,    // text; binary: IEEE 754, 4 or 8 bytes, big-endian
  bytea,       // text: `\x` hex or escape form; binary: the bytes
  json,        // text and binary alike
  jsonb,       // text; binary: one version byte, then text
  array,       // text: `{…}`; binary: PostgreSQL array with element type OID
  text_array,  // an array whose elements are characters: a mask in its text form may hold stars
  copy_row,   // a row of COPY in text format: a tab is the border between two fields, never a separator within a number
  opaque,     // of unknown type: looked at as every form that fits
  inert,      // cannot hold a card number: dates, times, UUIDs, addresses …; text: characters; binary: left alone
  geometric,  // point, path, polygon …; text: bare numbers; binary: float8 coordinates
  integer_range,  // int8range and its multirange; text: characters; binary: bounds are int8
};
inline constexpr size_t kValueTypeCount = static_cast<size_t>(ValueType::integer_range) + 1;
enum class ValueFormat : uint8_t { text, binary };

// Which part of a value these bytes are. A value larger than the window is presented in parts, in order.
enum class ValuePart : uint8_t { whole, first, middle, last };

// What the detector remembers between the parts of one value: character classes of the bytes before, never a digit
// itself. Owned by the caller, zero at the start of each value.
struct StreamState {
  uint8_t bytes[192] = {};
  // Of data patterns (data_scanner.h): how much at the front of the next part belongs to a finding of the one before
  // and is to be masked, of which pattern, and the one byte before the next part, for word borders.
  uint32_t data_carry = 0;
  uint8_t data_pattern = 0;
  uint8_t data_left = 0;
  uint8_t data_begun = 0;
};

struct ValueView {
  std::span<uint8_t> bytes;
  ValueType type = ValueType::text;
  ValueFormat format = ValueFormat::text;
  ValuePart part = ValuePart::whole;
  uint16_t column = 0;             // position in the row; for counting findings per column
  StreamState* stream = nullptr;   // there exactly when part is not `whole`
  NameKind name = NameKind::none;  // what the name of its column says
};

enum class Brand : uint8_t {
  visa,
  mastercard,
  amex,
  diners,
  discover,
  jcb,
  unionpay,
  maestro,
  mir,
  rupay,
  troy,
  elo,
  hiper,
  hipercard,
  verve,
  uatp,
};

enum class FindingKind : uint8_t {
  pan,
  pattern,  // data that policy or the command line names; CardScanner::kind_name() says which
  cvv,      // a card verification code
  pin,      // a PIN or a PIN block
  track,    // a card number with what stands behind it on a magnetic stripe or in a chip's copy of it
};
// These have a brand, and digits that a mask may show.
[[nodiscard]] constexpr bool has_brand(FindingKind kind) {
  return kind == FindingKind::pan || kind == FindingKind::track;
}

// How the bytes of a finding hold its digits, and so how they are masked.
enum class FindingForm : uint8_t {
  characters,  // ASCII digits in text: `*`
  decimal,  // ASCII digits of a number (a mantissa where it has an exponent): other digits, so that it stays a number
  int8_binary,     // 8 bytes, big-endian: another number
  numeric_binary,  // PostgreSQL numeric: another number
  float8_binary,   // 8 bytes, IEEE 754 big-endian: another number
  hex,             // two hex characters per character of text: the hex of `*`
  hidden,          // characters as people hide them (docs/masking.md): a star in the same form
  base64,          // the base64 of `*`, in place
  packed_decimal,  // two digits per byte: other digits
  tagged_decimal,  // the same with an EMV tag and length before it: zeros for what stands behind the number
  tagged_hex,      // the hex of that
  octal_escapes,   // PostgreSQL's bytea escape form: digits stand for themselves; escapes are kept
  // Masked whole, whatever the style (secrets.h):
  covered,          // letters, digits and all beyond ASCII: `*`
  covered_number,   // of numbers in text, JSON and arrays: digits become ones, so that they stay numbers
  covered_integer,  // 2, 4 or 8 bytes, big-endian: ones in decimal
  covered_numeric,  // PostgreSQL numeric: likewise
  covered_float,    // 4 or 8 bytes, IEEE 754 big-endian: likewise
  covered_bytes,    // every byte: `*`
  covered_hex,      // hex characters: `a`
};

// How a value holds the bytes that a finding's form is about, and its offsets are not.
enum class HeldAs : uint8_t {
  bytes,  // as they are
  hex,    // two hex characters each
};

// Is the mask made of other digits?
[[nodiscard]] constexpr bool is_masked_with_digits(FindingForm form) {
  return form == FindingForm::decimal || form == FindingForm::packed_decimal || form == FindingForm::tagged_decimal ||
         form == FindingForm::tagged_hex;
}

// One piece of card data. Offsets are bytes within the ValueView's bytes.
struct Finding {
  uint32_t value = 0;  // index into the batch
  uint32_t offset = 0;
  uint32_t length = 0;  // bytes it spans, separators included
  FindingKind kind = FindingKind::pan;
  Brand brand = Brand::visa;
  uint8_t digits = 0;
  uint16_t column = 0;
  FindingForm form = FindingForm::characters;
  uint8_t last_kept = 4;   // digits a mask may show at the end; 0 where they would be the start of another candidate
  uint8_t first_kept = 8;  // likewise at the front
  uint8_t pattern = 0;     // which one
  bool continued = false;  // of a pattern: the rest of a finding that the part before ended in; not counted again
  uint32_t rest = 0;       // bytes of it that stand in the next part
  uint8_t tail = 0;        // decoded bytes at its end that are no part of the number and are masked whole: track data
  HeldAs held_as = HeldAs::bytes;
  uint8_t filler = 0;  // where its mask consists of digits: which ones, in place of what the style says (numbers.h)
};

}  // namespace sluice::policies
