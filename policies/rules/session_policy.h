// Policy for the commands of one session, fast: the rules that can apply to its target and identity are found once, and
// what was decided about a statement is remembered. Same answers as evaluate().
//
//   PolicyCache cache;                                     // one per worker, shared by its sessions
//   SessionPolicy policy(set, subject, &cache);            // at the start, and again after a reload or a changed claim
//   Decision decision = policy.decide(statement_facts);    // shared_ptr<const StatementFacts>, as the statement cache
//   holds it
//
// Lifetime: a SessionPolicy keeps its policy set alive; the views in its Decisions live as long as that set.
// Threading: a PolicyCache and all SessionPolicies made with it belong to one thread.
// Limits: kRememberedMax decisions per subject, kSubjectsMax subjects per cache. Statements are remembered by weak
// reference: they are not kept alive, and a new one at an old address is never taken for the old one.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "policies/rules/decision.h"
#include "policies/rules/facts.h"
#include "policies/rules/policy_set.h"
#include "policies/rules/rule.h"

namespace sluice::policies {

inline constexpr size_t kRememberedMax = 1'024;  // about 40 bytes each
inline constexpr size_t kSubjectsMax = 512;

class SubjectPolicy;

class PolicyCache {
 public:
  PolicyCache();
  ~PolicyCache();
  PolicyCache(const PolicyCache&) = delete;
  PolicyCache& operator=(const PolicyCache&) = delete;

  [[nodiscard]] std::shared_ptr<SubjectPolicy> subject(const std::shared_ptr<const PolicySet>& set,
                                                       const Subject& subject);

 private:
  std::shared_ptr<const PolicySet> set_;
  std::unordered_map<std::string, std::shared_ptr<SubjectPolicy>> subjects_;
};

class SessionPolicy {
 public:
  // `cache` may be null: nothing is then shared with other sessions. It is used by the constructor alone.
  SessionPolicy(std::shared_ptr<const PolicySet> set, const Subject& subject, PolicyCache* cache);

  [[nodiscard]] Decision decide(const std::shared_ptr<const StatementFacts>& facts);
  // For what is not a cached statement (a function call by number, an unknown name). Not remembered.
  [[nodiscard]] Decision decide(const StatementFacts& facts) const;

  [[nodiscard]] const std::shared_ptr<const PolicySet>& set() const;

 private:
  std::shared_ptr<SubjectPolicy> subject_;
};

}  // namespace sluice::policies
