// Eight bytes without a type are the hard case: an int8, a float8, a timestamp and a word of eight letters are all just
// eight bytes, and each may look like one of the others. A card number is looked for where nothing usual looks the
// same:
//   * int8 of 16 to 18 digits. With fewer it is as likely a timestamp of this century (microseconds since 2000); with
//     19 its bytes are those of words in capitals, and of floats of everyday size (1.0 is 4607182418800017408). Whole
//     seconds are left alone too: timestamps far in the future that say "never" are.
//   * float8 that is a whole number of 13 to 16 digits, unless its bytes are characters ("C1234567" is such a float).
#include <algorithm>

#include "policies/cards/binary_types.h"

namespace sluice::policies::cards {
namespace {

constexpr uint8_t kInt8DigitsMin = 16, kInt8DigitsMax = 18;
constexpr uint64_t kMicrosecondsPerSecond = 1'000'000;

// Bytes that UTF-8 needs behind this first byte; nothing where none begins like that.
std::optional<size_t> utf8_tail(uint8_t first) {
  if (first < 0x80) return 0;
  if (first >= 0xc2 && first <= 0xdf) return 1;
  if (first >= 0xe0 && first <= 0xef) return 2;
  if (first >= 0xf0 && first <= 0xf4) return 3;
  return std::nullopt;
}

bool are_characters(std::span<const uint8_t> bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const std::optional<size_t> tail = utf8_tail(bytes[at]);
    if (bytes[at] < ' ' || bytes[at] == 0x7f || !tail || *tail >= bytes.size() - at) return false;
    const auto rest = bytes.subspan(at + 1, *tail);
    if (!std::all_of(rest.begin(), rest.end(), [](uint8_t byte) { return (byte & 0xc0) == 0x80; })) return false;
    at += 1 + *tail;
  }
  return true;
}

}  // namespace

std::optional<EightBytesFinding> find_in_eight_bytes(std::span<const uint8_t> bytes) {
  if (bytes.size() != kInt8Bytes || are_characters(bytes)) return std::nullopt;
  if (const auto found = find_in_int8(bytes)) {
    const uint64_t bits = uint64_t{read_u32(bytes, 0)} << 32 | read_u32(bytes, 4);
    const uint64_t magnitude = (bits >> 63) != 0 ? ~bits + 1 : bits;
    if (found->digits >= kInt8DigitsMin && found->digits <= kInt8DigitsMax && magnitude % kMicrosecondsPerSecond != 0)
      return EightBytesFinding{*found, FindingForm::int8_binary};
  }
  if (const auto found = find_in_float8(bytes)) return EightBytesFinding{*found, FindingForm::float8_binary};
  return std::nullopt;
}

}  // namespace sluice::policies::cards
