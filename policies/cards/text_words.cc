#include "policies/cards/text_words.h"

#include <algorithm>
#include <array>
#include <cstring>
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
class Back {
 public:
  // Returns what stopped it; kNone also where there is more than room for.
  template <typename Stops>
  int read(const TextView& text, ptrdiff_t end, ptrdiff_t not_before, Stops stops) {
    ptrdiff_t at = end - 1;
    int stopped_by = TextView::kNone;
    for (const ptrdiff_t limit = std::max(not_before, end - static_cast<ptrdiff_t>(kWordsBackBytes)); at >= limit;
         --at) {
      const int c = text.at(at);
      if (c != TextView::kNone && !stops(c)) continue;
      stopped_by = c;
      break;
    }
    const ptrdiff_t first = at + 1;
    if (first >= 0) {
      view_ = {reinterpret_cast<const char*>(text.data()) + first, static_cast<size_t>(end - first)};
    } else {  // some stand in the part before
      for (ptrdiff_t i = first; i < end; ++i) bytes_[static_cast<size_t>(i - first)] = static_cast<char>(text.at(i));
      view_ = {bytes_.data(), static_cast<size_t>(end - first)};
    }
    return stopped_by;
  }
  [[nodiscard]] std::string_view view() const { return view_; }
  [[nodiscard]] bool is_full() const { return view_.size() == kWordsBackBytes; }

 private:
  std::array<char, kWordsBackBytes> bytes_;
  std::string_view view_;
};

}  // namespace

bool may_say_card(const TextView& text, size_t start) {
  // Does a letter stand in the bytes before? Some may stand in the part before.
  if (text.column() == NameKind::pan || start < kWordsBackBytes) return true;
  constexpr uint64_t kOnes = 0x0101010101010101, kTops = 0x80 * kOnes;
  const auto letters = [at = text.data() + start](size_t back) {
    uint64_t word;
    std::memcpy(&word, at - back, sizeof word);
    const uint64_t low = (word | 0x20 * kOnes) & ~kTops;
    return (((low + (0x80 - 'a') * kOnes) & ~(low + (0x7f - 'z') * kOnes)) | word) & kTops;
  };
  static_assert(kWordsBackBytes > 32 && kWordsBackBytes <= 40);
  return (letters(8) | letters(16) | letters(24) | letters(32) | letters(kWordsBackBytes)) != 0;
}

bool says_card(const TextView& text, size_t start) {
  if (text.column() == NameKind::pan) return true;
  if (!may_say_card(text, start)) return false;
  const auto end = static_cast<ptrdiff_t>(start);
  const auto reach = end - static_cast<ptrdiff_t>(kWordsBackBytes);
  Back back;
  (void)back.read(text, end, reach, [](int c) { return c == '\n'; });
  std::string_view words = back.view();
  // A word that begins before the reach is not known.
  if (back.is_full() && is_letter(text.at(reach - 1))) {
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
