// Any bytes as a policy file: it loads or says why not, and what loads decides, both ways alike.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "policies/rules/decision.h"
#include "policies/rules/policy_set.h"
#include "policies/rules/session_policy.h"
#include "policies/rules/yaml_document.h"

namespace {

using namespace sluice::policies;

void require(bool condition) {
  if (!condition) std::abort();
}

StatementFacts facts_of(size_t variant) {
  StatementFacts facts;
  if (variant == 0) return facts;
  facts.kinds = {variant == 1 ? StatementKind::unknown : StatementKind::select};
  if (variant == 3) facts.kinds.push_back(StatementKind::drop);
  facts.relations = {{variant == 2 ? "" : "public", "cards", Access::read}};
  facts.functions = {"pg_catalog.lower", "a.b.c", "."};
  facts.kinds_complete = facts.relations_complete = facts.functions_complete = variant >= 2;
  return facts;
}

void decide_both_ways(const std::shared_ptr<const PolicySet>& set, const AttestedIdentity& attested) {
  const ClaimedIdentity claimed{"app", "shop", ""};
  const Subject subject{"payments-db", Direction::outbound, "postgres", attested, claimed};
  SessionPolicy session(set, subject, nullptr);
  for (size_t variant = 0; variant < 4; ++variant) {
    const auto facts = std::make_shared<const StatementFacts>(facts_of(variant));
    const Decision slow =
        evaluate(Command{subject.target, subject.direction, subject.protocol, attested, claimed, *facts}, *set);
    require(slow.permit.has_value() == (slow.effect == Effect::allow));
    if (slow.effect == Effect::block) require(!refusal_text(slow, *facts).empty());
    for (int round = 0; round < 2; ++round) {
      const Decision fast = session.decide(facts);
      require(fast.effect == slow.effect && fast.rule == slow.rule && fast.error == slow.error);
      require(fast.permit.has_value() == slow.permit.has_value());
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Problems problems;
  const auto set = parse_policy(text, "fuzz.yaml", {"payments-db"}, problems);
  require((set == nullptr) == has_errors(problems));
  require(problems.size() <= kProblemsMax + 1);
  if (set == nullptr) return 0;
  require(set->version().size() == 64);
  decide_both_ways(set, AttestedIdentity{});
  AttestedIdentity known;
  known.uid = known.gid = 1000;
  known.user = known.group = "alice";
  known.exe = "/usr/bin/psql";
  known.cgroup = "/system.slice/billing.service";
  known.unit = "billing.service";
  decide_both_ways(set, known);
  return 0;
}
