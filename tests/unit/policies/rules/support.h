// Builders with names for commands and policies, for the tests of policies/rules.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "policies/rules/decision.h"
#include "policies/rules/facts.h"
#include "policies/rules/policy_set.h"

namespace sluice::policies::testing {

inline StatementFacts statement(std::vector<StatementKind> kinds, std::vector<Relation> relations = {},
                                std::vector<std::string> functions = {}) {
  StatementFacts facts;
  facts.kinds = std::move(kinds);
  facts.relations = std::move(relations);
  facts.functions = std::move(functions);
  facts.kinds_complete = facts.relations_complete = facts.functions_complete = facts.columns_complete = true;
  return facts;
}

inline StatementFacts unreadable() {
  StatementFacts facts;
  facts.kinds = {StatementKind::unknown};
  facts.why_unknown = "syntax error";
  return facts;
}

inline AttestedIdentity alice() {
  AttestedIdentity identity;
  identity.pid = 4711;
  identity.uid = 1000;
  identity.gid = 1000;
  identity.user = "alice";
  identity.group = "staff";
  identity.exe = "/usr/bin/psql";
  identity.exe_sha256 = std::string(64, 'a');
  identity.unit = "billing.service";
  identity.cgroup = "/system.slice/billing.service";
  return identity;
}

inline ClaimedIdentity app_user() {
  return {"app", "shop", "psql"};
}

inline std::string shown(const Problems& problems) {
  std::string text;
  for (const Problem& p : problems) {
    text += p.file + ":" + std::to_string(p.line) + ":" + std::to_string(p.column) + ": " +
            (p.severity == Severity::error ? "error: " : "warning: ") + p.message + " [" + p.hint + "]\n";
  }
  return text;
}

// A policy that has to load; warnings are fine.
inline std::shared_ptr<const PolicySet> policy(const std::string& text) {
  Problems problems;
  std::shared_ptr<const PolicySet> set = parse_policy("version: 1\n" + text, "test.yaml", {}, problems);
  EXPECT_NE(set, nullptr) << shown(problems);
  return set != nullptr ? set : empty_policy_set();
}

// The problems of a text.
inline Problems problems_of(const std::string& text, const std::vector<std::string>& targets = {}) {
  Problems problems;
  const auto set = parse_policy(text, "test.yaml", targets, problems);
  bool errors = false;
  for (const Problem& p : problems) errors = errors || p.severity == Severity::error;
  EXPECT_EQ(set == nullptr, errors) << shown(problems);
  return problems;
}

inline Decision decide(const PolicySet& set, const StatementFacts& facts, const AttestedIdentity& attested = alice(),
                       const ClaimedIdentity& claimed = app_user(), std::string_view target = "payments-db") {
  return evaluate(Command{target, Direction::outbound, "postgres", attested, claimed, facts}, set);
}

}  // namespace sluice::policies::testing
