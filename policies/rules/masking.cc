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

// Of several rules, the careful answers.
void add_columns(const MaskRule& rule, std::shared_ptr<ColumnMasks>& all) {
  if (rule.when.columns.empty()) return;
  if (all == nullptr) all = std::make_shared<ColumnMasks>();
  all->patterns.insert(all->patterns.end(), rule.when.columns.begin(), rule.when.columns.end());
  if (rule.untraceable == ColumnMasks::Untraceable::block) all->untraceable = rule.untraceable;
  if (rule.numbers == ColumnMasks::Numbers::null) all->numbers = rule.numbers;
}

}  // namespace

Masking masking_for(const PolicySet& set, const Subject& subject) {
  Masking masking;
  masking.patterns = set.data_patterns();
  std::optional<MaskStyle> certain, possible;
  std::shared_ptr<ColumnMasks> columns;
  const auto stricter = [](std::optional<MaskStyle>& kept, MaskStyle style) {
    if (!kept || strictness(style) > strictness(*kept)) kept = style;
  };
  for (const MaskRule& rule : set.mask_rules()) {
    const Match match = rule.when.match_subject(subject);
    if (match == Match::no) continue;
    masking.data |= rule.set;
    add_columns(rule, columns);
    if (rule.allow_masked_writes && match == Match::yes) masking.refuse_masked_writes = false;
    if (rule.style) stricter(match == Match::yes ? certain : possible, *rule.style);
  }
  masking.columns = std::move(columns);
  if (certain) masking.style = *certain;
  if (possible && strictness(*possible) > strictness(masking.style)) masking.style = *possible;
  return masking;
}

}  // namespace sluice::policies
