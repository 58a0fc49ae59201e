#include "policies/rules/rule_review.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "policies/rules/field_reader.h"

namespace sluice::policies {
namespace {

void report(const Rule& rule, Severity severity, std::string message, std::string hint, Problems& problems) {
  add_problem(problems, Problem{rule.file, rule.line, rule.column, severity, std::move(message), std::move(hint)});
}

std::string place(const Rule& rule) {
  return rule.file + ":" + std::to_string(rule.line);
}

void review_names(const RuleSource& source, Problems& problems) {
  std::unordered_map<std::string_view, const Rule*> seen;
  std::vector<const Rule*> rules;
  for (const Rule& rule : source.rules) rules.push_back(&rule);
  for (const MaskRule& rule : source.mask_rules) rules.push_back(&rule.when);
  for (const Rule* each : rules) {
    const Rule& rule = *each;
    if (rule.name.empty()) continue;  // reported already
    const auto [first, is_new] = seen.emplace(rule.name, &rule);
    if (!is_new) {
      report(rule, Severity::error, "a second rule is named `" + rule.name + "`",
             "the first is at " + place(*first->second), problems);
    }
  }
}

void review_targets(const Rule& rule, const std::vector<std::string>& target_names, Problems& problems) {
  if (target_names.empty()) return;
  for (const Glob& target : rule.targets) {
    const bool found =
        std::any_of(target_names.begin(), target_names.end(), [&](const std::string& n) { return target.matches(n); });
    if (!found) {
      report(rule, Severity::warning, "rule `" + rule.name + "`: no target is named `" + target.text() + "`",
             did_you_mean(target.text(), std::span(target_names)), problems);
    }
  }
}

void review_effect(const Rule& rule, Effect default_effect, Problems& problems) {
  constexpr KindMask kEnds = kind_bit(StatementKind::commit) | kind_bit(StatementKind::rollback);
  if (rule.effect == Effect::block && rule.kinds != 0 && (rule.kinds & ~kEnds) == 0) {
    report(rule, Severity::warning,
           "rule `" + rule.name + "` blocks hardly anything: COMMIT and ROLLBACK alone are never blocked",
           "blocking them would strand the session in its transaction", problems);
  }
  if (rule.effect == Effect::allow && default_effect == Effect::allow) {
    report(rule, Severity::warning, "rule `" + rule.name + "` changes nothing: what it allows is allowed by default",
           "it is no exception from a block rule, because block beats allow; narrow the block rule, or say `default: "
           "block`",
           problems);
  }
}

// A rule that another one leaves nothing to decide.
void review_shadows(const std::vector<Rule>& rules, Problems& problems) {
  for (size_t i = 0; i < rules.size(); ++i) {
    for (size_t j = 0; j < rules.size(); ++j) {
      const bool beats = rules[j].effect == Effect::block && rules[i].effect == Effect::allow;
      const bool comes_first = rules[j].effect == rules[i].effect && j < i;
      if (i == j || !(beats || comes_first) || !rules[j].covers(rules[i])) continue;
      report(rules[i], Severity::warning,
             "rule `" + rules[i].name + "` never decides: `" + rules[j].name + "` (" + place(rules[j]) +
                 ") matches all that it matches",
             beats ? "block beats allow" : "", problems);
      break;
    }
  }
}

}  // namespace

void review_rules(const RuleSource& source, const std::vector<std::string>& target_names, Problems& problems) {
  const Effect default_effect = source.stated_default ? source.stated_default->effect : Effect::allow;
  review_names(source, problems);
  if (has_errors(problems)) return;  // half a rule is not worth advice
  for (const Rule& rule : source.rules) {
    review_targets(rule, target_names, problems);
    review_effect(rule, default_effect, problems);
  }
  for (const MaskRule& rule : source.mask_rules) review_targets(rule.when, target_names, problems);
  if (source.rules.size() <= kReviewedRulesMax) {
    review_shadows(source.rules, problems);
  } else {
    report(source.rules.back(), Severity::warning,
           "more than " + std::to_string(kReviewedRulesMax) + " rules: not checked for rules that never decide", "",
           problems);
  }
}

}  // namespace sluice::policies
