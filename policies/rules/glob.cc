#include "policies/rules/glob.h"

#include <utility>

namespace sluice::policies {

Glob Glob::pattern(std::string text) {
  Glob glob;
  if (text.find_first_not_of('*') == std::string::npos && !text.empty()) {
    glob.form_ = Form::everything;
  } else {
    glob.form_ = text.find_first_of("*?") == std::string::npos ? Form::literal : Form::wildcards;
  }
  glob.text_ = std::move(text);
  return glob;
}

Glob Glob::literal(std::string text) {
  Glob glob;
  glob.form_ = Form::literal;
  glob.text_ = std::move(text);
  return glob;
}

bool Glob::matches(std::string_view text) const {
  if (form_ == Form::everything) return true;
  if (form_ == Form::literal) return text == text_;
  // Greedy with one place to go back to: the last `*` decides, so no recursion and no blow-up with many stars.
  size_t at = 0;
  size_t in = 0;
  size_t star = std::string::npos;
  size_t retry = 0;
  while (in < text.size()) {
    if (at < text_.size() && text_[at] == '*') {
      star = at++;
      retry = in;
    } else if (at < text_.size() && (text_[at] == '?' || text_[at] == text[in])) {
      ++at;
      ++in;
    } else if (star != std::string::npos) {
      at = star + 1;
      in = ++retry;
    } else {
      return false;
    }
  }
  while (at < text_.size() && text_[at] == '*') ++at;
  return at == text_.size();
}

bool Glob::covers(const Glob& other) const {
  if (form_ == Form::everything) return true;
  if (other.form_ == Form::literal) return matches(other.text_);
  return form_ == other.form_ && text_ == other.text_;
}

}  // namespace sluice::policies
