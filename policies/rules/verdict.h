// What evaluation found: the rule that decides, by its place in the policy set. Small, so that it can be cached; it
// becomes a Decision (and with it a Permit) against the set that it was made from, and nowhere else. Threading: a
// value.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "policies/rules/decision.h"
#include "policies/rules/policy_set.h"
#include "policies/rules/rule.h"

namespace sluice::policies {

// A rule that can apply to a subject, and how surely.
struct Candidate {
  uint32_t rule = 0;  // index into PolicySet::rules()
  Match subject = Match::no;
};

class Verdict {
 public:
  Verdict() = default;  // blocks

  // Of the rules of `set` that `candidates` names. `error` says why evaluation failed (the verdict then blocks); empty
  // otherwise.
  [[nodiscard]] static Verdict of(const PolicySet& set, std::span<const Candidate> candidates,
                                  const StatementFacts& facts, std::string& error);
  // REQUIRES: `set` is the one it was made from.
  [[nodiscard]] Decision decision(const PolicySet& set, std::string error = {}) const;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  uint32_t rule_ = kNone;
  uint32_t almost_ = kNone;
  Effect effect_ = Effect::block;
  Match match_ = Match::yes;
};

// The rules of `set` that can apply to `subject`.
[[nodiscard]] std::vector<Candidate> candidates_for(const PolicySet& set, const Subject& subject);

}  // namespace sluice::policies
