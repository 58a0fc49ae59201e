#include "policies/cards/candidate.h"

#include <array>

#include "policies/cards/text_words.h"

namespace sluice::policies::cards {
namespace {

constexpr size_t kHexTokenExtraMin = 12;  // hex characters glued to a run that make it part of a hash, not a number
constexpr size_t kHexLookMax = 16;
constexpr size_t kTrackDigitsMin = 7;  // expiry and service code
constexpr size_t kFractionLookMax = 16;
constexpr size_t kUuidBytes = 36;
constexpr size_t kBinDigits = 6;         // what bin6_last4 leaves in front
constexpr size_t kMaskedRemainsMin = 3;  // stars behind six digits that mean "this was masked"

// Left uninitialised beyond what was read: one is made at every digit group, and clearing it took most of the time
// [measured].
struct Group {
  uint8_t digits;
  Separator before;
};

struct Window {
  std::array<Group, kPanDigitsMax> groups;
  size_t count = 0;
  std::array<uint8_t, kPanDigitsMax> digits;
  size_t size = 0;  // digits
  size_t start = 0, end = 0;
  LengthSet lengths = 0;  // that the first four digits allow

  [[nodiscard]] std::span<const uint8_t> all() const { return {digits.data(), size}; }
};

bool uniform_separators(const Window& window) {
  for (size_t i = 2; i < window.count; ++i) {
    if (window.groups[i].before != window.groups[1].before) return false;
  }
  return true;
}

bool has_dot(const Window& window) {
  for (size_t i = 1; i < window.count; ++i) {
    if (window.groups[i].before == Separator::dot) return true;
  }
  return false;
}

// Does the hex of a star end at `at`? In a chain of such pairs it stands for one of digits.
bool is_masked_pair(const TextView& text, ptrdiff_t at) {
  const int before = text.at(at - 2);
  return (text.at(at) | 0x20) == 'a' && is_digit(text.at(at - 1)) && !is_digit_or_mask(before) &&
         !is_hex_letter(before);
}

// Groups of one or two digits are everywhere (dates, lists, versions): they count only where all are equal (the last
// may be shorter), the separators too, and nothing of the same kind goes on at either end.
bool is_whole_chain(const TextView& text, const Window& window) {
  const uint8_t width = window.groups[0].digits;
  for (size_t i = 1; i + 1 < window.count; ++i) {
    if (window.groups[i].digits != width) return false;
  }
  if (window.groups[window.count - 1].digits > width) return false;
  const Separator separator = window.groups[1].before;
  const auto end = static_cast<ptrdiff_t>(window.end);
  const SeparatorAt behind = separator_at(text, end);
  if (behind.kind == separator && is_digit_or_mask(text.at(end + behind.bytes))) return false;
  const auto start = static_cast<ptrdiff_t>(window.start);
  const SeparatorAt before = separator_before(text, start);
  if (before.kind != separator) return true;
  ptrdiff_t i = start - before.bytes - 1;
  if (width == 2 && is_masked_pair(text, i)) return false;
  size_t digits = 0;
  while (digits <= width && is_digit_or_mask(text.at(i))) ++digits, --i;
  return digits != width;
}

// A tab within a number is first of all the border between two columns. It counts as a separator where all are tabs,
// the groups are those of a card, and no other column stands beside them.
bool has_foreign_tabs(const TextView& text, const Window& window) {
  size_t tabs = 0;
  for (size_t i = 1; i < window.count; ++i) tabs += window.groups[i].before == Separator::tab ? 1 : 0;
  if (tabs == 0) return false;
  if (tabs + 1 != window.count || window.count < 3 || window.groups[0].digits != 4) return true;
  const bool four_six = window.count == 3 && window.groups[1].digits == 6 && window.groups[2].digits >= 4;
  for (size_t i = 1; i < window.count && !four_six; ++i) {
    const uint8_t digits = window.groups[i].digits;
    if (i + 1 < window.count ? digits != 4 : digits > 4) return true;
  }
  return text.at(static_cast<ptrdiff_t>(window.start) - 1) == '\t' ||
         text.at(static_cast<ptrdiff_t>(window.end)) == '\t';
}

// Is this how people write card numbers?
bool has_card_layout(const TextView& text, const Window& window) {
  if (window.count == 1) return true;
  if (has_foreign_tabs(text, window)) return false;
  const bool uniform = uniform_separators(window);
  const bool dots = has_dot(window);
  if (dots && (!uniform || window.count < 3))
    return false;  // one dot is a decimal point; mixed with others, two of them
  bool all_wide = true, fours = window.count >= 3;
  for (size_t i = 0; i < window.count; ++i) {
    const uint8_t digits = window.groups[i].digits;
    all_wide &= digits >= 3;
    fours &= i + 1 < window.count ? digits == 4 : digits <= 4;
  }
  if (fours) return true;
  const bool four_six = window.count == 3 && window.groups[0].digits == 4 && window.groups[1].digits == 6 && all_wide;
  if (four_six || (all_wide && uniform)) return true;
  return uniform && window.groups[0].digits <= 2 && is_whole_chain(text, window);
}

// A number with a fraction, or the fraction of one. `123.00` is still a whole number.
bool touches_decimal_fraction(const TextView& text, const Window& window) {
  if (window.count > 1 && window.groups[1].before == Separator::dot) return false;
  const auto start = static_cast<ptrdiff_t>(window.start), end = static_cast<ptrdiff_t>(window.end);
  if (text.at(start - 1) == '.' && is_digit_or_mask(text.at(start - 2))) return true;
  if (text.at(end) != '.' || !is_digit_or_mask(text.at(end + 1))) return false;
  for (size_t i = 1; i <= kFractionLookMax; ++i) {
    const int c = text.at(end + static_cast<ptrdiff_t>(i));
    if (!is_digit_or_mask(c)) return false;
    if (c != '0') return true;
  }
  return false;
}

bool is_hex(int c) {
  return is_digit_or_mask(c) || is_hex_letter(c);
}

// Track 2 as some write it: `D` in place of the separator, and digits (ISO/IEC 7813).
bool goes_on_as_track(const TextView& text, const Window& window) {
  const int before = text.at(static_cast<ptrdiff_t>(window.start) - 1);
  if (window.count != 1 || is_hex(before) || (text.at(static_cast<ptrdiff_t>(window.end)) | 0x20) != 'd') return false;
  for (size_t i = 1; i <= kHexLookMax; ++i) {
    const int c = text.at(static_cast<ptrdiff_t>(window.end + i));
    if (!is_digit_or_mask(c)) return i > kTrackDigitsMin && !is_hex_letter(c);
  }
  return true;
}

// The run of hex characters around an unbroken number is long enough to be a hash.
bool inside_hash(const TextView& text, const Window& window) {
  size_t extra = 0;
  bool letters = false;
  for (size_t i = 1; i <= kHexLookMax; ++i, ++extra) {
    const int c = text.at(static_cast<ptrdiff_t>(window.start) - static_cast<ptrdiff_t>(i));
    if (!is_hex(c)) break;
    letters |= is_hex_letter(c);
  }
  for (size_t i = 0; i < kHexLookMax; ++i, ++extra) {
    const int c = text.at(static_cast<ptrdiff_t>(window.end + i));
    if (!is_hex(c)) break;
    letters |= is_hex_letter(c);
  }
  return letters && extra >= kHexTokenExtraMin && !goes_on_as_track(text, window);
}

bool is_uuid_at(const TextView& text, ptrdiff_t at) {
  for (size_t i = 0; i < kUuidBytes; ++i) {
    const int c = text.at(at + static_cast<ptrdiff_t>(i));
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? c != '-' : !is_hex(c)) return false;
  }
  return !is_hex(text.at(at - 1)) && !is_hex(text.at(at + static_cast<ptrdiff_t>(kUuidBytes)));
}

bool touches_uuid(const TextView& text, const Window& window) {
  const auto first = static_cast<ptrdiff_t>(window.start) - static_cast<ptrdiff_t>(kUuidBytes) + 1;
  for (ptrdiff_t at = first; at < static_cast<ptrdiff_t>(window.end); ++at) {
    if (text.at(at + 8) == '-' && text.at(at + 13) == '-' && is_uuid_at(text, at)) return true;
  }
  return false;
}

unsigned two_digits(const Window& window, size_t at) {
  return window.digits[at] * 10u + window.digits[at + 1];
}

// DDMMYYYYhhmmss: on the 30th it looks like Diners. (Year-first forms have no issuer.)
bool is_compact_datetime(const Window& window) {
  if (window.count != 1 || window.size != kDatetimeDigits) return false;
  const unsigned day = two_digits(window, 0), month = two_digits(window, 2), century = two_digits(window, 4);
  return day >= 1 && day <= 31 && month >= 1 && month <= 12 && (century == 19 || century == 20) &&
         two_digits(window, 8) < 24 && two_digits(window, 10) < 60 && two_digits(window, 12) < 60;
}

// The window ends in the six digits that a mask left standing ("1234567890 411111******1111").
bool ends_in_masked_remains(const TextView& text, const Window& window) {
  if (window.count < 2 || text.at(static_cast<ptrdiff_t>(window.end)) != '*') return false;
  size_t digits = 0, first = window.count;
  while (digits < kBinDigits && first > 0) digits += window.groups[--first].digits;
  if (digits != kBinDigits) return false;
  size_t stars = 0;
  auto i = static_cast<ptrdiff_t>(window.end);
  while (stars < kMaskedRemainsMin) {
    const SeparatorAt separator = separator_at(text, i);
    if (separator.kind != Separator::none) i += separator.bytes;
    if (text.at(i) != '*') return false;
    ++stars, ++i;
  }
  return true;
}

// The number of a track as chip cards send it is hexadecimal like a hash, but for its shape.
bool allowed_by_context(const TextView& text, const Window& window, const TrackTail& tail) {
  const bool whole_track = tail.hexadecimal && !is_hex(text.at(static_cast<ptrdiff_t>(window.start) - 1));
  return !touches_decimal_fraction(text, window) && (whole_track || !inside_hash(text, window)) &&
         !touches_uuid(text, window) && !is_compact_datetime(window) && !ends_in_masked_remains(text, window);
}

// Takes one group in. False where the digits cannot be part of a card number.
bool read_group(const TextView& text, Window& window, Separator before) {
  const size_t start = window.end;
  const uint8_t* bytes = text.data();
  const size_t limit = text.size();
  size_t at = start, size = window.size;
  while (at < limit && is_digit(bytes[at])) {
    if (size == kPanDigitsMax) return false;
    window.digits[size++] = static_cast<uint8_t>(bytes[at++] - '0');
  }
  if (window.size < 4 && size >= 4) {
    window.lengths = lengths_of_first_four(window.digits[0] * 1000u + window.digits[1] * 100u + window.digits[2] * 10u +
                                           window.digits[3]);
    if (window.lengths == 0) return false;
  }
  window.size = size;
  window.end = at;
  window.groups[window.count++] = {static_cast<uint8_t>(at - start), before};
  return true;
}

// Short groups that go on from the left, or whose separator changes, can never be a whole chain: stop early, so that a
// flood of them costs little.
bool is_hopeless(const TextView& text, const Window& window, Separator next) {
  const uint8_t width = window.groups[0].digits;
  if (width > 2) return false;
  if (window.count > 1 && (next != window.groups[1].before || window.groups[window.count - 1].digits != width))
    return true;
  if (window.count > 1) return false;
  const auto start = static_cast<ptrdiff_t>(window.start);
  const SeparatorAt before = separator_before(text, start);
  if (before.kind != next) return false;
  ptrdiff_t i = start - before.bytes - 1;
  size_t digits = 0;
  while (digits <= width && is_digit_or_mask(text.at(i))) ++digits, --i;
  return digits == width;
}

std::optional<Candidate> longest_at(const TextView& text, size_t start) {
  Window window;
  window.start = window.end = start;
  std::optional<Candidate> best;
  Separator before = Separator::none;
  while (read_group(text, window, before)) {
    if (has_length(window.lengths, window.size) && has_card_layout(text, window)) {
      std::optional<Brand> brand = brand_of(window.all());
      if (!brand) {
        brand = brand_in_context(window.all());
        if (brand && !says_card(text, start)) brand = std::nullopt;
      }
      const TrackTail tail = brand ? track_tail(text, window.end) : TrackTail{};
      if (brand && allowed_by_context(text, window, tail)) {
        best = Candidate{window.end + tail.bytes, static_cast<uint8_t>(window.size), kLastKept, *brand,
                         static_cast<uint8_t>(tail.bytes)};
      }
    }
    const SeparatorAt next = separator_at(text, static_cast<ptrdiff_t>(window.end));
    if (next.kind == Separator::none || !is_digit(text.at(static_cast<ptrdiff_t>(window.end + next.bytes)))) break;
    if (window.size == kPanDigitsMax || is_hopeless(text, window, next.kind)) break;
    window.end += next.bytes;
    before = next.kind;
  }
  return best;
}

// Would the last digits that a mask leaves standing start another card number with what follows? Then they are hidden
// too: masked text has no finding.
bool tail_starts_another(const TextView& text, size_t start, const Candidate& candidate) {
  if (candidate.tail != 0) return false;  // all of that is hidden
  size_t digits = 0;
  for (size_t i = candidate.end; i-- > start + 1 && digits < kLastKept;) {
    if (!is_digit(text.data()[i])) continue;
    ++digits;
    const bool group_start = !is_digit(text.data()[i - 1]);
    if (!group_start && digits < kLastKept) continue;
    const std::optional<Candidate> other = longest_at(text, i);
    if (other && other->end > candidate.end) return true;
  }
  return false;
}

}  // namespace

SeparatorAt separator_at(const TextView& text, ptrdiff_t index) {
  switch (text.at(index)) {
    case ' ':
      return {Separator::space, 1};
    case '-':
      return {Separator::dash, 1};
    case '.':
      return {Separator::dot, 1};
    case '/':
      return {Separator::slash, 1};
    case '\t':
      return text.tabs() == Tabs::join ? SeparatorAt{Separator::tab, 1} : SeparatorAt{};
    case '_':
      return {Separator::underscore, 1};
    case 0xC2:
      return text.at(index + 1) == 0xA0 ? SeparatorAt{Separator::no_break_space, 2} : SeparatorAt{};
    case 0xE2: {
      if (text.at(index + 1) != 0x80) return {};
      const int third = text.at(index + 2);
      if (third >= 0x90 && third <= 0x94) return {Separator::unicode_dash, 3};  // hyphens, figure dash, en and em dash
      if (third == 0xAF) return {Separator::no_break_space, 3};                 // narrow
      return {};
    }
    default:
      return {};
  }
}

SeparatorAt separator_before(const TextView& text, ptrdiff_t index) {
  for (ptrdiff_t bytes = 1; bytes <= 3; ++bytes) {
    const SeparatorAt found = separator_at(text, index - bytes);
    if (found.kind != Separator::none && found.bytes == bytes) return found;
  }
  return {};
}

std::optional<Candidate> candidate_at(const TextView& text, size_t start) {
  std::optional<Candidate> candidate = longest_at(text, start);
  if (candidate && tail_starts_another(text, start, *candidate)) candidate->last_kept = 0;
  return candidate;
}

}  // namespace sluice::policies::cards
