#include "policies/cards/packed_digits.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "policies/cards/encoded_bytes.h"
#include "policies/cards/hidden_unit.h"
#include "policies/cards/numbers.h"
#include "policies/cards/sign_blocks.h"

namespace sluice::policies::cards {
namespace {

constexpr uint8_t kNumberTag = 0x5A, kTrack2Tag = 0x57;  // EMV book 3, annex A
constexpr size_t kNumberBytesMin = 7, kNumberBytesMax = 10, kTrack2BytesMin = 11, kTrack2BytesMax = 19;
constexpr uint8_t kPadding = 0xF, kTrackSeparator = 0xD;
constexpr size_t kFixedDigits = 7;  // of a track behind the separator: YYMM and service code

// Digits and what ends them, read nibble by nibble; -1 where there is none.
struct PackedNumber {
  std::array<uint8_t, kPanDigitsMax> digits{};
  uint8_t size = 0;
  size_t behind = 0;  // nibble behind the last digit

  [[nodiscard]] std::span<const uint8_t> all() const { return {digits.data(), size}; }
};

template <typename NibbleAt>
std::optional<PackedNumber> read_digits(NibbleAt nibble_at, size_t first, size_t count) {
  PackedNumber number;
  size_t i = first;
  for (; i < count; ++i) {
    const int nibble = nibble_at(i);
    if (nibble < 0 || nibble > 9) break;
    if (number.size == kPanDigitsMax) return std::nullopt;
    number.digits[number.size++] = static_cast<uint8_t>(nibble);
  }
  number.behind = i;
  if (number.size < kPanDigitsMin) return std::nullopt;
  return number;
}

bool is_decimal(int nibble) {
  return nibble >= 0 && nibble <= 9;
}

template <typename NibbleAt>
bool all_padding(NibbleAt nibble_at, size_t first, size_t count) {
  for (size_t i = first; i < count; ++i) {
    if (nibble_at(i) != kPadding) return false;
  }
  return true;
}

struct Numbered {
  uint8_t digits = 0;
  Brand brand = Brand::visa;
};

// The value of tag 5A: digits, padded with F.
template <typename NibbleAt>
std::optional<Numbered> read_number(NibbleAt nibble_at, size_t count) {
  const auto number = read_digits(nibble_at, 0, count);
  if (!number || !all_padding(nibble_at, number->behind, count)) return std::nullopt;
  const auto brand = brand_of(number->all());
  if (!brand) return std::nullopt;
  return Numbered{number->size, *brand};
}

// The value of tag 57: the number, D, expiry date, service code, discretionary data, padded with F.
template <typename NibbleAt>
std::optional<Numbered> read_track2(NibbleAt nibble_at, size_t count) {
  const auto number = read_digits(nibble_at, 0, count);
  if (!number || number->behind + 1 + kFixedDigits > count || nibble_at(number->behind) != kTrackSeparator)
    return std::nullopt;
  size_t at = number->behind + 1;
  const int month = nibble_at(at + 2) * 10 + nibble_at(at + 3);
  if (month < 1 || month > 12) return std::nullopt;
  for (size_t i = 0; i < kFixedDigits; ++i) {
    if (!is_decimal(nibble_at(at + i))) return std::nullopt;
  }
  while (at < count && is_decimal(nibble_at(at))) ++at;
  if (!all_padding(nibble_at, at, count)) return std::nullopt;
  const auto brand = brand_of(number->all());
  if (!brand) return std::nullopt;
  return Numbered{number->size, *brand};
}

template <typename NibbleAt>
std::optional<Numbered> read_object(uint8_t tag, NibbleAt nibble_at, size_t bytes) {
  if (tag == kNumberTag && bytes >= kNumberBytesMin && bytes <= kNumberBytesMax)
    return read_number(nibble_at, 2 * bytes);
  if (tag == kTrack2Tag && bytes >= kTrack2BytesMin && bytes <= kTrack2BytesMax)
    return read_track2(nibble_at, 2 * bytes);
  return std::nullopt;
}

// Nibbles of bytes, of hex characters, and of characters that are the digits.
auto nibbles_of(std::span<const uint8_t> bytes) {
  return [bytes](size_t i) { return i % 2 == 0 ? bytes[i / 2] >> 4 : bytes[i / 2] & 0xF; };
}
auto nibbles_of_hex(const TextView& text, size_t first) {
  return [&text, first](size_t i) { return hex_value(text.at(static_cast<ptrdiff_t>(first + i))); };
}

// Could text be made of this byte?
bool is_textual(uint8_t c) {
  return (c >= 0x20 && c < 0x7F) || c == 0 || c == '\t' || c >= 0xC0;
}
// The digits that a mask leaves at the end may become part of a text that follows.
uint8_t last_kept_of(std::span<const uint8_t> bytes, size_t end) {
  constexpr size_t kTextBytes = 3;
  const std::span<const uint8_t> behind = bytes.subspan(end);
  const bool text = is_textual(bytes[end - 1]) && behind.size() >= kTextBytes &&
                    std::all_of(behind.begin(), behind.begin() + kTextBytes, is_textual);
  return text ? 0 : 4;
}

// Message type, as digits: version, class, function, origin (ISO 8583, section 4.1).
bool is_message_type(int version, int message_class, int function, int origin) {
  const auto within = [](int value, int least, int most) { return value >= least && value <= most; };
  return within(version, 0, 2) && within(message_class, 1, 8) && within(function, 0, 9) && within(origin, 0, 5);
}

constexpr int kSecondaryBitmap = 0x8, kNumberPresent = 0x4;  // of a bitmap's first nibble

// A message of nibbles, each a character of hex or half a byte: type, bitmap, length, number. Returns where the
// number's digits begin (with a zero before, where they are odd and packed), and the number.
struct MessageNumber {
  size_t first = 0, behind = 0;  // nibbles
  Numbered number;
};
template <typename NibbleAt>
std::optional<MessageNumber> read_message(NibbleAt nibble_at, size_t start, size_t count, bool packed) {
  if (count < start + 4 + 16 + 2 + kPanDigitsMin) return std::nullopt;
  if (!is_message_type(nibble_at(start), nibble_at(start + 1), nibble_at(start + 2), nibble_at(start + 3)))
    return std::nullopt;
  const int bits = nibble_at(start + 4);
  if (bits < 0 || (bits & kNumberPresent) == 0) return std::nullopt;
  const size_t bitmap = (bits & kSecondaryBitmap) != 0 ? 32 : 16;
  for (size_t i = 0; i < bitmap; ++i) {
    if (start + 4 + i >= count || nibble_at(start + 4 + i) < 0) return std::nullopt;
  }
  const size_t length_at = start + 4 + bitmap;
  if (length_at + 2 > count || nibble_at(length_at) != 1) return std::nullopt;
  const int ones = nibble_at(length_at + 1);
  if (ones < 3 || ones > 9) return std::nullopt;
  const auto digits = 10 + static_cast<size_t>(ones);
  size_t first = length_at + 2;
  const bool odd = packed && digits % 2 == 1;
  if (odd && first < count && nibble_at(first) == 0) ++first;
  if (first + digits > count) return std::nullopt;
  const auto number = read_digits(nibble_at, first, first + digits);
  if (!number || number->size != digits) return std::nullopt;
  const auto brand = brand_of(number->all());
  if (!brand) return std::nullopt;
  return MessageNumber{first, first + digits, {number->size, *brand}};
}

// Packed: the bytes that the digits touch.
PackedFinding packed_in(const MessageNumber& message, std::span<const uint8_t> bytes) {
  const size_t start = message.first / 2, end = (message.behind + 1) / 2;
  return {
      start, end, message.number.digits, message.number.brand, FindingForm::packed_decimal, last_kept_of(bytes, end)};
}

// Type and length in characters, the bitmap of eight or sixteen bytes between them in binary.
std::optional<PackedFinding> find_in_mixed_message(std::span<const uint8_t> bytes, size_t start) {
  const auto digit = [&](size_t at) { return at < bytes.size() && is_digit(bytes[at]) ? bytes[at] - '0' : -1; };
  if (!is_message_type(digit(start), digit(start + 1), digit(start + 2), digit(start + 3))) return std::nullopt;
  if (start + 4 >= bytes.size()) return std::nullopt;
  const int bits = bytes[start + 4] >> 4;
  if ((bits & kNumberPresent) == 0) return std::nullopt;
  const size_t length_at = start + 4 + ((bits & kSecondaryBitmap) != 0 ? 16 : 8);
  if (digit(length_at) != 1 || digit(length_at + 1) < 3) return std::nullopt;
  const auto digits = 10 + static_cast<size_t>(digit(length_at + 1));
  const auto number = read_digits([&](size_t i) { return digit(i); }, length_at + 2, length_at + 2 + digits);
  if (!number || number->size != digits) return std::nullopt;
  const auto brand = brand_of(number->all());
  if (!brand) return std::nullopt;
  return PackedFinding{length_at + 2, length_at + 2 + digits, number->size, *brand, FindingForm::decimal};
}

bool is_letter_digit_or_mask(int c) {
  return is_digit_or_mask(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z' && c >= 'A');
}

// A token of hex that a message begins: the run of digits at `run` is in it.
std::optional<PackedFinding> find_message_around(const TextView& text, size_t run) {
  constexpr size_t kBeforeMax = 10 + 4 + 32;  // what may stand before the run: TPDU, type, two bitmaps
  auto token = static_cast<ptrdiff_t>(run);
  while (token > static_cast<ptrdiff_t>(run) - static_cast<ptrdiff_t>(kBeforeMax) && hex_value(text.at(token - 1)) >= 0)
    --token;
  if (token < 0 || is_letter_digit_or_mask(text.at(token - 1))) return std::nullopt;
  for (const size_t front : {0, 4, 10}) {  // nothing, a length, a TPDU
    const size_t start = static_cast<size_t>(token) + front;
    const auto nibble_at = [&](size_t i) { return hex_value(text.at(static_cast<ptrdiff_t>(i))); };
    const auto message = read_message(nibble_at, start, std::min(text.size(), start + kTagTextReachBytes), true);
    if (!message) continue;
    return PackedFinding{message->first,
                         message->behind,
                         message->number.digits,
                         message->number.brand,
                         FindingForm::decimal,
                         4,
                         static_cast<size_t>(token)};
  }
  return std::nullopt;
}

// The data object whose tag starts at `at`, in hex.
std::optional<PackedFinding> find_object_in_hex(const TextView& text, ptrdiff_t at) {
  if (at < 0) return std::nullopt;
  const auto start = static_cast<size_t>(at);
  const auto nibble_at = nibbles_of_hex(text, start);
  const int tag = nibble_at(0) << 4 | nibble_at(1), high = nibble_at(2), low = nibble_at(3);
  if ((tag != kNumberTag && tag != kTrack2Tag) || high < 0 || low < 0) return std::nullopt;
  const auto length = static_cast<size_t>(high << 4 | low);
  const auto number = read_object(static_cast<uint8_t>(tag), nibbles_of_hex(text, start + 4), length);
  if (!number) return std::nullopt;
  return PackedFinding{start, start + 4 + 2 * length, number->digits, number->brand, FindingForm::tagged_hex, 4,
                       start, tag == kTrack2Tag};
}

// At the front of `bytes`. A run may be as long as the text, so eight at a time.
size_t count_digits(std::span<const uint8_t> bytes) {
  constexpr uint64_t kOnes = 0x0101010101010101, kTops = 0x80 * kOnes;
  size_t at = 0;
  for (uint64_t word; at + sizeof word <= bytes.size(); at += sizeof word) {
    std::memcpy(&word, bytes.data() + at, sizeof word);
    const uint64_t low = word & ~kTops;
    const uint64_t digits = (low + (0x80 - '0') * kOnes) & ~(low + (0x7f - '9') * kOnes) & ~word & kTops;
    if (digits != kTops) break;
  }
  while (at < bytes.size() && is_digit(bytes[at])) ++at;
  return at;
}

// COBOL and IBM hosts end packed decimal with a sign: C and F plus, D minus.
bool is_sign(int nibble) {
  return nibble == 0xC || nibble == 0xD || nibble == kPadding;
}

}  // namespace

std::optional<PackedFinding> find_packed(std::span<const uint8_t> value) {
  if (value.size() < kPackedBytesMin || value.size() > kPackedBytesMax) return std::nullopt;
  const auto nibble_at = nibbles_of(value);
  const size_t count = 2 * value.size(), first = nibble_at(0) == 0 ? 1 : 0;
  const auto number = read_digits(nibble_at, first, count);
  if (!number) return std::nullopt;
  const auto is_character = [](uint8_t c) { return is_digit(c) || is_ascii_separator(c); };
  if (std::all_of(value.begin(), value.end(), is_character)) return std::nullopt;
  const size_t left = count - number->behind;
  if (left > 1 || (left == 1 && !is_sign(nibble_at(number->behind)))) return std::nullopt;
  const auto brand = brand_of(number->all());
  if (!brand) return std::nullopt;
  return PackedFinding{0, value.size(), number->size, *brand};
}

std::optional<PackedFinding> find_packed_in_unknown(std::span<const uint8_t> value) {
  // Floating point numbers from two to some trillions begin with 40 to 42, and end in 33, 66 or 00 as often as not.
  // Timestamps (microseconds since 2000) begin with a zero.
  const bool eight = value.size() == kFloat8Bytes;
  const bool may_be_number = eight && (value[0] < 0x10 || (value[0] >= 0x40 && value[0] <= 0x42));
  const auto is_printable = [](uint8_t c) { return c >= ' ' && c <= '~'; };
  if (may_be_number || std::all_of(value.begin(), value.end(), is_printable)) return std::nullopt;
  return find_packed(value);
}

size_t may_end_object(std::span<const uint8_t> bytes, size_t at) {
  constexpr size_t kDecimalBytes = kNumberBytesMin - 1;  // digits, whatever the length
  if (bytes[at] != kNumberTag && bytes[at] != kTrack2Tag) return 0;
  if (at + 2 + kDecimalBytes > bytes.size()) return 0;
  const size_t length = bytes[at + 1];
  if (length < kNumberBytesMin || length > kTrack2BytesMax) return 0;
  const auto nibble_at = nibbles_of(bytes.subspan(at + 2, kDecimalBytes));
  for (size_t i = 0; i < 2 * kDecimalBytes; ++i) {
    if (!is_decimal(nibble_at(i))) return 0;
  }
  return at + 2 + length;
}

std::optional<PackedFinding> find_object_at(std::span<const uint8_t> bytes, size_t at) {
  if (at + 2 + kNumberBytesMin > bytes.size() || (bytes[at] != kNumberTag && bytes[at] != kTrack2Tag))
    return std::nullopt;
  const size_t length = bytes[at + 1], end = at + 2 + length;
  if (length < kNumberBytesMin || length > kTrack2BytesMax || end > bytes.size()) return std::nullopt;
  const auto number = read_object(bytes[at], nibbles_of(bytes.subspan(at + 2, length)), length);
  if (!number) return std::nullopt;
  return PackedFinding{at,
                       end,
                       number->digits,
                       number->brand,
                       FindingForm::tagged_decimal,
                       last_kept_of(bytes, end),
                       at,
                       bytes[at] == kTrack2Tag};
}

std::optional<PackedFinding> find_object(std::span<const uint8_t> bytes, size_t from) {
  for (size_t at = from; at + 2 + kNumberBytesMin <= bytes.size(); ++at) {
    if (bytes[at] != kNumberTag && bytes[at] != kTrack2Tag) continue;
    if (const auto found = find_object_at(bytes, at)) return found;
  }
  return std::nullopt;
}

size_t find_objects(std::span<const uint8_t> bytes, Ending ending, std::vector<PackedFinding>& found) {
  const size_t size = bytes.size();
  for (auto object = find_object(bytes, 0); object; object = find_object(bytes, object->end)) found.push_back(*object);
  if (ending == Ending::complete) return size;
  for (size_t at = size > kTagReachBytes ? size - kTagReachBytes : 0; at < size; ++at) {
    if (bytes[at] == kNumberTag || bytes[at] == kTrack2Tag) return at;
  }
  return size;
}

std::optional<PackedFinding> find_in_message(std::span<const uint8_t> bytes) {
  const std::span<const uint8_t> front = bytes.first(std::min(bytes.size(), kMessageReachBytes));
  for (const size_t start : {0, 2, 4, 5, 7}) {  // nothing, a length (packed, as characters), a TPDU, both
    if (start >= front.size()) break;
    if (const auto message = read_message(nibbles_of(front), 2 * start, 2 * front.size(), true))
      return packed_in(*message, bytes);
    if (const auto mixed = find_in_mixed_message(front, start)) return mixed;
  }
  return std::nullopt;
}

std::optional<PackedFinding> find_around_digits(const TextView& text, size_t run, size_t from) {
  const auto start = static_cast<ptrdiff_t>(run);
  if (text.at(start - 1) == '*') return std::nullopt;  // what a mask left
  const auto counts = [from](const std::optional<PackedFinding>& found) { return found && found->start >= from; };
  // 5A07…5A09 and 570B…570F: the last letter stands right before the run, or before its length's digit.
  if (is_hex_letter(text.at(start - 1))) {
    for (const ptrdiff_t back : {2, 4}) {
      if (const auto found = find_object_in_hex(text, start - back); counts(found)) return found;
    }
  }
  // 5710…5713 are digits as the number is, but D ends that. How many stand before them does not matter.
  const size_t digits = count_digits(text.bytes().subspan(run));
  if (digits < kTagRunMin) return std::nullopt;
  std::optional<PackedFinding> first;
  if ((text.at(start + static_cast<ptrdiff_t>(digits)) | 0x20) == 'd') {
    for (size_t size = kPanDigitsMin; size <= kPanDigitsMax && size + 4 <= digits && !first; ++size) {
      const auto found = find_object_in_hex(text, static_cast<ptrdiff_t>(run + digits - size - 4));
      if (counts(found)) first = found;
    }
  }
  const auto message = find_message_around(text, run);
  const bool here = counts(message) && message->start >= run && message->start < run + digits;
  return here && (!first || message->start < first->start) ? message : first;
}

bool may_be_around_digits(std::span<const uint8_t> text, size_t run) {
  if (run == 0 || !is_hex_letter(text[run - 1])) {
    size_t end = run;
    while (end < text.size() && end - run < kMessageDigitsMin && is_digit(text[end])) ++end;
    const bool track = end < text.size() && (text[end] | 0x20) == 'd';
    if (!track && end - run < kMessageDigitsMin) return false;
  }
  return find_around_digits(TextView(text, nullptr), run, 0).has_value();
}

bool mark_tags(std::span<const uint8_t> text, std::span<uint64_t> marks) {
  bool any = false;
  // Every run of so many digits has one of them at these places.
  size_t behind = 0;
  for (size_t at = kTagRunMin - 1; at < text.size(); at += kTagRunMin) {
    if (!is_digit(text[at])) continue;
    size_t start = at, end = at + 1;
    while (start > behind && is_digit(text[start - 1])) --start;
    while (end < text.size() && is_digit(text[end])) ++end;
    behind = at = end;
    if (end - start < kTagRunMin || !may_be_around_digits(text, start)) continue;
    any = true;
    marks[start / kSignBlockBytes / 64] |= uint64_t{1} << (start / kSignBlockBytes % 64);
  }
  return any;
}

void mask_packed(std::span<uint8_t> bytes, const Finding& finding, MaskStyle style) {
  const bool tagged = finding.form != FindingForm::packed_decimal;
  const size_t front = tagged ? 2 : 0;
  if (bytes.size() < front + kNumberBytesMin) return;
  const std::span<uint8_t> value = bytes.subspan(front);
  const auto nibble_at = nibbles_of(value);
  const size_t count = 2 * value.size(), first = nibble_at(0) == 0 ? 1 : 0;
  const auto read = read_digits(nibble_at, first, first + finding.digits);
  if (!read || read->size != finding.digits) return;
  const auto write = [&](size_t nibble, uint8_t digit) {
    uint8_t& byte = value[nibble / 2];
    byte = static_cast<uint8_t>(nibble % 2 == 0 ? digit << 4 | (byte & 0xF) : (byte & 0xF0) | digit);
  };
  WholeNumber number;
  number.digits = read->digits;
  number.size = number.held = read->size;
  const bool all = finding.first_kept == 0 || finding.last_kept == 0;
  fill_digits(number, all ? MaskStyle::full : style, finding.filler);
  for (size_t i = 0; i < number.size; ++i) write(first + i, number.digits[i]);
  for (size_t i = first + number.size; i < count; ++i) {
    if (is_decimal(nibble_at(i))) write(i, 0);
  }
}

}  // namespace sluice::policies::cards
