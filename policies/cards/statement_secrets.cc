#include "policies/cards/statement_secrets.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

namespace sluice::policies {
namespace {

constexpr size_t kDigitsMin = 3, kCodeDigitsMax = 4, kPinDigitsMax = 12;
// What begins a statement that gives values by place.
constexpr std::array<std::string_view, 5> kWriters = {"insert", "values", "merge", "call", "execute"};

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
         static_cast<uint8_t>(c) >= 0x80;
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_writer(std::string_view word) {
  return std::any_of(kWriters.begin(), kWriters.end(), [word](std::string_view writer) {
    return word.size() == writer.size() &&
           std::equal(word.begin(), word.end(), writer.begin(), [](char a, char b) { return (a | 0x20) == b; });
  });
}

// Calls on_word with each run of letters, digits and underscores.
template <typename OnWord>
void each_word(std::string_view text, OnWord on_word) {
  for (size_t at = 0; at < text.size();) {
    if (!is_word(text[at])) {
      ++at;
      continue;
    }
    const size_t start = at;
    while (at < text.size() && is_word(text[at])) ++at;
    on_word(start, text.substr(start, at - start));
  }
}

}  // namespace

NameKind secrets_written_by(const std::string& text, size_t cards) {
  bool writes = false, code = false, maybe = false, pin = false, card = cards > 0;
  each_word(text, [&](size_t, std::string_view word) {
    if (is_digit(word.front())) return;
    writes = writes || is_writer(word);
    const NameKind kind = name_kind(word);
    code = code || kind == NameKind::cvv;
    maybe = maybe || kind == NameKind::code;
    pin = pin || kind == NameKind::pin;
    card = card || kind == NameKind::pan || kind == NameKind::expiry;
  });
  if (!writes) return NameKind::none;
  if (pin) return NameKind::pin;
  return code || (maybe && card) || cards > 0 ? NameKind::code : NameKind::none;
}

size_t mask_written_secrets(std::string& text, NameKind secrets) {
  if (secrets == NameKind::none) return 0;
  const size_t most = secrets == NameKind::pin ? kPinDigitsMax : kCodeDigitsMax;
  size_t masked = 0;
  each_word(text, [&](size_t start, std::string_view word) {
    if (word.size() < kDigitsMin || word.size() > most || !std::all_of(word.begin(), word.end(), is_digit)) return;
    const char before = start > 0 ? text[start - 1] : ' ';
    const char behind = start + word.size() < text.size() ? text[start + word.size()] : ' ';
    // A masked card number's ends, and numbers with a fraction.
    if (before == '*' || behind == '*' || before == '.' || behind == '.') return;
    std::fill_n(text.begin() + static_cast<ptrdiff_t>(start), word.size(), '*');
    ++masked;
  });
  return masked;
}

}  // namespace sluice::policies
