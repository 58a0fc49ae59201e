#include "policies/cards/secrets.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "policies/cards/binary_types.h"
#include "policies/cards/issuer_table.h"
#include "policies/cards/numbers.h"
#include "policies/cards/text_words.h"

namespace sluice::policies::cards {
namespace {

constexpr size_t kCodeDigitsMin = 3, kCodeDigitsMax = 4;
constexpr size_t kPinDigitsMin = 4, kPinDigitsMax = 12;    // ISO 9564-1
constexpr size_t kPinBlockBytes = 16, kPinBlockLong = 32;  // in hex; format 4 is the longer one
constexpr size_t kNumericHeaderBytes = 8;                  // numeric_send
constexpr int16_t kGroupDigits = 4;
constexpr double kExactFloatMax = 16777216.0, kExactDoubleMax = 9007199254740992.0;

bool is_ascii_alnum(int c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_hex_digit(int c) {
  return is_digit(c) || is_hex_letter(c);
}

uint64_t read_big_endian(std::span<const uint8_t> bytes) {
  uint64_t value = 0;
  for (const uint8_t byte : bytes) value = value << 8 | byte;
  return value;
}
void write_big_endian(std::span<uint8_t> bytes, uint64_t value) {
  for (size_t i = bytes.size(); i-- > 0; value >>= 8) bytes[i] = static_cast<uint8_t>(value);
}

// 1, 11, 111 …: as many digits as the value has.
uint64_t ones_like(uint64_t value) {
  uint64_t ones = 1;
  for (; value >= 10; value /= 10) ones = ones * 10 + 1;
  return ones;
}

void cover_integer(std::span<uint8_t> bytes) {
  const uint64_t sign = uint64_t{1} << (8 * bytes.size() - 1);
  const uint64_t bits = read_big_endian(bytes);
  const bool negative = (bits & sign) != 0;
  const uint64_t mask = sign | (sign - 1);
  const uint64_t ones = ones_like(negative ? (~bits + 1) & mask : bits);
  write_big_endian(bytes, negative ? ~ones + 1 : ones);
}

void cover_float(std::span<uint8_t> bytes) {
  const bool wide = bytes.size() == kFloat8Bytes;
  const uint64_t bits = read_big_endian(bytes);
  const double value = std::fabs(wide ? std::bit_cast<double>(bits)
                                      : static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits))));
  const bool exact = value >= 1 && value < (wide ? kExactDoubleMax : kExactFloatMax);
  const double ones = exact ? static_cast<double>(ones_like(static_cast<uint64_t>(value))) : 1.0;
  write_big_endian(bytes, wide ? std::bit_cast<uint64_t>(ones) : std::bit_cast<uint32_t>(static_cast<float>(ones)));
}

void cover_numeric(std::span<uint8_t> bytes) {
  const auto word = [&](size_t at) { return static_cast<uint16_t>(bytes[at] << 8 | bytes[at + 1]); };
  const auto weight = static_cast<int16_t>(word(2));
  const auto scale = static_cast<int>(word(6));
  for (size_t at = kNumericHeaderBytes, group = 0; at + 2 <= bytes.size(); at += 2, ++group) {
    const int behind_point = static_cast<int>(group) - weight - 1;  // of this group
    uint64_t value = group == 0 ? ones_like(word(at)) : 1111;
    if (behind_point >= 0) {
      value = 1111;
      for (int digit = kGroupDigits * (behind_point + 1); digit > scale && value > 0; --digit) {
        uint64_t place = 1;
        for (int i = digit; i < kGroupDigits * (behind_point + 1); ++i) place *= 10;
        value -= place;
      }
    }
    write_big_endian(bytes.subspan(at, 2), value);
  }
}

bool is_numeric(std::span<const uint8_t> bytes) {
  return bytes.size() >= kNumericHeaderBytes &&
         bytes.size() == kNumericHeaderBytes + 2 * static_cast<size_t>(bytes[0] << 8 | bytes[1]);
}

uint8_t covered_character(uint8_t c) {
  return is_ascii_alnum(c) || c >= 0x80 ? '*' : c;
}
uint8_t covered_in_number(uint8_t c) {
  return is_digit(c) ? '1' : c >= 0x80 ? '*' : c;
}

uint8_t covered_in_hex(uint8_t c) {
  return is_hex_digit(c) ? 'a' : c;
}

// What `code` and `pin` have to look like.
bool has_form_of(NameKind name, std::span<const uint8_t> text) {
  while (!text.empty() && text.back() == ' ') text = text.first(text.size() - 1);  // bpchar
  const bool digits = std::all_of(text.begin(), text.end(), [](uint8_t c) { return is_digit_or_mask(c); });
  if (name == NameKind::pin) {
    if (digits) return text.size() >= kPinDigitsMin && text.size() <= kPinDigitsMax;
    const bool hex = std::all_of(text.begin(), text.end(), [](uint8_t c) { return is_hex_digit(c); });
    return hex && (text.size() == kPinBlockBytes || text.size() == kPinBlockLong);
  }
  return digits && text.size() >= kCodeDigitsMin && text.size() <= kCodeDigitsMax;
}

std::optional<FindingForm> cover_binary(NameKind name, ValueType type, std::span<const uint8_t> bytes) {
  const bool strict = name != NameKind::cvv;
  switch (type) {
    case ValueType::integer: {
      if (bytes.size() != 2 && bytes.size() != 4 && bytes.size() != 8) return std::nullopt;
      constexpr uint64_t kCodeMin = 100, kCodeMax = 9999, kPinMin = 1000, kPinMax = 999999999999;
      const uint64_t value = read_big_endian(bytes);
      const bool pin = name == NameKind::pin;
      if (strict && (value < (pin ? kPinMin : kCodeMin) || value > (pin ? kPinMax : kCodeMax))) return std::nullopt;
      return FindingForm::covered_integer;
    }
    case ValueType::numeric:
      return !is_numeric(bytes) || strict ? std::nullopt : std::optional(FindingForm::covered_numeric);
    case ValueType::floating:
      if (strict || (bytes.size() != kFloat8Bytes && bytes.size() != sizeof(float))) return std::nullopt;
      return FindingForm::covered_float;
    case ValueType::text:
      return strict && !has_form_of(name, bytes) ? std::nullopt : std::optional(FindingForm::covered);
    case ValueType::json:
    case ValueType::jsonb:
      return strict ? std::nullopt : std::optional(FindingForm::covered_number);
    case ValueType::bytea:
      return strict && !has_form_of(name, bytes) && bytes.size() != kPinBlockBytes / 2
                 ? std::nullopt
                 : std::optional(FindingForm::covered_bytes);
    case ValueType::opaque: {
      if (strict) return has_form_of(name, bytes) ? std::optional(FindingForm::covered) : std::nullopt;
      if (is_composite(bytes)) return std::nullopt;  // each value inside is covered
      const bool characters = std::all_of(bytes.begin(), bytes.end(), [](uint8_t c) { return c >= ' '; });
      return characters ? FindingForm::covered : FindingForm::covered_bytes;
    }
    default:
      return std::nullopt;
  }
}

}  // namespace

void cover(std::span<uint8_t> bytes, FindingForm form) {
  switch (form) {
    case FindingForm::covered:
      for (uint8_t& c : bytes) c = covered_character(c);
      break;
    case FindingForm::covered_number:
      for (uint8_t& c : bytes) c = covered_in_number(c);
      break;
    case FindingForm::covered_integer:
      cover_integer(bytes);
      break;
    case FindingForm::covered_numeric:
      cover_numeric(bytes);
      break;
    case FindingForm::covered_float:
      cover_float(bytes);
      break;
    case FindingForm::covered_bytes:
      std::fill(bytes.begin(), bytes.end(), uint8_t{'*'});
      break;
    case FindingForm::covered_hex:
      for (uint8_t& c : bytes) c = covered_in_hex(c);
      break;
    default:
      break;
  }
}

bool is_uncovered(std::span<const uint8_t> bytes, FindingForm form) {
  switch (form) {
    case FindingForm::covered:
      return std::any_of(bytes.begin(), bytes.end(), [](uint8_t c) { return covered_character(c) != c; });
    case FindingForm::covered_number:
      return std::any_of(bytes.begin(), bytes.end(), [](uint8_t c) { return covered_in_number(c) != c; });
    case FindingForm::covered_bytes:
      return std::any_of(bytes.begin(), bytes.end(), [](uint8_t c) { return c != '*'; });
    case FindingForm::covered_hex:
      return std::any_of(bytes.begin(), bytes.end(), [](uint8_t c) { return covered_in_hex(c) != c; });
    default: {  // numbers
      std::array<uint8_t, kNumericBinaryBytesMax> copy{};
      if (bytes.size() > copy.size()) return true;
      std::copy(bytes.begin(), bytes.end(), copy.begin());
      cover(std::span(copy).first(bytes.size()), form);
      return !std::equal(bytes.begin(), bytes.end(), copy.begin());
    }
  }
}

std::optional<FindingForm> cover_for(NameKind name, ValueType type, ValueFormat format,
                                     std::span<const uint8_t> bytes) {
  if (format == ValueFormat::binary) return cover_binary(name, type, bytes);
  const bool strict = name != NameKind::cvv;
  switch (type) {
    case ValueType::text:
    case ValueType::opaque:
      return strict && !has_form_of(name, bytes) ? std::nullopt : std::optional(FindingForm::covered);
    case ValueType::integer:
    case ValueType::numeric:
    case ValueType::floating:
      return strict && !has_form_of(name, bytes) ? std::nullopt : std::optional(FindingForm::covered_number);
    case ValueType::json:
    case ValueType::jsonb:
    case ValueType::array:
    case ValueType::text_array:
    case ValueType::integer_range:
      return strict ? std::nullopt : std::optional(FindingForm::covered_number);
    case ValueType::bytea: {  // hex, or the escape form, in which backslashes and three digits stand for a byte
      const bool hex = bytes.size() >= 2 && bytes[0] == '\\' && bytes[1] == 'x';
      if (strict) return std::nullopt;
      return hex ? FindingForm::covered_hex : FindingForm::covered_number;
    }
    default:
      return std::nullopt;
  }
}

namespace {

// Does a value in text end here, whatever is read of it: also not as the first group of a longer number, hidden or not?
bool ends_value(const TextView& text, size_t end) {
  const auto at = static_cast<ptrdiff_t>(end);
  const int c = text.at(at), next = text.at(at + 1);
  const bool next_is_letter = (next >= 'a' && next <= 'z') || (next >= 'A' && next <= 'Z');
  switch (c) {
    case TextView::kNone:
    case '"':
    case '\'':
    case ',':
    case ';':
    case '}':
    case ']':
    case ')':
    case '<':
    case '|':
    case '\n':
    case '\r':
      return true;
    case '\\':
      return next == '"' || next == 'n' || next == 'r';
    case '&': {  // the next parameter, no character reference
      for (ptrdiff_t i = 1; i < 8; ++i) {
        if (text.at(at + i) == ';') return false;
      }
      return next_is_letter || next == '_';
    }
    case ' ':
    case '\t':
    case '.':
      return next == TextView::kNone || next_is_letter || next == '\n' || next == '\r' || next == '"' || next == '(' ||
             next == '{' || next == '}' || next == '<' || next == '|' || next == ')' || next == ',';
    default:
      return false;
  }
}

bool is_code_length(NameKind name, size_t digits) {
  if (name == NameKind::pin) return digits >= kPinDigitsMin && digits <= kPinDigitsMax;
  return digits >= kCodeDigitsMin && digits <= kCodeDigitsMax;
}

}  // namespace

std::optional<KeyedSecret> keyed_secret_at(const TextView& text, size_t start, size_t since_card) {
  std::array<uint8_t, kContextDigitsMin> digits;
  size_t end = start, size = 0;
  for (; end < text.size() && is_digit(text.data()[end]); ++end) {
    if (size == digits.size()) return std::nullopt;
    digits[size++] = static_cast<uint8_t>(text.data()[end] - '0');
  }
  if (size < kCodeDigitsMin || !ends_value(text, end)) return std::nullopt;
  NameKind name = key_before(text, static_cast<ptrdiff_t>(start),
                             static_cast<ptrdiff_t>(start) - static_cast<ptrdiff_t>(kWordsBackBytes));
  if (name == NameKind::code && since_card <= kCardReachBytes) name = NameKind::cvv;
  if (name == NameKind::pan) {
    if (size != kContextDigitsMin || !brand_in_context(digits)) return std::nullopt;
    return KeyedSecret{end, name};
  }
  if ((name != NameKind::cvv && name != NameKind::pin) || !is_code_length(name, size)) return std::nullopt;
  return KeyedSecret{end, name};
}

}  // namespace sluice::policies::cards
