#include "policies/cards/track_data.h"

#include <array>
#include <string_view>

#include "policies/cards/issuer_table.h"

namespace sluice::policies::cards {
namespace {

constexpr size_t kNameBytesMax = 40;     // 26 in the standard
constexpr size_t kFixedDigits = 7;       // YYMM and service code
constexpr size_t kTrack2DigitsMax = 32;  // the standard leaves 40 characters to all of track 2
constexpr size_t kTrack1BehindNameMax = 36;
static_assert(3 + kNameBytesMax + 3 + kTrack1BehindNameMax > kTrackTailBytesMax);  // the total bounds first

bool is_letter(int c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

// Bytes of the field separator at `at`, as it is or percent-encoded; 0 where it is none.
size_t separator_bytes(const TextView& text, ptrdiff_t at, char separator, std::string_view escape) {
  if (text.at(at) == separator) return 1;
  if (text.at(at) != '%' || text.at(at + 1) != escape[0] || (text.at(at + 2) | 0x20) != escape[1]) return 0;
  return 1 + escape.size();
}

// Expiry date and service code.
bool has_fixed_digits(const TextView& text, ptrdiff_t at) {
  for (size_t i = 0; i < kFixedDigits; ++i) {
    if (!is_digit(text.at(at + static_cast<ptrdiff_t>(i)))) return false;
  }
  const int month = (text.at(at + 2) - '0') * 10 + text.at(at + 3) - '0';
  return month >= 1 && month <= 12;
}

bool is_hex(int c) {
  return is_digit_or_mask(c) || is_hex_letter(c);
}

// Another card number behind an equals sign (`old=new`) is one of its own, where no service code stands in it that ISO
// 7813 has: the second digit of that is 0, 2 or 4.
bool is_another_number(const TextView& text, ptrdiff_t first, size_t digits) {
  constexpr size_t kAuthorizationDigit = 5;
  const int authorization = text.at(first + static_cast<ptrdiff_t>(kAuthorizationDigit));
  if (authorization == '0' || authorization == '2' || authorization == '4') return false;
  std::array<uint8_t, kPanDigitsMax> number;
  if (digits < kPanDigitsMin || digits > number.size()) return false;
  for (size_t i = 0; i < digits; ++i)
    number[i] = static_cast<uint8_t>(text.at(first + static_cast<ptrdiff_t>(i)) - '0');
  return brand_of(std::span(number).first(digits)).has_value();
}

TrackTail track2_tail(const TextView& text, ptrdiff_t end, size_t separator, bool chip) {
  const ptrdiff_t first = end + static_cast<ptrdiff_t>(separator);
  if (!has_fixed_digits(text, first)) return {};
  size_t digits = kFixedDigits;
  while (is_digit(text.at(first + static_cast<ptrdiff_t>(digits))) && digits <= kTrack2DigitsMax) ++digits;
  if (digits > kTrack2DigitsMax) return {};
  if (!chip) return is_another_number(text, first, digits) ? TrackTail{} : TrackTail{separator + digits, false};
  ptrdiff_t behind = first + static_cast<ptrdiff_t>(digits);
  if ((text.at(behind) | 0x20) == 'f') ++behind;  // one padding nibble
  // Within more hex it is a track only where the number is one without it.
  if (is_hex(text.at(behind))) return {separator + digits, false};
  return {separator + digits, true};
}

// Name, separator, expiry date, service code, discretionary data.
TrackTail track1_tail(const TextView& text, ptrdiff_t end, size_t separator) {
  const auto at = [&](size_t offset) { return text.at(end + static_cast<ptrdiff_t>(offset)); };
  size_t offset = separator, second = 0;
  while (offset - separator <= kNameBytesMax) {
    second = separator_bytes(text, end + static_cast<ptrdiff_t>(offset), '^', "5e");
    if (second != 0) break;
    const int c = at(offset);
    if (c < ' ' || c == 0x7F || c == '?' || c == '"') return {};
    // JSON may have a backslash before the slash, one that is quoted again more of them.
    const bool escape = c == '\\' && (at(offset + 1) == '/' || at(offset + 1) == '\\');
    if (c == '\\' && !escape) return {};
    ++offset;
  }
  if (second == 0) return {};
  offset += second;
  if (!has_fixed_digits(text, end + static_cast<ptrdiff_t>(offset))) return {};
  offset += kFixedDigits;
  // Blanks belong to it only where the end sentinel says so.
  size_t tail = offset;
  bool blank = false;
  for (; offset < kTrackTailBytesMax; ++offset) {
    const int c = at(offset);
    if (c == '?') return {offset, false};
    if (c != ' ' && !is_letter(c) && !is_digit_or_mask(c)) break;
    blank = blank || c == ' ';
    if (!blank) tail = offset + 1;
  }
  return {tail, false};
}

}  // namespace

TrackTail track_tail(const TextView& text, size_t end) {
  const auto at = static_cast<ptrdiff_t>(end);
  const int c = text.at(at);
  if (c == 'D' || c == 'd') return track2_tail(text, at, 1, true);
  if (!begins_track_tail(c)) return {};
  if (const size_t equals = separator_bytes(text, at, '=', "3d"); equals != 0)
    return track2_tail(text, at, equals, false);
  if (const size_t caret = separator_bytes(text, at, '^', "5e"); caret != 0) return track1_tail(text, at, caret);
  return {};
}

void mask_track_tail(std::span<uint8_t> tail) {
  for (size_t i = 0; i < tail.size(); ++i) {
    const uint8_t c = tail[i];
    if (c == '^' || (i == 0 && (c == '=' || c == 'D' || c == 'd'))) continue;
    const bool escape = c == '%' && i + 2 < tail.size();
    if (escape && ((tail[i + 1] == '3' && (tail[i + 2] | 0x20) == 'd' && i == 0) ||
                   (tail[i + 1] == '5' && (tail[i + 2] | 0x20) == 'e'))) {
      i += 2;
      continue;
    }
    tail[i] = '*';
  }
}

}  // namespace sluice::policies::cards
