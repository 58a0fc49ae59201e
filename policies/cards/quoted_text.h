// Text with quotes and bare numbers: JSON, and PostgreSQL's array literals. In quotes a card number is masked as
// characters; a bare number must stay a number. One walker serves both: they share quotes, backslashes and what may
// stand beside a number. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "policies/cards/numbers.h"
#include "policies/cards/text_scanner.h"

namespace sluice::policies::cards {

// Where the walker stands between two parts of a value.
struct QuoteState {
  bool quoted = false;
  bool escaped = false;        // the byte before was a backslash within quotes
  bool in_long_token = false;  // within a bare token that is too long for a number
};

struct QuotedFinding {
  size_t offset = 0, length = 0;
  uint8_t digits = 0, last_kept = 4;
  Brand brand = Brand::visa;
  FindingForm form = FindingForm::characters;
  uint8_t tail = 0;
};

// Appends what is found, in order, moves `state` on and returns how many bytes are decided, as TextScanner::scan does.
// `scratch` is working memory that the caller keeps.
size_t scan_quoted(TextScanner& scanner, const TextView& text, Ending ending, QuoteState& state,
                   std::vector<TextFinding>& scratch, std::vector<QuotedFinding>& found);

// Where the walk over the text's quotes may stop at or before `at`; moves `state` on to there.
[[nodiscard]] size_t stop_quoted(const TextView& text, size_t at, QuoteState& state);

}  // namespace sluice::policies::cards
