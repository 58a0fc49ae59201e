// Card numbers as machines send them to each other: packed decimal (two digits per byte), EMV data objects, and ISO
// 8583 messages. They have little shape, so each is asked for a structure around it (docs/decisions/0044): nothing is
// taken for packed decimal because of its digits alone. Pure; any thread; each call looks at some ninety bytes at most.
//
// A mask consists of digits: a field of digits stays one, and runs of digits or of hex stay what they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "policies/cards/card_scanner.h"
#include "policies/cards/text_view.h"

namespace sluice::policies::cards {

struct PackedFinding {
  size_t start = 0, end = 0;  // bytes
  uint8_t digits = 0;
  Brand brand = Brand::visa;
  FindingForm form = FindingForm::packed_decimal;
  uint8_t last_kept = 4;
  size_t anchor = 0;   // where begins what it is recognised by, at or before `start`
  bool track = false;  // of a track: what follows the number is masked too
};

// A value that is nothing but a packed number has so many bytes.
inline constexpr size_t kPackedBytesMin = 7, kPackedBytesMax = 10;
// Where a message begins, its number has ended behind so many bytes; so many are waited for.
inline constexpr size_t kMessageReachBytes = 64;
// An EMV data object with a number ends within so many bytes, and what stands behind it counts a little further.
inline constexpr size_t kTagReachBytes = 2 + 19 + 3;
// The same as text, with what stands before it.
inline constexpr size_t kTagTextReachBytes = 128;
// The shortest run of digits with a number in it.
inline constexpr size_t kTagRunMin = 13;
// An ISO 8583 message as digits alone has so many: type, bitmap, length, number.
inline constexpr size_t kMessageDigitsMin = 4 + 16 + 2 + 13;

// Is all of this value a packed number: 13 to 19 digits, padded with F behind or a zero before, or with a sign behind?
// Not where its bytes are digits and separators as characters.
[[nodiscard]] std::optional<PackedFinding> find_packed(std::span<const uint8_t> value);
// The same of bytes of unknown type: not where they are characters, or eight bytes that may be a
// timestamp or a floating point number of everyday size.
[[nodiscard]] std::optional<PackedFinding> find_packed_in_unknown(std::span<const uint8_t> value);

// Where an object that begins at `at` would end, by tag, length and the beginning of its value; 0 where there is none.
[[nodiscard]] size_t may_end_object(std::span<const uint8_t> bytes, size_t at);

// Appends EMV data objects 5A (number) and 57 (track 2) in binary, in order. With more to follow, returns from where on
// objects may still be incomplete; otherwise the size.
size_t find_objects(std::span<const uint8_t> bytes, Ending ending, std::vector<PackedFinding>& found);

// The one that begins at `at`; the first one that begins at or behind `from`.
[[nodiscard]] std::optional<PackedFinding> find_object_at(std::span<const uint8_t> bytes, size_t at);
[[nodiscard]] std::optional<PackedFinding> find_object(std::span<const uint8_t> bytes, size_t from);

// The number (data element 2) of an ISO 8583 message that these bytes begin with, with message type, bitmap, length and
// number as characters or packed, and a length or TPDU in front.
[[nodiscard]] std::optional<PackedFinding> find_in_message(std::span<const uint8_t> bytes);

// The same two, in hex and digits, around the run of digits that starts at `run`, or goes on there from the part
// before: of those that begin at or behind `from` the first one. REQUIRES: a digit there.
[[nodiscard]] std::optional<PackedFinding> find_around_digits(const TextView& text, size_t run, size_t from);

// Are there any around a run of 13 digits or more? Most runs have no letter of hex before them, no D behind them, and
// are shorter than a message.
[[nodiscard]] bool may_be_around_digits(std::span<const uint8_t> text, size_t run);
// Marks the blocks of 64 bytes in which such runs begin: one bit each. Returns whether there are any. REQUIRES: room
// for the text, nothing marked.
bool mark_tags(std::span<const uint8_t> text, std::span<uint64_t> marks);

// Overwrites the number, and what follows it in the same object. REQUIRES: the bytes of a finding, decoded.
void mask_packed(std::span<uint8_t> bytes, const Finding& finding, MaskStyle style);

}  // namespace sluice::policies::cards
