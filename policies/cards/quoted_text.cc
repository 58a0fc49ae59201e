#include "policies/cards/quoted_text.h"

#include <algorithm>

#include "policies/cards/text_words.h"

namespace sluice::policies::cards {
namespace {

// A mantissa shorter than this, with an exponent, is taken for a measurement and not for a card number.
constexpr size_t kMantissaDigitsMin = 12;

bool is_number_byte(int c) {
  return is_digit(c) || c == '+' || c == '-' || c == '.' || c == 'e' || c == 'E';
}

// Ends a bare token, in JSON, in array literals, and in points and their kin.
bool is_border(int c) {
  switch (c) {
    case TextView::kNone:
    case ',':
    case ':':
    case '{':
    case '}':
    case '[':
    case ']':
    case '(':
    case ')':
    case '<':
    case '>':
    case '"':
    case ' ':
    case '\t':
    case '\r':
    case '\n':
      return true;
    default:
      return false;
  }
}

struct Token {
  size_t start = 0, end = 0;
};

// Walks over text[from, to) and calls on_token for each bare token; stops early where a token reaches `to`, before it.
// Returns where it stopped; `state` is that of the place.
template <typename OnToken>
size_t walk(const TextView& text, size_t from, size_t to, Ending ending, QuoteState& state, OnToken on_token) {
  size_t at = from;
  while (at < to) {
    const uint8_t c = text.data()[at];
    if (state.quoted) {
      if (state.escaped)
        state.escaped = false;
      else if (c == '\\')
        state.escaped = true;
      else if (c == '"')
        state.quoted = false;
      ++at;
      continue;
    }
    if (is_border(c)) {
      state.in_long_token = false;
      state.quoted = c == '"';
      ++at;
      continue;
    }
    const size_t start = at;
    while (at < to && !is_border(text.data()[at])) ++at;
    if (at == to && ending == Ending::more_follows) {
      if (state.in_long_token) return at;
      if (at - start <= kNumberTextBytesMax) return start;
      state.in_long_token = true;
      return at;
    }
    if (!state.in_long_token) on_token(Token{start, at});
    state.in_long_token = false;
  }
  return at;
}

bool is_number(const TextView& text, const Token& token) {
  if (token.end - token.start > kNumberTextBytesMax) return false;
  for (size_t i = token.start; i < token.end; ++i) {
    if (!is_number_byte(text.data()[i])) return false;
  }
  return true;
}

size_t digits_before_exponent(std::span<const uint8_t> token) {
  size_t digits = 0;
  for (uint8_t c : token) {
    if (c == 'e' || c == 'E') break;
    digits += is_digit(c) ? 1 : 0;
  }
  return digits;
}

// A bare number beside another one, with only a blank between: not JSON, not an array. It is masked as text, where both
// are seen.
bool stands_alone(const TextView& text, const Token& token) {
  const auto start = static_cast<ptrdiff_t>(token.start), end = static_cast<ptrdiff_t>(token.end);
  const SeparatorAt before = separator_before(text, start), behind = separator_at(text, end);
  const bool joined_left = before.kind != Separator::none && is_digit_or_mask(text.at(start - before.bytes - 1));
  const bool joined_right = behind.kind != Separator::none && is_digit_or_mask(text.at(end + behind.bytes));
  return !joined_left && !joined_right;
}

// Within quotes, after `":` and before a border: a number in JSON that is itself held in a string.
bool is_nested_number(const TextView& text, const TextFinding& finding) {
  auto before = static_cast<ptrdiff_t>(finding.start) - 1;
  if (text.at(before) == ' ') --before;
  if (text.at(before) != ':' || text.at(before - 1) != '"') return false;
  for (size_t i = finding.start; i < finding.candidate.end; ++i) {
    if (!is_digit(text.data()[i])) return false;
  }
  const int behind = text.at(static_cast<ptrdiff_t>(finding.candidate.end));
  return behind == ',' || behind == '}' || behind == '\\' || behind == '\n';
}

QuotedFinding as_text(const TextView& text, const TextFinding& finding) {
  QuotedFinding out{finding.start,
                    finding.candidate.end - finding.start,
                    finding.candidate.digits,
                    finding.candidate.last_kept,
                    finding.candidate.brand,
                    FindingForm::characters,
                    finding.candidate.tail};
  if (is_nested_number(text, finding)) out.form = FindingForm::decimal;
  return out;
}

}  // namespace

size_t scan_quoted(TextScanner& scanner, const TextView& text, Ending ending, QuoteState& state,
                   std::vector<TextFinding>& scratch, std::vector<QuotedFinding>& found) {
  scratch.clear();
  const size_t decided = scanner.scan(text, ending, scratch);
  // Tokens are walked to the text's end, but what counts is where the last whole one before `decided` ends.
  const Ending walk_ending = decided < text.size() ? Ending::more_follows : ending;
  size_t next = 0;
  const auto take_text_before = [&](size_t end) {
    for (; next < scratch.size() && scratch[next].start < end; ++next) found.push_back(as_text(text, scratch[next]));
  };
  size_t stopped = walk(text, 0, decided, walk_ending, state, [&](const Token& token) {
    if (!is_number(text, token) || !stands_alone(text, token)) return;
    const auto bytes = text.bytes().subspan(token.start, token.end - token.start);
    if (digits_before_exponent(bytes) < kMantissaDigitsMin) return;
    auto number = find_in_number_text(bytes);
    if (!number) {
      number = find_in_number_text(bytes, Said::card);
      if (!number || !says_card(text, token.start)) return;
    }
    if (scanner.is_foreign(text, token.start)) return;
    take_text_before(token.start);
    while (next < scratch.size() && scratch[next].start < token.end) ++next;  // the same digits, seen as text
    found.push_back(
        {token.start + number->offset, number->length, number->digits, 4, number->brand, FindingForm::decimal});
  });
  take_text_before(stopped);
  if (!found.empty() && next > 0 && scratch[next - 1].candidate.end > stopped) {
    // Groups with blanks between them, outside quotes: decided as text, whatever the token that they end in goes on
    // with.
    stopped = scratch[next - 1].candidate.end;
    state.in_long_token = true;
  }
  return stopped;
}

size_t stop_quoted(const TextView& text, size_t at, QuoteState& state) {
  return walk(text, 0, at, Ending::more_follows, state, [](const Token&) {});
}

}  // namespace sluice::policies::cards
