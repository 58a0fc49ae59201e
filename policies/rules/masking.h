// What `then: mask` rules say (docs/policy.md, "Masking"): how card numbers are masked, and what else is. They are
// about whole sessions, so that they are decided once for each. Masking itself is on without any rule. Immutable; any
// thread.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "policies/cards/card_scanner.h"
#include "policies/cards/data_patterns.h"
#include "policies/rules/columns.h"
#include "policies/rules/rule.h"

namespace sluice::policies {

class PolicySet;

struct MaskRule {
  Rule when;  // name, place, conditions on the subject alone, and the columns that are masked whole
  std::optional<MaskStyle> style;
  bool allow_masked_writes = false;
  std::vector<DataPattern> data;
  ColumnMasks::Untraceable untraceable = ColumnMasks::Untraceable::mask;
  ColumnMasks::Numbers numbers = ColumnMasks::Numbers::zero;
  DataSet set = 0;  // the same, as bits of the policy set's patterns
};

// What is masked in one session, and how.
struct Masking {
  MaskStyle style = MaskStyle::bin6_last4;
  bool refuse_masked_writes = true;  // of card numbers masked with stars
  DataSet data = 0;
  std::shared_ptr<const ColumnMasks> columns;    // null where no rule for this session names any
  std::shared_ptr<const DataPatterns> patterns;  // null where the policy names none
};

// Of the rules that match, also of those that only may: everything that any of them names, and the strictest style.
// bin8_last4, which shows more than the usual style, takes a rule that matches for certain.
[[nodiscard]] Masking masking_for(const PolicySet& set, const Subject& subject);

}  // namespace sluice::policies
