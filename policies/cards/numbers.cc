#include "policies/cards/numbers.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "policies/cards/text_view.h"

namespace sluice::policies::cards {
namespace {

constexpr size_t kFirstKept = 6, kFirstKeptLong = 8, kLastKeptOfNumber = 4;
// A double holds every whole number up to 2^53 exactly; beyond, digits are not what was stored.
constexpr double kExactDoubleMax = 9007199254740992.0;

// PostgreSQL numeric on the wire (numeric_recv): int16 ndigits, int16 weight, uint16 sign, uint16 dscale, ndigits int16
// groups.
constexpr size_t kNumericHeaderBytes = 8;
constexpr unsigned kNumericBase = 10000;
constexpr unsigned kNumericPositive = 0x0000, kNumericNegative = 0x4000;

uint64_t read_big_endian(std::span<const uint8_t> bytes) {
  uint64_t value = 0;
  for (uint8_t byte : bytes) value = value << 8 | byte;
  return value;
}

void write_big_endian(std::span<uint8_t> bytes, uint64_t value) {
  for (size_t i = bytes.size(); i-- > 0; value >>= 8) bytes[i] = static_cast<uint8_t>(value);
}

std::optional<WholeNumber> digits_of(uint64_t value) {
  std::array<uint8_t, 20> reversed{};
  size_t size = 0;
  for (; value != 0; value /= 10) reversed[size++] = static_cast<uint8_t>(value % 10);
  if (size < kContextDigitsMin || size > kPanDigitsMax) return std::nullopt;
  WholeNumber number;
  number.size = number.held = static_cast<uint8_t>(size);
  std::reverse_copy(reversed.begin(), reversed.begin() + static_cast<ptrdiff_t>(size), number.digits.begin());
  return number;
}

uint64_t value_of(const WholeNumber& number) {
  uint64_t value = 0;
  for (uint8_t digit : number.all()) value = value * 10 + digit;
  return value;
}

// Zeros in the hidden places and, in the last of them, a digit that makes Luhn fail; other places only where the hidden
// ones are not among the held. `exact` says which results the number's type can hold.
template <typename Exact>
void fill(WholeNumber& number, MaskStyle style, Exact exact) {
  const size_t last = style == MaskStyle::full ? 0 : kLastKeptOfNumber;
  const size_t first = style == MaskStyle::bin6_last4   ? kFirstKept
                       : style == MaskStyle::bin8_last4 ? kFirstKeptLong
                                                        : 0;
  const size_t end = std::min<size_t>(number.held, number.size - last);
  for (size_t i = first; i < end; ++i) number.digits[i] = 0;
  if (first == 0) number.digits[0] = 1;  // a leading zero would make the number shorter
  for (size_t place = end > first ? end : number.held; place-- > 0;) {
    const uint8_t before = number.digits[place];
    for (uint8_t digit = 1; digit <= 9; ++digit) {
      if (digit == before && end <= first) continue;
      number.digits[place] = digit;
      if (!brand_of(number.all()) && !brand_in_context(number.all()) && exact(number)) return;
    }
    number.digits[place] = before;
  }
}

void fill(WholeNumber& number, MaskStyle style) {
  fill(number, style, [](const WholeNumber&) { return true; });
}

std::optional<NumberFinding> finding_of(const WholeNumber& number, size_t offset, size_t length, Said said) {
  std::optional<Brand> brand = brand_of(number.all());
  if (!brand && said == Said::card) brand = brand_in_context(number.all());
  if (!brand) return std::nullopt;
  return NumberFinding{offset, length, number.size, *brand};
}

// Sign-and-magnitude of a 64-bit integer; the most negative one included.
uint64_t magnitude(uint64_t bits) {
  return (bits >> 63) != 0 ? ~bits + 1 : bits;
}

std::optional<WholeNumber> read_numeric(std::span<const uint8_t> bytes) {
  if (bytes.size() < kNumericHeaderBytes || bytes.size() > kNumericBinaryBytesMax) return std::nullopt;
  const auto word = [&](size_t at) { return static_cast<unsigned>(bytes[at] << 8 | bytes[at + 1]); };
  const size_t groups = word(0);
  const auto weight = static_cast<int16_t>(word(2));
  const unsigned sign = word(4);
  if (bytes.size() != kNumericHeaderBytes + 2 * groups || (sign != kNumericPositive && sign != kNumericNegative))
    return std::nullopt;
  if (groups == 0 || weight < 2 || weight > 4) return std::nullopt;  // 9 to 20 digits
  WholeNumber number;
  const auto whole_groups = static_cast<size_t>(weight) + 1;
  for (size_t group = 0; group < std::max(groups, whole_groups); ++group) {
    const unsigned value = group < groups ? word(kNumericHeaderBytes + 2 * group) : 0;
    if (value >= kNumericBase) return std::nullopt;
    if (group >= whole_groups) {
      if (value != 0) return std::nullopt;  // a fraction
      continue;
    }
    for (unsigned divisor = kNumericBase / 10; divisor != 0; divisor /= 10) {
      const auto digit = static_cast<uint8_t>(value / divisor % 10);
      if (number.size == 0 && digit == 0) continue;
      if (number.size == kPanDigitsMax) return std::nullopt;
      number.digits[number.size++] = digit;
    }
    if (group < groups) number.held = number.size;
  }
  return number;
}

struct NumberText {
  WholeNumber number;
  size_t first = 0, end = 0;  // the span that holds the number's held digits
};

// REQUIRES nothing. Nothing is returned for what is no whole number, or one of a length that no card has.
std::optional<NumberText> read_number_text(std::span<const uint8_t> text) {
  if (text.size() < 5 || text.size() > kNumberTextBytesMax) return std::nullopt;
  size_t at = text[0] == '-' || text[0] == '+' ? 1 : 0;
  while (at + 1 < text.size() && text[at] == '0' && is_digit(text[at + 1])) ++at;  // leading zeros
  NumberText read;
  read.first = at;
  std::array<uint8_t, kNumberTextBytesMax> mantissa{};
  size_t size = 0, whole = 0;
  for (; at < text.size() && is_digit(text[at]); ++at) mantissa[size++] = static_cast<uint8_t>(text[at] - '0');
  whole = size;
  read.end = at;
  if (whole == 0 || mantissa[0] == 0) return std::nullopt;
  if (at < text.size() && text[at] == '.') {
    for (++at; at < text.size() && is_digit(text[at]); ++at) mantissa[size++] = static_cast<uint8_t>(text[at] - '0');
  }
  size_t exponent = 0;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && text[at] == '+') ++at;
    const size_t first_digit = at;
    for (; at < text.size() && is_digit(text[at]) && exponent <= kPanDigitsMax; ++at)
      exponent = exponent * 10 + (text[at] - '0');
    if (at == first_digit) return std::nullopt;
  }
  if (at != text.size()) return std::nullopt;
  const size_t digits = whole + exponent;
  if (digits < kContextDigitsMin || digits > kPanDigitsMax) return std::nullopt;
  for (size_t i = digits; i < size; ++i) {
    if (mantissa[i] != 0) return std::nullopt;  // a fraction
  }
  read.number.size = static_cast<uint8_t>(digits);
  read.number.held = static_cast<uint8_t>(std::min(digits, size));
  std::copy_n(mantissa.begin(), read.number.held, read.number.digits.begin());
  // The span reaches to the last held digit, which may stand behind the point.
  if (read.number.held > whole) read.end = read.first + read.number.held + 1;
  return read;
}

std::optional<WholeNumber> read_float8(std::span<const uint8_t> bytes) {
  if (bytes.size() != kFloat8Bytes) return std::nullopt;
  const double value = std::fabs(std::bit_cast<double>(read_big_endian(bytes)));
  if (!(value >= 1e11 && value <= kExactDoubleMax) || value != std::floor(value)) return std::nullopt;
  return digits_of(static_cast<uint64_t>(value));
}

}  // namespace

std::optional<NumberFinding> find_in_number_text(std::span<const uint8_t> text, Said said) {
  const std::optional<NumberText> read = read_number_text(text);
  return read ? finding_of(read->number, read->first, read->end - read->first, said) : std::nullopt;
}

std::optional<NumberFinding> find_in_int8(std::span<const uint8_t> bytes, Said said) {
  if (bytes.size() != kInt8Bytes) return std::nullopt;
  constexpr uint64_t kSmallest = 100000000000;  // 12 digits
  const uint64_t value = magnitude(read_big_endian(bytes));
  if (value < kSmallest) return std::nullopt;
  const std::optional<WholeNumber> number = digits_of(value);
  return number ? finding_of(*number, 0, bytes.size(), said) : std::nullopt;
}

std::optional<NumberFinding> find_in_numeric(std::span<const uint8_t> bytes, Said said) {
  const std::optional<WholeNumber> number = read_numeric(bytes);
  return number ? finding_of(*number, 0, bytes.size(), said) : std::nullopt;
}

std::optional<NumberFinding> find_in_float8(std::span<const uint8_t> bytes, Said said) {
  const std::optional<WholeNumber> number = read_float8(bytes);
  return number ? finding_of(*number, 0, bytes.size(), said) : std::nullopt;
}

void fill_digits(WholeNumber& number, MaskStyle style, uint8_t filler) {
  if (filler == 0 || number.held != number.size) return fill(number, style);
  constexpr unsigned kNonzeroDigits = 9;
  const unsigned chosen = filler - 1u;
  std::fill_n(number.digits.begin(), number.size, uint8_t{0});
  number.digits[0] = static_cast<uint8_t>(1 + chosen / kNonzeroDigits % kNonzeroDigits);
  uint8_t& last = number.digits[number.size - 1u];
  last = static_cast<uint8_t>(1 + chosen % kNonzeroDigits);
  while (brand_of(number.all()) || brand_in_context(number.all()))
    last = static_cast<uint8_t>(1 + last % kNonzeroDigits);
}

void mask_number_text(std::span<uint8_t> text, size_t digits, MaskStyle style, uint8_t filler) {
  if (digits < kContextDigitsMin || digits > kPanDigitsMax) return;
  WholeNumber number;
  number.size = static_cast<uint8_t>(digits);
  for (uint8_t c : text) {
    if (is_digit(c) && number.held < number.size) number.digits[number.held++] = static_cast<uint8_t>(c - '0');
  }
  fill_digits(number, style, filler);
  size_t next = 0;
  for (uint8_t& c : text) {
    if (is_digit(c) && next < number.held) c = static_cast<uint8_t>('0' + number.digits[next++]);
  }
}

void mask_int8(std::span<uint8_t> bytes, MaskStyle style) {
  if (bytes.size() != kInt8Bytes) return;
  const uint64_t bits = read_big_endian(bytes);
  std::optional<WholeNumber> number = digits_of(magnitude(bits));
  if (!number) return;
  // The first digit never grows past 8 (no issuer begins with 9 at 19 digits), so that the result fits into 63 bits.
  fill(*number, style);
  const uint64_t value = value_of(*number);
  write_big_endian(bytes, (bits >> 63) != 0 ? ~value + 1 : value);
}

void mask_numeric(std::span<uint8_t> bytes, MaskStyle style) {
  std::optional<WholeNumber> number = read_numeric(bytes);
  if (!number) return;
  fill(*number, style);
  size_t out = kNumericHeaderBytes, at = 0;
  while (bytes[out] == 0 && bytes[out + 1] == 0) out += 2;  // leading zero groups
  // The first group holds what four-digit groups leave over.
  for (size_t in_group = (number->size - 1u) % 4 + 1; at < number->held; out += 2, in_group = 4) {
    unsigned value = 0;
    for (size_t i = 0; i < in_group; ++i) value = value * 10 + number->digits[at++];
    write_big_endian(bytes.subspan(out, 2), value);
  }
}

void mask_float8(std::span<uint8_t> bytes, MaskStyle style) {
  std::optional<WholeNumber> number = read_float8(bytes);
  if (!number) return;
  fill(*number, style,
       [](const WholeNumber& filled) { return static_cast<double>(value_of(filled)) <= kExactDoubleMax; });
  const double value = static_cast<double>(value_of(*number));
  const bool negative = (bytes[0] & 0x80) != 0;
  write_big_endian(bytes, std::bit_cast<uint64_t>(negative ? -value : value));
}

}  // namespace sluice::policies::cards
