// What the looks for hidden card numbers (hidden_text.h, encoded_runs.h) answer with. Plain data.
#pragma once

#include <cstddef>

#include "policies/cards/candidate.h"
#include "policies/cards/value.h"

namespace sluice::policies::cards {

struct HiddenFinding {
  size_t start = 0, end = 0;
  Candidate candidate;
  FindingForm form = FindingForm::hidden;
};

// A stretch of a part within which it must not be cut: what is there belongs together.
struct Unsettled {
  size_t start = 0, end = 0;
};

// What goes on for longer than this is cut all the same, with what was before it kept as classes.
inline constexpr size_t kHeldRunBytesMax = 1024;
// Of a run that goes on, a card number that starts before the last so many characters is decided: itself, another one
// that starts in its last digits, and the context behind that; all separators are of one byte here.
inline constexpr size_t kShownReach = 2 * (19 + 18) + 46;

}  // namespace sluice::policies::cards
