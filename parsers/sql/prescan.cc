#include "parsers/sql/prescan.h"

#include <algorithm>
#include <cassert>
#include <cstdint>

namespace sluice::sql {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}  // \v only from 16 on
bool is_newline(char c) {
  return c == '\n' || c == '\r';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}
bool starts_identifier(char c) {
  return (lower(c) >= 'a' && lower(c) <= 'z') || c == '_' || static_cast<uint8_t>(c) >= 0x80;
}
bool in_tag(char c) {
  return starts_identifier(c) || is_digit(c);
}  // dolq_cont
bool in_identifier(char c) {
  return in_tag(c) || c == '$';
}  // ident_cont

bool is_operator(char c) {
  return std::string_view("~!@#^&|`?+-*/%<>=").find(c) != std::string_view::npos;
}

constexpr size_t kOperatorBytesMax = 63;  // NAMEDATALEN - 1

// How a literal is read: 'plain', E'escapes', or B'bits', in which a doubled quote is an end and a beginning.
enum class Literal : uint8_t { plain, escapes, bits };

class Scanner {
 public:
  Scanner(std::string_view text, Conforming conforming, const PrescanLimits& limits, WordCounts* counts,
          std::string* bare)
      : text_(text), conforming_(conforming), limits_(limits), counts_(counts), bare_(bare) {}

  Prescan run() {
    while (skip_blank() && at_ < text_.size()) {
      if (++out_.tokens > limits_.tokens_max) {
        out_.too_many_tokens = true;
        break;
      }
      token();
      if (out_.too_deep || out_.overlong_operator) break;
    }
    if (out_.has_comments && bare_ != nullptr) bare_->append(text_.substr(kept_));
    return out_;
  }

 private:
  char peek(size_t ahead) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  // Whitespace and comments; false where a comment never ends (the rest of the text is inside it).
  bool skip_blank() {
    while (at_ < text_.size()) {
      if (is_space(text_[at_])) {
        ++at_;
      } else if (peek(0) == '-' && peek(1) == '-') {
        const size_t begin = at_;
        skip_line();
        leave_out(begin);
      } else if (peek(0) == '/' && peek(1) == '*') {
        const size_t begin = at_;
        if (!skip_block()) {
          out_.unterminated = true;
          return false;
        }
        leave_out(begin);
      } else {
        break;
      }
    }
    return true;
  }

  // The comment from `begin` to here becomes a space in the bare text.
  void leave_out(size_t begin) {
    if (bare_ != nullptr) {
      if (!out_.has_comments) bare_->clear();
      bare_->append(text_.substr(kept_, begin - kept_)).push_back(' ');
    }
    out_.has_comments = true;
    kept_ = at_;
  }

  void skip_line() {
    while (at_ < text_.size() && !is_newline(text_[at_])) ++at_;
  }

  bool skip_block() {  // nests
    size_t depth = 0;
    while (at_ < text_.size()) {
      if (peek(0) == '/' && peek(1) == '*') {
        ++depth;
        at_ += 2;
      } else if (peek(0) == '*' && peek(1) == '/') {
        at_ += 2;
        if (--depth == 0) return true;
      } else {
        ++at_;
      }
    }
    return false;
  }

  void token() {
    const char c = text_[at_];
    switch (c) {
      case '\'':
        return quoted(conforming_ == Conforming::yes ? Literal::plain : Literal::escapes);
      case '"':
        return quoted_identifier();
      case '$':
        return dollar();
      case '(':
      case '[':
        if (counts_ != nullptr && c == '(') ++counts_->parentheses;
        ++at_;
        ++brackets_;
        return note_depth();
      case ')':
      case ']':
        ++at_;
        if (brackets_ > 0) --brackets_;
        return;
      case ';':
        ++at_;
        cases_ = 0;
        return;
      default:
        break;
    }
    if (starts_identifier(c)) return word();
    if (is_digit(c)) return number();
    if (c == '.' && peek(1) == '.') {
      at_ += 2;
      return;
    }
    if (c == '.' && is_digit(peek(1))) return fraction();
    // An operator's characters are counted one by one: never fewer tokens than the server's scanner sees.
    if (is_operator(c)) {
      operator_bytes_ = at_ == operator_end_ ? operator_bytes_ + 1 : 1;
      operator_end_ = at_ + 1;
      out_.overlong_operator = operator_bytes_ > kOperatorBytesMax;
    }
    ++at_;
  }

  void digits() {
    while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
  }

  // At a digit, or at a dot before one. Where a number ends matters: in 1e1$$…$$ a quote begins, in e1$$… it does not.
  void number() {
    digits();
    if (peek(0) == '.' && peek(1) != '.') {  // 1..2 is a range
      ++at_;
      digits();
    }
    exponent();
  }

  void fraction() {
    ++at_;
    digits();
    exponent();
  }

  void exponent() {
    if (lower(peek(0)) != 'e') return;
    const size_t sign = peek(1) == '+' || peek(1) == '-' ? 1 : 0;
    if (!is_digit(peek(1 + sign))) return;  // junk after a number, which the server refuses
    at_ += 1 + sign;
    digits();
  }

  void word() {
    // A prefix is glued to its quote: E'…' has escapes, U&'…' and the others (B, X, N) have not.
    const char c = lower(text_[at_]);
    const char next = peek(1);
    if (c == 'e' && next == '\'') {
      ++at_;
      return quoted(Literal::escapes);
    }
    if (c == 'u' && next == '&' && (peek(2) == '\'' || peek(2) == '"')) {
      at_ += 2;
      // U&'…' is refused by the server when standard_conforming_strings is off; either reading ends in an error there.
      return text_[at_] == '"' ? quoted_identifier() : quoted(Literal::plain);
    }
    if ((c == 'b' || c == 'x') && next == '\'') {
      ++at_;
      return quoted(Literal::bits);
    }
    if (c == 'n' && next == '\'') {  // NCHAR, then an ordinary string
      ++at_;
      ++out_.tokens;
      return quoted(conforming_ == Conforming::yes ? Literal::plain : Literal::escapes);
    }
    const size_t begin = at_;
    while (at_ < text_.size() && in_identifier(text_[at_])) ++at_;
    keyword(text_.substr(begin, at_ - begin));
  }

  void keyword(std::string_view name) {
    const auto is = [name](std::string_view word) {
      return name.size() == word.size() &&
             std::equal(name.begin(), name.end(), word.begin(), [](char a, char b) { return lower(a) == b; });
    };
    for (size_t i = 0; counts_ != nullptr && i < kCountedWordCount; ++i) counts_->words[i] += is(kCountedWords[i]);
    if (is("case")) {
      ++cases_;
      note_depth();
    } else if (is("end") && cases_ > 0) {
      --cases_;
    }
  }

  void note_depth() {
    out_.nesting = std::max(out_.nesting, brackets_ + cases_);
    out_.too_deep = out_.nesting > limits_.nesting_max;
  }

  // At the opening quote. Adjacent literals that a newline separates are one literal, read in the first one's mode.
  void quoted(Literal literal) {
    for (;;) {
      ++at_;
      for (;; ++at_) {
        if (at_ >= text_.size()) {
          out_.unterminated = true;
          return;
        }
        if (literal == Literal::escapes && text_[at_] == '\\') {
          ++at_;  // whatever it is, it does not end the literal
        } else if (text_[at_] == '\'') {
          if (peek(1) != '\'' || literal == Literal::bits) break;
          ++at_;
        }
      }
      ++at_;
      const size_t next = continuation();
      if (next == std::string_view::npos) return;
      (void)skip_blank();  // to `next`, leaving the comments out
      assert(at_ == next);
    }
  }

  // Where the next segment's quote is: after whitespace with a newline in it ("--" comments count as whitespace there,
  // block comments do not). npos: the literal is over.
  size_t continuation() const {
    size_t i = at_;
    bool newline = false;
    while (i < text_.size()) {
      if (is_newline(text_[i])) {
        newline = true;
        ++i;
      } else if (is_space(text_[i])) {
        ++i;
      } else if (text_[i] == '-' && i + 1 < text_.size() && text_[i + 1] == '-') {
        while (i < text_.size() && !is_newline(text_[i])) ++i;
      } else {
        break;
      }
    }
    return newline && i < text_.size() && text_[i] == '\'' ? i : std::string_view::npos;
  }

  void quoted_identifier() {
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] != '"') continue;
      if (peek(1) != '"') {
        ++at_;
        return;
      }
      ++at_;
    }
    out_.unterminated = true;
  }

  void dollar() {
    size_t end = at_ + 1;
    if (end < text_.size() && is_digit(text_[end])) {  // $1
      while (end < text_.size() && is_digit(text_[end])) ++end;
      at_ = end;
      return;
    }
    if (end < text_.size() && starts_identifier(text_[end])) {
      while (end < text_.size() && in_tag(text_[end])) ++end;
    }
    if (end >= text_.size() || text_[end] != '$') {  // not a quote: a lone '$', which the grammar refuses
      ++at_;
      return;
    }
    const std::string_view tag = text_.substr(at_, end + 1 - at_);
    const size_t close = text_.find(tag, end + 1);
    if (close == std::string_view::npos) {
      out_.unterminated = true;
      at_ = text_.size();
      return;
    }
    at_ = close + tag.size();
  }

  std::string_view text_;
  Conforming conforming_;
  PrescanLimits limits_;
  WordCounts* counts_;
  std::string* bare_;
  size_t kept_ = 0;  // what lies before is in *bare_ already
  size_t operator_end_ = static_cast<size_t>(-1);
  size_t operator_bytes_ = 0;
  size_t at_ = 0;
  size_t brackets_ = 0;
  size_t cases_ = 0;
  Prescan out_;
};

}  // namespace

Prescan prescan(std::string_view text, Conforming conforming, const PrescanLimits& limits, std::string& bare) {
  return Scanner(text, conforming, limits, nullptr, &bare).run();
}

void count_words(std::string_view text, Conforming conforming, WordCounts& counts) {
  constexpr size_t kNoLimit = static_cast<size_t>(-1);  // the text was bounded before
  (void)Scanner(text, conforming, {kNoLimit, kNoLimit}, &counts, nullptr).run();
}

}  // namespace sluice::sql
