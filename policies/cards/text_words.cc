#include "policies/cards/text_words.h"

#include <array>
#include <string_view>

namespace sluice::policies::cards {
namespace {

constexpr size_t kGapBytesMax = 8;  // between a key and its value: quotes, blanks, backslashes, assignments

bool is_letter(int c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
}
bool is_quote(int c) {
  return c == '"' || c == '\'';
}
bool is_gap(int c) {
  return is_assignment(c) || is_quote(c) || c == ' ' || c == '\t' || c == '\\';
}
// Ends an unquoted key towards the front.
bool ends_key(int c) {
  switch (c) {
    case TextView::kNone:
    case '\n':
    case '\r':
    case '\t':
    case ',':
    case ';':
    case '&':
    case '?':
    case '{':
    case '}':
    case '[':
    case ']':
    case '(':
    case ')':
    case '<':
    case '>':
    case '|':
    case '=':
    case ':':
    case '"':
    case '\'':
      return true;
    default:
      return false;
  }
}

// The bytes that end before `end` and go back to where `stops` says, in order.
struct Back {
  std::array<char, kWordsBackBytes> bytes;
  size_t first = kWordsBackBytes;

  // Returns what stopped it; kNone also where there is more than room for.
  template <typename Stops>
  int read(const TextView& text, ptrdiff_t end, ptrdiff_t not_before, Stops stops) {
    for (ptrdiff_t at = end - 1; at >= not_before && first > 0; --at) {
      const int c = text.at(at);
      if (c == TextView::kNone || stops(c)) return c;
      bytes[--first] = static_cast<char>(c);
    }
    return TextView::kNone;
  }
  [[nodiscard]] std::string_view view() const { return {bytes.data() + first, kWordsBackBytes - first}; }
};

}  // namespace

bool says_card(const TextView& text, size_t start) {
  if (text.column() == NameKind::pan) return true;
  const auto end = static_cast<ptrdiff_t>(start);
  const auto reach = end - static_cast<ptrdiff_t>(kWordsBackBytes);
  Back back;
  (void)back.read(text, end, reach, [](int c) { return c == '\n'; });
  std::string_view words = back.view();
  // A word that begins before the reach is not known.
  if (back.first == 0 && is_letter(text.at(reach - 1))) {
    while (!words.empty() && is_letter(static_cast<uint8_t>(words.front()))) words.remove_prefix(1);
  }
  return ends_near_card_word(words);
}

NameKind key_before(const TextView& text, ptrdiff_t value, ptrdiff_t reach) {
  ptrdiff_t at = value - 1;
  ptrdiff_t assignment = value, first_gap = value;
  bool element = false;
  for (size_t i = 0; i < kGapBytesMax && is_gap(text.at(at)); ++i, --at) {
    if (is_assignment(text.at(at))) {
      if (assignment == value) element = text.at(at) == '>' && text.at(at - 1) != '=' && text.at(at - 1) != '-';
      if (assignment == value && value - at > static_cast<ptrdiff_t>(kAssignedReachBytes)) return NameKind::none;
      assignment = at;
      if (element) break;
    }
    first_gap = at;
  }
  if (assignment == value) return NameKind::none;
  Back back;
  if (element) {  // <name attributes>
    if (back.read(text, assignment, reach, [](int c) { return c == '<' || c == '>' || c == '\n'; }) != '<')
      return NameKind::none;
    const std::string_view tag = back.view();
    return name_kind(tag.substr(0, tag.find(' ')));
  }
  const bool quoted = is_quote(text.at(assignment - 1)) || is_quote(text.at(first_gap));
  (void)back.read(text, first_gap, reach, [quoted](int c) { return quoted ? is_quote(c) : ends_key(c); });
  std::string_view key = back.view();
  // Of a longer key the last words are known, but not the one that is cut.
  if (first_gap - static_cast<ptrdiff_t>(key.size()) == reach && is_letter(text.at(reach - 1))) {
    while (!key.empty() && is_letter(static_cast<uint8_t>(key.front()))) key.remove_prefix(1);
  }
  return name_kind(key);
}

}  // namespace sluice::policies::cards
