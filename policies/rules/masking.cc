#include "policies/rules/masking.h"

#include <algorithm>

#include "policies/rules/policy_set.h"

namespace sluice::policies {
namespace {

// How much a style hides.
int strictness(MaskStyle style) {
  switch (style) {
    case MaskStyle::bin8_last4:
      return 0;
    case MaskStyle::bin6_last4:
      return 1;
    case MaskStyle::last4:
      return 2;
    case MaskStyle::full:
      return 3;
  }
  return 3;
}

}  // namespace

Masking masking_for(const PolicySet& set, const Subject& subject) {
  Masking masking;
  masking.patterns = set.data_patterns();
  std::optional<MaskStyle> certain, possible;
  const auto stricter = [](std::optional<MaskStyle>& kept, MaskStyle style) {
    if (!kept || strictness(style) > strictness(*kept)) kept = style;
  };
  for (const MaskRule& rule : set.mask_rules()) {
    const Match match = rule.when.match_subject(subject);
    if (match == Match::no) continue;
    masking.data |= rule.set;
    if (rule.allow_masked_writes && match == Match::yes) masking.refuse_masked_writes = false;
    if (rule.style) stricter(match == Match::yes ? certain : possible, *rule.style);
  }
  if (certain) masking.style = *certain;
  if (possible && strictness(*possible) > strictness(masking.style)) masking.style = *possible;
  return masking;
}

}  // namespace sluice::policies
