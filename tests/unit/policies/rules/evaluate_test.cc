// What rules match and what they decide: three-valued matching, block beats allow, unknown is never harmless.
#include "policies/rules/decision.h"

#include <gtest/gtest.h>

#include "policies/rules/rule.h"
#include "tests/unit/policies/rules/support.h"

namespace sluice::policies::testing {
namespace {

using Kind = StatementKind;

std::string when(const std::string& conditions, const std::string& effect, const std::string& default_effect) {
  return "default: " + default_effect + "\nrules:\n  - name: r\n    when: {" + conditions + "}\n    then: " + effect +
         "\n    because: why\n";
}
bool blocks(const std::string& conditions, const StatementFacts& facts, const AttestedIdentity& attested = alice(),
            const ClaimedIdentity& claimed = app_user()) {
  return decide(*policy(when(conditions, "block", "allow")), facts, attested, claimed).effect == Effect::block;
}
bool allows(const std::string& conditions, const StatementFacts& facts, const AttestedIdentity& attested = alice(),
            const ClaimedIdentity& claimed = app_user()) {
  return decide(*policy(when(conditions, "allow", "block")), facts, attested, claimed).effect == Effect::allow;
}

const Relation kCards{"public", "cards", Access::read};
const Relation kBareCards{"", "cards", Access::read};
const Relation kOrders{"public", "orders", Access::read};

TEST(Evaluate, DefaultBlockWithoutRulesBlocksEverything) {  // PCI DSS 7.3.3
  const auto set = policy("default: block\n");
  for (size_t i = 0; i < kStatementKindCount; ++i) {
    const auto kind = static_cast<Kind>(i);
    if (kind == Kind::commit || kind == Kind::rollback) continue;
    const Decision decision = decide(*set, statement({kind}));
    EXPECT_EQ(decision.effect, Effect::block) << to_string(kind);
    EXPECT_FALSE(decision.permit.has_value());
    EXPECT_TRUE(decision.rule.empty());
  }
  EXPECT_EQ(decide(*set, unreadable()).effect, Effect::block);
  EXPECT_EQ(decide(*set, StatementFacts{}).effect, Effect::block);
}

TEST(Evaluate, NoPolicyAllowsAndGivesAPermit) {
  const auto set = empty_policy_set();
  const Decision decision = decide(*set, unreadable());
  EXPECT_EQ(decision.effect, Effect::allow);
  ASSERT_TRUE(decision.permit.has_value());
  EXPECT_FALSE(decision.permit->is_upkeep());
  EXPECT_TRUE(Permit::for_upkeep(Upkeep::sync).is_upkeep());
}

TEST(Evaluate, BlockBeatsAllowInWhicheverOrder) {
  const std::string allow = "  - {name: yes, when: {target: \"*\"}, then: allow}\n";
  const std::string block = "  - {name: no, when: {statement: drop}, then: block, because: migrations only}\n";
  for (const std::string& rules : {allow + block, block + allow}) {
    const auto set = policy("default: block\nrules:\n" + rules);
    const Decision dropped = decide(*set, statement({Kind::drop}));
    EXPECT_EQ(dropped.effect, Effect::block);
    EXPECT_EQ(dropped.rule, "no");
    EXPECT_EQ(dropped.because, "migrations only");
    EXPECT_EQ(dropped.match, Match::yes);
    const Decision selected = decide(*set, statement({Kind::select}));
    EXPECT_EQ(selected.effect, Effect::allow);
    EXPECT_EQ(selected.rule, "yes");
  }
}

TEST(Evaluate, TransactionEndsAreNeverBlocked) {
  const auto set = policy("default: block\nrules:\n  - {name: all, when: {target: \"*\"}, then: block, because: x}\n");
  for (const auto& kinds :
       {std::vector{Kind::commit}, std::vector{Kind::rollback}, std::vector{Kind::rollback, Kind::commit}}) {
    const Decision decision = decide(*set, statement(kinds));
    EXPECT_EQ(decision.effect, Effect::allow);
    EXPECT_TRUE(decision.rule.empty());
    EXPECT_TRUE(decision.permit.has_value());
  }
  EXPECT_EQ(decide(*set, statement({Kind::rollback, Kind::drop})).effect, Effect::block);
  EXPECT_EQ(decide(*set, statement({Kind::rollback, Kind::unknown})).effect, Effect::block);
  EXPECT_EQ(decide(*set, statement({Kind::savepoint})).effect, Effect::block);
  EXPECT_EQ(decide(*set, statement({Kind::begin})).effect, Effect::block);
  StatementFacts unsure = statement({Kind::rollback});
  unsure.kinds_complete = false;
  EXPECT_EQ(decide(*set, unsure).effect, Effect::block);
}

TEST(Evaluate, StatementBlockTakesAnyKindAllowTakesAll) {
  EXPECT_TRUE(blocks("statement: [drop, truncate]", statement({Kind::select, Kind::drop})));
  EXPECT_FALSE(blocks("statement: [drop, truncate]", statement({Kind::select})));
  EXPECT_TRUE(blocks("statement: delete", statement({Kind::explain, Kind::delete_})));
  EXPECT_TRUE(allows("statement: select", statement({Kind::select})));
  EXPECT_FALSE(allows("statement: select", statement({Kind::select, Kind::drop})));
  EXPECT_TRUE(allows("statement: [select, insert]", statement({Kind::insert, Kind::select})));
  EXPECT_FALSE(allows("statement: select", statement({})));
}

TEST(Evaluate, IncompleteKindsMayBeAnything) {
  StatementFacts facts = statement({Kind::select});
  facts.kinds_complete = false;
  EXPECT_TRUE(blocks("statement: drop", facts));
  EXPECT_EQ(decide(*policy(when("statement: drop", "block", "allow")), facts).match, Match::maybe);
  EXPECT_FALSE(allows("statement: select", facts));
  EXPECT_TRUE(allows("statement: [select, unknown]", facts));
  EXPECT_TRUE(allows("target: \"*\"", facts));
}

TEST(Evaluate, UnreadableTextSatisfiesEveryBlockRuleAndNoAllowRule) {
  EXPECT_TRUE(blocks("statement: drop", unreadable()));
  EXPECT_TRUE(blocks("tables: [public.cards]", unreadable()));
  EXPECT_TRUE(blocks("functions: [pg_read_file]", unreadable()));
  EXPECT_TRUE(blocks("statement: unknown", unreadable()));
  EXPECT_FALSE(blocks("statement: drop, target: other-db", unreadable()));
  EXPECT_FALSE(blocks("statement: drop, identity: {user: bob}", unreadable()));
  EXPECT_FALSE(allows("target: \"*\"", unreadable()));
  EXPECT_FALSE(allows("statement: select", unreadable()));
  EXPECT_TRUE(allows("statement: unknown", unreadable()));
  EXPECT_FALSE(allows("statement: unknown, tables: [public.cards]", unreadable()));
  EXPECT_FALSE(allows("target: \"*\"", StatementFacts{}));  // nothing known at all
  EXPECT_TRUE(blocks("statement: drop", StatementFacts{}));
}

TEST(Evaluate, BlockRuleNamingUnknownLeavesReadableTextAlone) {
  EXPECT_FALSE(blocks("statement: unknown", statement({Kind::select})));
}

TEST(Evaluate, TablesBlockTakesAnyAllowTakesAll) {
  const StatementFacts both = statement({Kind::select}, {kOrders, kCards});
  EXPECT_TRUE(blocks("tables: public.cards", both));
  EXPECT_FALSE(blocks("tables: public.cards", statement({Kind::select}, {kOrders})));
  EXPECT_FALSE(allows("tables: public.orders", both));
  EXPECT_TRUE(allows("tables: [public.orders, public.cards]", both));
  EXPECT_TRUE(allows("tables: \"public.*\"", both));
  EXPECT_FALSE(allows("tables: \"public.*\"", statement({Kind::select})));  // names no table at all
  EXPECT_FALSE(blocks("tables: \"*\"", statement({Kind::select})));
}

TEST(Evaluate, UnqualifiedNamesMayBeInAnySchema) {
  const StatementFacts bare = statement({Kind::select}, {kBareCards});
  EXPECT_TRUE(blocks("tables: public.cards", bare));
  EXPECT_FALSE(blocks("tables: public.orders", bare));
  EXPECT_FALSE(allows("tables: public.cards", bare));
  EXPECT_TRUE(allows("tables: cards", bare));
  EXPECT_TRUE(allows("tables: \"*.cards\"", bare));
  EXPECT_TRUE(allows("tables: cards", statement({Kind::select}, {kCards})));
  EXPECT_TRUE(blocks("tables: cards", statement({Kind::select}, {{"archive", "cards"}})));
  EXPECT_FALSE(blocks("tables: public.cards", statement({Kind::select}, {{"archive", "cards"}})));
  EXPECT_TRUE(blocks("tables: \"public.card?\"", statement({Kind::select}, {kCards})));
}

TEST(Evaluate, IncompleteTablesMayBeAnyAndAllowNothing) {
  StatementFacts facts = statement({Kind::select}, {kOrders});
  facts.relations_complete = false;
  EXPECT_TRUE(blocks("tables: public.cards", facts));
  EXPECT_FALSE(allows("tables: public.orders", facts));
  EXPECT_TRUE(allows("statement: select", facts));
}

TEST(Evaluate, NamesAreComparedExactlyAndQuotedPatternsLiterally) {
  EXPECT_FALSE(blocks("tables: public.cards", statement({Kind::select}, {{"public", "Cards"}})));
  EXPECT_TRUE(blocks("tables: 'public.\"Cards\"'", statement({Kind::select}, {{"public", "Cards"}})));
  EXPECT_TRUE(blocks("tables: '\"a.b\".\"c*\"'", statement({Kind::select}, {{"a.b", "c*"}})));
  EXPECT_FALSE(blocks("tables: '\"a.b\".\"c*\"'", statement({Kind::select}, {{"a.b", "cd"}})));
  EXPECT_TRUE(blocks("tables: '\"say \"\"x\"\"\"'", statement({Kind::select}, {{"public", "say \"x\""}})));
}

TEST(Evaluate, Functions) {
  const auto calls = [](std::vector<std::string> functions) {
    return statement({Kind::select}, {}, std::move(functions));
  };
  EXPECT_TRUE(blocks("functions: pg_read_file", calls({"lower", "pg_read_file"})));
  EXPECT_TRUE(blocks("functions: pg_read_file", calls({"pg_catalog.pg_read_file"})));
  EXPECT_TRUE(blocks("functions: pg_catalog.pg_read_file", calls({"pg_read_file"})));
  EXPECT_FALSE(blocks("functions: pg_catalog.pg_read_file", calls({"mine.pg_read_file"})));
  EXPECT_FALSE(blocks("functions: \"pg_*\"", calls({"lower"})));
  EXPECT_TRUE(blocks("functions: f", calls({"a.b.f"})));  // schema "a.b" or function "b.f": may be
  EXPECT_TRUE(allows("functions: [lower, upper]", calls({"lower"})));
  EXPECT_FALSE(allows("functions: [lower, upper]", calls({"lower", "dblink"})));
  EXPECT_FALSE(allows("functions: [pg_catalog.lower]", calls({"lower"})));
  EXPECT_FALSE(allows("functions: [lower]", calls({})));
  EXPECT_FALSE(allows("functions: f", calls({"a.b.f"})));
  StatementFacts unsure = calls({"lower"});
  unsure.functions_complete = false;
  EXPECT_FALSE(allows("functions: lower", unsure));
  EXPECT_TRUE(blocks("functions: dblink", unsure));
}

TEST(Evaluate, TargetDirectionProtocol) {
  const StatementFacts facts = statement({Kind::select});
  EXPECT_TRUE(blocks("target: \"payments-*\"", facts));
  EXPECT_TRUE(blocks("target: [other, payments-db]", facts));
  EXPECT_FALSE(blocks("target: payments", facts));
  EXPECT_TRUE(blocks("direction: outbound", facts));
  EXPECT_TRUE(blocks("protocol: postgres", facts));
  const auto set = policy(when("direction: outbound", "block", "allow"));
  const Command inbound{"payments-db", Direction::inbound, "postgres", alice(), app_user(), facts};
  EXPECT_EQ(evaluate(inbound, *set).effect, Effect::allow);
  const auto postgres_only = policy(when("protocol: postgres", "block", "allow"));
  const Command other{"payments-db", Direction::outbound, "mysql", alice(), app_user(), facts};
  EXPECT_EQ(evaluate(other, *postgres_only).effect, Effect::allow);
}

TEST(Evaluate, IdentityKeysMatchAndAllOfThemHaveTo) {
  const StatementFacts facts = statement({Kind::select});
  const char* matching[] = {"user: alice",
                            "user: [bob, \"al*\"]",
                            "uid: 1000",
                            "uid: [0, 1000]",
                            "group: staff",
                            "gid: 1000",
                            "exe: /usr/bin/psql",
                            "exe: \"*/psql\"",
                            "unit: billing.service",
                            "unit: \"bill*\"",
                            "cgroup: \"/system.slice/*\"",
                            "db_user: app",
                            "application: psql",
                            "user: alice, uid: 1000"};
  for (const char* condition : matching) {
    EXPECT_TRUE(blocks(std::string("identity: {") + condition + "}", facts)) << condition;
    EXPECT_TRUE(allows(std::string("identity: {") + condition + "}", facts)) << condition;
  }
  const char* others[] = {"user: bob",          "uid: 0",
                          "group: wheel",       "gid: 0",
                          "exe: /usr/bin/psq",  "unit: other.service",
                          "container: \"*x\"",  "cgroup: \"/user.slice/*\"",
                          "db_user: root",      "application: pgadmin",
                          "user: alice, uid: 0"};
  for (const char* condition : others) {
    EXPECT_FALSE(blocks(std::string("identity: {") + condition + "}", facts)) << condition;
    EXPECT_FALSE(allows(std::string("identity: {") + condition + "}", facts)) << condition;
  }
  const std::string hash(64, 'a');
  EXPECT_TRUE(allows("identity: {exe_sha256: " + hash + "}", facts));
  EXPECT_FALSE(allows("identity: {exe_sha256: " + std::string(64, 'b') + "}", facts));
}

TEST(Evaluate, UnresolvedIdentityIsBlockedAndNeverAllowed) {
  const StatementFacts facts = statement({Kind::select});
  const AttestedIdentity nobody;
  const char* conditions[] = {"user: bob", "uid: 7",          "group: g",     "gid: 7",
                              "exe: /x",   "unit: x.service", "container: c", "cgroup: /x"};
  for (const char* condition : conditions) {
    EXPECT_TRUE(blocks(std::string("identity: {") + condition + "}", facts, nobody)) << condition;
    EXPECT_FALSE(allows(std::string("identity: {") + condition + "}", facts, nobody)) << condition;
  }
  EXPECT_FALSE(allows("identity: {user: \"*\"}", facts, nobody));
  // One fact that certainly differs is enough for no.
  AttestedIdentity partly;
  partly.uid = 1000;
  EXPECT_FALSE(blocks("identity: {uid: 0, exe: /x}", facts, partly));
}

TEST(Evaluate, KnownCgroupWithoutUnitOrContainerIsNeither) {
  AttestedIdentity login = alice();
  login.unit.clear();
  login.container.clear();
  login.cgroup = "/";
  EXPECT_FALSE(blocks("identity: {unit: x.service}", statement({Kind::select}), login));
  EXPECT_FALSE(blocks("identity: {container: abc}", statement({Kind::select}), login));
  EXPECT_FALSE(allows("identity: {unit: x.service}", statement({Kind::select}), login));
}

TEST(Evaluate, ClaimsThatWereNotMade) {
  const StatementFacts facts = statement({Kind::select});
  EXPECT_TRUE(blocks("identity: {db_user: root}", facts, alice(), {}));  // not known yet
  EXPECT_FALSE(blocks("identity: {application: psql}", facts, alice(), {"app", "shop", ""}));
  EXPECT_FALSE(allows("identity: {application: psql}", facts, alice(), {"app", "shop", ""}));
}

TEST(Evaluate, AlmostNamesTheAllowRuleThatWasNotCertain) {
  const auto set = policy(when("tables: public.cards", "allow", "block"));
  const StatementFacts facts = statement({Kind::select}, {kBareCards});
  const Decision decision = decide(*set, facts);
  EXPECT_EQ(decision.effect, Effect::block);
  EXPECT_EQ(decision.almost, "r");
  EXPECT_EQ(refusal_text(decision, facts),
            "blocked: no rule allows this, and the default is block (rule \"r\" may, but that is not certain: "
            "name relations and functions with their schema)");
}

TEST(Evaluate, RefusalTexts) {
  const auto set = policy(when("statement: drop", "block", "allow"));
  EXPECT_EQ(refusal_text(decide(*set, statement({Kind::drop})), statement({Kind::drop})), "blocked by rule \"r\": why");
  EXPECT_EQ(refusal_text(decide(*set, unreadable()), unreadable()),
            "blocked by rule \"r\": why (it may apply: syntax error)");
  const auto closed = policy("default: block\n");
  EXPECT_EQ(refusal_text(decide(*closed, statement({Kind::drop})), statement({Kind::drop})),
            "blocked: no rule allows this, and the default is block");
}

TEST(Evaluate, ErrorsBlock) {
  const auto set = empty_policy_set();
  const Decision bad_kind = decide(*set, statement({static_cast<Kind>(77)}));
  EXPECT_EQ(bad_kind.effect, Effect::block);
  EXPECT_FALSE(bad_kind.error.empty());
  EXPECT_FALSE(bad_kind.permit.has_value());
  EXPECT_EQ(decide(*set, statement({Kind::select}), alice(), app_user(), "").effect, Effect::block);
  const Decision long_name = decide(*set, statement({Kind::select}, {{"", std::string(kFactBytesMax + 1, 'x')}}));
  EXPECT_EQ(long_name.effect, Effect::block);
  EXPECT_NE(long_name.error.find("longer than"), std::string::npos);
  EXPECT_NE(refusal_text(long_name, {}).find("could not be evaluated"), std::string::npos);
}

TEST(Evaluate, WorkIsBoundedAndBlocksBeyond) {
  std::string text = "rules:\n";
  for (int i = 0; i < 500; ++i)
    text += "  - {name: r" + std::to_string(i) + ", when: {tables: \"a.x" + std::to_string(i) +
            "\"}, then: block, because: b}\n";
  const auto set = policy(text);
  StatementFacts facts = statement({Kind::select});
  for (int i = 0; i < 10'000; ++i) facts.relations.push_back({"public", "t" + std::to_string(i)});
  const Decision decision = decide(*set, facts);
  EXPECT_EQ(decision.effect, Effect::block);
  EXPECT_NE(decision.error.find("too much"), std::string::npos);
  facts.relations.resize(1'000);
  EXPECT_EQ(decide(*set, facts).effect, Effect::allow);
}

TEST(Facts, WordsAreThereAndBack) {
  for (size_t i = 0; i < kStatementKindCount; ++i) {
    StatementKind kind = Kind::other;
    ASSERT_TRUE(parse_statement_kind(to_string(static_cast<Kind>(i)), kind));
    EXPECT_EQ(static_cast<size_t>(kind), i);
  }
  StatementKind kind = Kind::listen;
  EXPECT_FALSE(parse_statement_kind("delete_", kind));
  EXPECT_FALSE(parse_statement_kind("", kind));
  EXPECT_EQ(kind, Kind::listen);
  EXPECT_EQ(to_string(Kind::delete_), "delete");
  EXPECT_EQ(to_string(Kind::do_), "do");
  EXPECT_EQ(to_string(Kind::notify), "notify");
  EXPECT_EQ(to_string(Kind::vacuum), "vacuum");
}

}  // namespace
}  // namespace sluice::policies::testing
