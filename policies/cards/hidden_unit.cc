#include "policies/cards/hidden_unit.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "policies/cards/encoded_bytes.h"
#include "policies/cards/text_view.h"

namespace sluice::policies::cards {
namespace {

using Kind = Unit::Kind;

constexpr uint8_t kOther = 0x7F;
constexpr size_t kBackslashesMax = 8;  // of an escape within strings within strings
constexpr size_t kNestedPercentMax = 4;
constexpr uint32_t kNone = UINT32_MAX;

// The zero of each decimal script (Unicode, general category Nd), in order.
constexpr uint32_t kZeros[] = {0x0660, 0x06F0, 0x07C0,  0x0966,  0x09E6,  0x0A66,  0x0AE6,  0x0B66, 0x0BE6,
                               0x0C66, 0x0CE6, 0x0D66,  0x0DE6,  0x0E50,  0x0ED0,  0x0F20,  0x1040, 0x1090,
                               0x17E0, 0x1810, 0x1946,  0x19D0,  0x1A80,  0x1A90,  0x1B50,  0x1BB0, 0x1C40,
                               0x1C50, 0xFF10, 0x104A0, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6};
// What a digit of two, three or four bytes becomes: ARABIC FIVE POINTED STAR, FULLWIDTH ASTERISK, MEDIUM SIX SPOKED
// ASTERISK.
constexpr std::string_view kStars[] = {"\xD9\xAD", "\xEF\xBC\x8A", "\xF0\x9F\x9E\xB6"};
constexpr uint8_t kEbcdicStar = 0x5C, kEbcdicBlank = 0x40, kEbcdicDash = 0x60;

struct Shown {
  Kind kind = Kind::character;
  uint8_t character = kOther;
};

Shown shown(uint32_t code) {
  if (code < 0x80) return {Kind::character, static_cast<uint8_t>(code)};
  const uint32_t* behind = std::upper_bound(std::begin(kZeros), std::end(kZeros), code);
  if (behind != std::begin(kZeros) && code - behind[-1] < 10)
    return {Kind::character, static_cast<uint8_t>('0' + code - behind[-1])};
  if (code == 0x066D || code == 0xFF0A || code == 0x1F7B6) return {Kind::character, '*'};
  const bool blank = code == 0xA0 || (code >= 0x2000 && code <= 0x200A) || code == 0x202F || code == 0x205F ||
                     code == 0x3000 || code == 0x1680;
  if (blank) return {Kind::character, ' '};
  const bool dash = (code >= 0x2010 && code <= 0x2015) || code == 0x2212 || code == 0xFF0D || code == 0xFE58 ||
                    code == 0xFE63 || code == 0x2043;
  if (dash) return {Kind::character, '-'};
  const bool nothing = code == 0xAD || (code >= 0x200B && code <= 0x200F) || (code >= 0x202A && code <= 0x202E) ||
                       (code >= 0x2060 && code <= 0x2064) || (code >= 0x2066 && code <= 0x2069) || code == 0xFEFF ||
                       (code >= 0xFE00 && code <= 0xFE0F) || code == 0x180E || code == 0x034F;
  if (nothing) return {Kind::nothing, 0};
  return {};
}

// UTF-8 (RFC 3629); kNone where it is malformed or cut.
uint32_t read_utf8(std::span<const uint8_t> bytes, size_t& length) {
  const uint8_t lead = bytes[0];
  length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || bytes.size() < length) return kNone;
  uint32_t code = lead & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((bytes[i] & 0xC0) != 0x80) return kNone;
    code = code << 6 | (bytes[i] & 0x3Fu);
  }
  return code;
}

Unit unit_of(uint32_t code, size_t bytes) {
  const Shown as = shown(code);
  return {as.kind, static_cast<uint8_t>(bytes), as.character};
}

// What is left of `bytes` may be the start of a unit: with more to come it cannot be decided.
Unit cut_or_plain(bool more_follows) {
  return {more_follows ? Kind::cut : Kind::plain, 1, 0};
}

// `count` hex digits; kNone where they are none. `cut` is set where the bytes end first.
uint32_t read_hex(std::span<const uint8_t> bytes, size_t at, size_t count, bool& cut) {
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i) {
    if (at + i >= bytes.size()) {
      cut = true;
      return kNone;
    }
    const int digit = hex_value(bytes[at + i]);
    if (digit < 0) return kNone;
    value = value << 4 | static_cast<uint32_t>(digit);
  }
  return value;
}

// One percent-encoded byte at `at` (RFC 3986, section 2.1), encoded once or more ("%2534"). Returns its length or 0.
size_t read_percent_byte(std::span<const uint8_t> bytes, size_t at, uint32_t& value, bool& cut) {
  if (at >= bytes.size()) {
    cut = true;
    return 0;
  }
  if (bytes[at] != '%') return 0;
  size_t next = at + 1;
  value = read_hex(bytes, next, 2, cut);
  for (size_t i = 0; i < kNestedPercentMax && value == '%'; ++i) {
    next += 2;
    value = read_hex(bytes, next, 2, cut);
  }
  return value == kNone ? 0 : next + 2 - at;
}

Unit read_percent(std::span<const uint8_t> bytes, size_t at, bool more_follows) {
  bool cut = false;
  if (at + 1 < bytes.size() && (bytes[at + 1] | 0x20) == 'u') {
    const uint32_t code = read_hex(bytes, at + 2, 4, cut);
    if (code != kNone) return unit_of(code, 6);
    return cut_or_plain(cut && more_follows);
  }
  uint32_t first = 0;
  const size_t length = read_percent_byte(bytes, at, first, cut);
  if (length == 0) return cut_or_plain(cut && more_follows);
  if (first < 0x80) return {Kind::character, static_cast<uint8_t>(length), static_cast<uint8_t>(first)};
  // A character of several bytes, each encoded once.
  uint8_t encoded[4] = {static_cast<uint8_t>(first)};
  const size_t needed = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC2 ? 2 : 1;
  for (size_t i = 1; i < needed; ++i) {
    uint32_t value = 0;
    const size_t taken = length == 3 ? read_percent_byte(bytes, at + 3 * i, value, cut) : 0;
    if (cut) return cut_or_plain(more_follows);
    if (taken != 3) return {};
    encoded[i] = static_cast<uint8_t>(value);
  }
  size_t decoded = 0;
  const uint32_t code = needed == 1 ? kNone : read_utf8({encoded, needed}, decoded);
  return code == kNone ? Unit{} : unit_of(code, 3 * needed);
}

struct Entity {
  std::string_view name;
  Kind kind;
  uint8_t character;
};
constexpr Entity kEntities[] = {
    {"nbsp;", Kind::character, ' '},   {"ensp;", Kind::character, ' '},   {"emsp;", Kind::character, ' '},
    {"thinsp;", Kind::character, ' '}, {"numsp;", Kind::character, ' '},  {"ndash;", Kind::character, '-'},
    {"mdash;", Kind::character, '-'},  {"hyphen;", Kind::character, '-'}, {"dash;", Kind::character, '-'},
    {"shy;", Kind::nothing, 0},        {"zwnj;", Kind::nothing, 0},       {"zwj;", Kind::nothing, 0},
};

// HTML character references (HTML, section 13.5): `&#52;`, `&#x34;`, some names.
Unit read_entity(std::span<const uint8_t> bytes, size_t at, bool more_follows) {
  const std::string_view rest(reinterpret_cast<const char*>(bytes.data()) + at,
                              std::min(bytes.size() - at, kUnitBytesMax));
  const bool may_be_cut = more_follows && rest.size() < kUnitBytesMax;
  if (rest.size() < 2) return cut_or_plain(may_be_cut);
  if (rest[1] != '#') {
    for (const Entity& entity : kEntities) {
      const std::string_view name = rest.substr(1, entity.name.size());
      if (name == entity.name) return {entity.kind, static_cast<uint8_t>(1 + name.size()), entity.character};
      if (may_be_cut && entity.name.starts_with(name)) return {Kind::cut, 1, 0};
    }
    return {};
  }
  const bool hex = rest.size() > 2 && (rest[2] | 0x20) == 'x';
  uint32_t code = 0;
  const size_t first = hex ? 3 : 2;
  size_t i = first;
  for (; i < rest.size() && rest[i] != ';'; ++i) {
    const int digit = hex_value(static_cast<uint8_t>(rest[i]));
    if (digit < 0 || (!hex && digit > 9) || code > 0x110000) return {};
    code = code * (hex ? 16 : 10) + static_cast<uint32_t>(digit);
  }
  if (i == rest.size()) return cut_or_plain(may_be_cut);
  return i < first + 2 ? Unit{} : unit_of(code, i + 1);
}

// `\u0034`, `\x34`, `\064`, with any backslashes that quoting added in front.
Unit read_backslash(std::span<const uint8_t> bytes, size_t at, bool more_follows) {
  size_t next = at;
  while (next < bytes.size() && next - at < kBackslashesMax && bytes[next] == '\\') ++next;
  if (next == bytes.size()) return cut_or_plain(more_follows);
  bool cut = false;
  uint32_t code = kNone;
  size_t digits = 0;
  if (bytes[next] == 'u') {
    digits = 4;
    code = read_hex(bytes, next + 1, digits, cut);
  } else if (bytes[next] == 'x') {
    digits = 2;
    code = read_hex(bytes, next + 1, digits, cut);
  } else if (bytes[next] == '0') {
    digits = 2;
    code = read_hex(bytes, next + 1, digits, cut);
    if (code != kNone && ((code & 0x88) != 0)) code = kNone;
    if (code != kNone) code = (code >> 4) * 8 + (code & 7);
  }
  if (code == kNone) return cut_or_plain(cut && more_follows);
  return unit_of(code, next + 1 + digits - at);
}

// ECMA-48 control sequences: ESC [ parameters, one final byte.
Unit read_terminal_escape(std::span<const uint8_t> bytes, size_t at, bool more_follows) {
  if (at + 1 == bytes.size()) return cut_or_plain(more_follows);
  if (bytes[at + 1] != '[') return {};
  for (size_t length = 2; length < kUnitBytesMax; ++length) {
    if (at + length == bytes.size()) return cut_or_plain(more_follows);
    const uint8_t c = bytes[at + length];
    if (c >= 0x40 && c <= 0x7E) return {Kind::nothing, static_cast<uint8_t>(length + 1), 0};
    if (c < 0x20 || c > 0x3F) return {};
  }
  return {};
}

bool is_ebcdic_digit(int c) {
  return c >= 0xF0 && c <= 0xF9;
}

Unit read_ebcdic_or_utf8(std::span<const uint8_t> bytes, size_t at, const int before[2], bool more_follows) {
  const int behind = at + 1 < bytes.size() ? bytes[at + 1] : TextView::kNone;
  if (is_ebcdic_digit(bytes[at])) {
    if (is_ebcdic_digit(before[0]) || is_ebcdic_digit(behind))
      return {Kind::character, 1, static_cast<uint8_t>('0' + bytes[at] - 0xF0)};
  }
  size_t length = 0;
  const uint32_t code = read_utf8(bytes.subspan(at), length);
  if (code == kNone) return cut_or_plain(more_follows && bytes.size() - at < length && bytes[at] <= 0xF4);
  const Shown as = shown(code);
  if (as.kind == Kind::character && as.character == kOther) return {};
  return {as.kind, static_cast<uint8_t>(length), as.character};
}

// UTF-32: three zero bytes in turn with digits and separators.
Unit read_utf32_zeros(std::span<const uint8_t> bytes, size_t at, int before_character, bool more_follows) {
  if (at + 4 >= bytes.size() && more_follows) return {Kind::cut, 1, 0};
  if (at + 3 >= bytes.size() || bytes[at + 2] != 0) return {};
  const bool between = is_digit_or_mask(bytes[at + 3]) || is_ascii_separator(bytes[at + 3]);
  const bool in_turn = before_character == 0 || (at + 4 < bytes.size() && bytes[at + 4] == 0);
  return between && in_turn ? Unit{Kind::nothing, 3, 0} : Unit{};
}

}  // namespace

Unit read_unit(std::span<const uint8_t> bytes, size_t at, const int before[2], bool more_follows) {
  const uint8_t c = bytes[at];
  const bool last = at + 1 == bytes.size();
  const int behind = last ? TextView::kNone : bytes[at + 1];
  switch (c) {
    case '%':
      return read_percent(bytes, at, more_follows);
    case '&':
      return read_entity(bytes, at, more_follows);
    case '\\':
      return read_backslash(bytes, at, more_follows);
    case 0x1b:
      return read_terminal_escape(bytes, at, more_follows);
    case '\0': {
      // UTF-16: zero bytes in turn with digits and separators.
      if (!is_digit_or_mask(before[0]) && !is_ascii_separator(before[0])) return {};
      if (behind == 0) return read_utf32_zeros(bytes, at, before[1], more_follows);
      if (at + 2 >= bytes.size() && more_follows) return {Kind::cut, 1, 0};
      const bool between = is_digit_or_mask(behind) || is_ascii_separator(behind);
      const bool in_turn = before[1] == 0 || (at + 2 < bytes.size() && bytes[at + 2] == 0);
      return between && in_turn ? Unit{Kind::nothing, 1, 0} : Unit{};
    }
    case '+':
      // A blank in a URL's query.
      if (!is_digit_or_mask(before[0])) return {};
      if (last) return cut_or_plain(more_follows);
      return is_digit_or_mask(behind) ? Unit{Kind::character, 1, ' '} : Unit{};
    case kEbcdicBlank:
    case kEbcdicDash:
      if (!is_ebcdic_digit(before[0])) return {};
      if (last) return cut_or_plain(more_follows);
      return is_ebcdic_digit(behind) ? Unit{Kind::character, 1, static_cast<uint8_t>(c == kEbcdicBlank ? ' ' : '-')}
                                     : Unit{};
    default:
      break;
  }
  if (is_ascii_separator(c)) {
    // Two or three separators between digits count as one: the last one stays.
    const bool behind_digit =
        is_digit_or_mask(before[0]) || (is_ascii_separator(before[0]) && is_digit_or_mask(before[1]));
    if (!behind_digit || c == '.') return {};
    if (last) return cut_or_plain(more_follows);
    if (!is_ascii_separator(behind)) return {};
    if (at + 2 >= bytes.size()) return cut_or_plain(more_follows);
    if (is_digit_or_mask(bytes[at + 2])) return {Kind::nothing, 1, 0};
    if (!is_digit_or_mask(before[0]) || !is_ascii_separator(bytes[at + 2])) return {};
    if (at + 3 >= bytes.size()) return cut_or_plain(more_follows);
    return is_digit_or_mask(bytes[at + 3]) ? Unit{Kind::nothing, 1, 0} : Unit{};
  }
  return c >= 0x80 ? read_ebcdic_or_utf8(bytes, at, before, more_follows) : Unit{};
}

void mask_unit(std::span<uint8_t> unit) {
  const auto fill = [&](size_t from, size_t to, std::string_view value) {
    for (size_t i = from; i < to; ++i) unit[i] = '0';
    for (size_t i = 0; i < value.size() && i < to - from; ++i)
      unit[to - 1 - i] = static_cast<uint8_t>(value[value.size() - 1 - i]);
  };
  const size_t size = unit.size();
  if (size == 1) {
    unit[0] = unit[0] >= 0xF0 ? kEbcdicStar : '*';
  } else if (unit[0] == '%') {
    const bool encoded_utf8 = unit[1] != 'u' && unit[1] != 'U' && hex_value(unit[1]) >= 8;
    if (!encoded_utf8)
      fill(size - 2, size, "2A");
    else if (size == 6)
      fill(0, size, "%D9%AD");
    else if (size == 9)
      fill(0, size, "%EF%BC%8A");
    else
      fill(0, size, "%F0%9F%9E%B6");
    if ((unit[1] | 0x20) == 'u') fill(2, size, "2A");
  } else if (unit[0] == '&') {
    const bool hex = (unit[2] | 0x20) == 'x';
    fill(hex ? 3 : 2, size - 1, hex ? "2a" : "42");
  } else if (unit[0] == '\\') {
    size_t kind = 0;
    while (unit[kind] == '\\') ++kind;
    fill(unit[kind] == '0' ? kind : kind + 1, size, unit[kind] == '0' ? "052" : "2a");
  } else {
    const std::string_view star = kStars[std::min<size_t>(size, 4) - 2];
    std::copy(star.begin(), star.end(), unit.begin());
  }
}

}  // namespace sluice::policies::cards
