// What is valid but hardly meant: rules that cannot take effect, names that do not exist, names used twice (the one
// error here). Threading: none. Limits: pairs of rules are compared only up to kReviewedRulesMax rules; beyond, a
// warning says that they were not.
#pragma once

#include <string>
#include <vector>

#include "policies/rules/problem.h"
#include "policies/rules/rule_parser.h"

namespace sluice::policies {

inline constexpr size_t kReviewedRulesMax = 1'000;

// `target_names` empty: not known, and not checked.
void review_rules(const RuleSource& source, const std::vector<std::string>& target_names, Problems& problems);

}  // namespace sluice::policies
