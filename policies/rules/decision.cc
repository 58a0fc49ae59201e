#include "policies/rules/decision.h"

#include <algorithm>
#include <cassert>
#include <exception>
#include <utility>

#include "policies/rules/verdict.h"

namespace sluice::policies {

std::string_view to_string(Effect effect) {
  return effect == Effect::allow ? "allow" : "block";
}

Permit Permit::for_upkeep(Upkeep) {
  return Permit(true);
}

std::vector<Candidate> candidates_for(const PolicySet& set, const Subject& subject) {
  const std::vector<Rule>& rules = set.rules();
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < rules.size(); ++i) {
    const Match match = rules[i].match_subject(subject);
    if (match != Match::no) candidates.push_back({static_cast<uint32_t>(i), match});
  }
  return candidates;
}

Verdict Verdict::of(const PolicySet& set, std::span<const Candidate> candidates, const StatementFacts& facts,
                    std::string& error) {
  StatementMatcher matcher(facts);
  Verdict verdict;
  error = matcher.error();
  if (!error.empty()) return verdict;
  if (matcher.is_transaction_end()) {
    verdict.effect_ = Effect::allow;
    return verdict;
  }
  uint32_t allowed_by = kNone;
  for (const Candidate& candidate : candidates) {
    const Rule& rule = set.rules()[candidate.rule];
    if (rule.effect == Effect::allow && allowed_by != kNone) continue;
    const Match match = std::min(candidate.subject, matcher.match(rule));
    if (!matcher.error().empty()) {
      error = matcher.error();
      return Verdict{};
    }
    if (match == Match::no) continue;
    if (rule.effect == Effect::block) {
      verdict.rule_ = candidate.rule;
      verdict.almost_ = kNone;
      verdict.match_ = match;
      return verdict;
    }
    if (match == Match::yes) {
      allowed_by = candidate.rule;
    } else if (verdict.almost_ == kNone) {
      verdict.almost_ = candidate.rule;
    }
  }
  verdict.rule_ = allowed_by;
  verdict.effect_ = allowed_by != kNone ? Effect::allow : set.default_effect();
  if (verdict.effect_ == Effect::allow) verdict.almost_ = kNone;
  return verdict;
}

Decision Verdict::decision(const PolicySet& set, std::string error) const {
  Decision decision;
  decision.error = std::move(error);
  decision.match = match_;
  if (!decision.error.empty()) return decision;
  decision.effect = effect_;
  if (rule_ != kNone) {
    decision.rule = set.rules()[rule_].name;
    decision.because = set.rules()[rule_].because;
  }
  if (almost_ != kNone) decision.almost = set.rules()[almost_].name;
  if (effect_ == Effect::allow) decision.permit = Permit(false);
  assert(decision.permit.has_value() == (decision.effect == Effect::allow));
  return decision;
}

Decision evaluate(const Command& command, const PolicySet& policies) {
  std::string error;
  Verdict verdict;
  if (command.target.empty()) {
    error = "the command names no target";
    return verdict.decision(policies, std::move(error));
  }
  try {  // allocation is all that can throw here; out of memory refuses the command
    const Subject subject{command.target, command.direction, command.protocol, command.attested, command.claimed};
    verdict = Verdict::of(policies, candidates_for(policies, subject), command.facts, error);
  } catch (const std::exception& exception) {
    verdict = Verdict{};
    error = exception.what();
  }
  return verdict.decision(policies, std::move(error));
}

std::string refusal_text(const Decision& decision, const StatementFacts& facts) {
  assert(decision.effect == Effect::block);
  if (!decision.error.empty()) return "blocked: policy could not be evaluated: " + decision.error;
  const std::string why = facts.why_unknown.empty() ? "what it does cannot be told for certain" : facts.why_unknown;
  if (decision.rule.empty()) {
    std::string text = "blocked: no rule allows this, and the default is block";
    if (!decision.almost.empty()) {
      text += " (rule \"" + std::string(decision.almost) + "\" may, but that is not certain: ";
      text += facts.why_unknown.empty() ? "name relations and functions with their schema" : why;
      text += ")";
    }
    return text;
  }
  std::string text = "blocked by rule \"" + std::string(decision.rule) + "\"";
  if (!decision.because.empty()) text += ": " + std::string(decision.because);
  if (decision.match == Match::maybe) text += " (it may apply: " + why + ")";
  return text;
}

}  // namespace sluice::policies
