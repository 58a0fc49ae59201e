// The fast way gives the same decisions as evaluate(), and what it remembers is never taken for something else.
#include "policies/rules/session_policy.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/policies/rules/support.h"

namespace sluice::policies::testing {
namespace {

using Kind = StatementKind;

std::shared_ptr<const StatementFacts> shared(StatementFacts facts) {
  return std::make_shared<const StatementFacts>(std::move(facts));
}

struct Fixture {
  AttestedIdentity attested = alice();
  ClaimedIdentity claimed = app_user();
  std::string target = "payments-db";
  Subject subject() const { return {target, Direction::outbound, "postgres", attested, claimed}; }
};

std::shared_ptr<const PolicySet> drop_is_blocked() {
  return policy("rules:\n  - {name: no-drop, when: {statement: drop}, then: block, because: b}\n");
}

TEST(SessionPolicy, RemembersAndAnswersTheSame) {
  const Fixture f;
  SessionPolicy session(drop_is_blocked(), f.subject(), nullptr);
  const auto drop = shared(statement({Kind::drop}));
  const auto select = shared(statement({Kind::select}));
  for (int i = 0; i < 3; ++i) {
    const Decision blocked = session.decide(drop);
    EXPECT_EQ(blocked.effect, Effect::block);
    EXPECT_EQ(blocked.rule, "no-drop");
    EXPECT_FALSE(blocked.permit.has_value());
    const Decision allowed = session.decide(select);
    EXPECT_EQ(allowed.effect, Effect::allow);
    ASSERT_TRUE(allowed.permit.has_value());
    EXPECT_FALSE(allowed.permit->is_upkeep());
  }
  EXPECT_EQ(session.decide(*drop).effect, Effect::block);
}

TEST(SessionPolicy, ANewStatementAtAnOldAddressIsDecidedAnew) {
  const Fixture f;
  SessionPolicy session(drop_is_blocked(), f.subject(), nullptr);
  StatementFacts place = statement({Kind::select});
  for (int i = 0; i < 4; ++i) {
    place = statement({i % 2 == 0 ? Kind::select : Kind::drop});
    const std::shared_ptr<const StatementFacts> facts(&place,
                                                      [](const StatementFacts*) {});  // same address, another owner
    EXPECT_EQ(session.decide(facts).effect, i % 2 == 0 ? Effect::allow : Effect::block) << i;
  }
}

TEST(SessionPolicy, TwoStatementsOfOneOwnerAreTwo) {
  const Fixture f;
  SessionPolicy session(drop_is_blocked(), f.subject(), nullptr);
  const auto both = std::make_shared<const std::array<StatementFacts, 2>>(
      std::array<StatementFacts, 2>{statement({Kind::select}), statement({Kind::drop})});
  const std::shared_ptr<const StatementFacts> first(both, &(*both)[0]);
  const std::shared_ptr<const StatementFacts> second(both, &(*both)[1]);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(session.decide(first).effect, Effect::allow);
    EXPECT_EQ(session.decide(second).effect, Effect::block);
  }
}

TEST(SessionPolicy, StatementsAreNotKeptAlive) {
  const Fixture f;
  SessionPolicy session(drop_is_blocked(), f.subject(), nullptr);
  auto facts = shared(statement({Kind::drop}));
  const std::weak_ptr<const StatementFacts> watch = facts;
  EXPECT_EQ(session.decide(facts).effect, Effect::block);
  facts.reset();
  EXPECT_TRUE(watch.expired());
}

TEST(SessionPolicy, MoreStatementsThanItRemembers) {
  const Fixture f;
  SessionPolicy session(drop_is_blocked(), f.subject(), nullptr);
  std::vector<std::shared_ptr<const StatementFacts>> statements;
  for (size_t i = 0; i < 4 * kRememberedMax; ++i)
    statements.push_back(shared(statement({i % 3 == 0 ? Kind::drop : Kind::select})));
  for (int round = 0; round < 2; ++round) {
    for (size_t i = 0; i < statements.size(); ++i) {
      ASSERT_EQ(session.decide(statements[i]).effect, i % 3 == 0 ? Effect::block : Effect::allow) << i;
    }
  }
}

TEST(SessionPolicy, SharesBetweenEqualSubjectsOnly) {
  const auto set =
      policy("rules:\n  - {name: r, when: {identity: {user: alice}, statement: drop}, then: block, because: b}\n");
  PolicyCache cache;
  Fixture f;
  const auto drop = shared(statement({Kind::drop}));
  SessionPolicy one(set, f.subject(), &cache);
  EXPECT_EQ(one.decide(drop).effect, Effect::block);
  Fixture other;
  other.attested.user = "bob";
  SessionPolicy two(set, other.subject(), &cache);
  EXPECT_EQ(two.decide(drop).effect, Effect::allow);
  f.attested.pid = 1;  // another process of the same identity
  SessionPolicy three(set, f.subject(), &cache);
  EXPECT_EQ(three.decide(drop).effect, Effect::block);
  EXPECT_EQ(cache.subject(set, f.subject()), cache.subject(set, f.subject()));
  EXPECT_NE(cache.subject(set, f.subject()), cache.subject(set, other.subject()));
}

TEST(SessionPolicy, EveryFactOfASubjectTellsItApart) {
  const auto set = empty_policy_set();
  PolicyCache cache;
  const Fixture base;
  const auto original = cache.subject(set, base.subject());
  std::vector<Fixture> variants(13, base);
  variants[0].target = "other";
  variants[1].attested.uid = 1;
  variants[2].attested.gid = 1;
  variants[3].attested.user = "x";
  variants[4].attested.group = "x";
  variants[5].attested.exe = "/x";
  variants[6].attested.exe_sha256 = "x";
  variants[7].attested.unit = "x";
  variants[8].attested.container = "x";
  variants[9].attested.cgroup = "/x";
  variants[10].claimed.db_user = "x";
  variants[11].claimed.application = "x";
  variants[12].attested.user = "alic";  // the same letters, cut elsewhere
  variants[12].attested.group = "estaff";
  for (size_t i = 0; i < variants.size(); ++i) EXPECT_NE(cache.subject(set, variants[i].subject()), original) << i;
  Subject inbound = base.subject();
  inbound.direction = Direction::inbound;
  EXPECT_NE(cache.subject(set, inbound), original);
  Subject mysql = base.subject();
  mysql.protocol = "mysql";
  EXPECT_NE(cache.subject(set, mysql), original);
}

TEST(SessionPolicy, AReloadIsSeenByNewSessionPoliciesAndOldOnesStay) {
  PolicyCache cache;
  const Fixture f;
  const auto drop = shared(statement({Kind::drop}));
  auto strict = drop_is_blocked();
  SessionPolicy before(strict, f.subject(), &cache);
  EXPECT_EQ(before.decide(drop).effect, Effect::block);
  SessionPolicy after(empty_policy_set(), f.subject(), &cache);
  EXPECT_EQ(after.decide(drop).effect, Effect::allow);
  const PolicySet* raw = strict.get();
  strict.reset();
  EXPECT_EQ(before.set().get(), raw);
  EXPECT_EQ(before.decide(drop).rule, "no-drop");
}

TEST(SessionPolicy, ManySubjectsStayBounded) {
  PolicyCache cache;
  const auto set = drop_is_blocked();
  const auto drop = shared(statement({Kind::drop}));
  std::vector<SessionPolicy> held;
  for (size_t i = 0; i < 2 * kSubjectsMax; ++i) {
    Fixture f;
    f.attested.uid = static_cast<int64_t>(i);
    held.emplace_back(set, f.subject(), &cache);
    ASSERT_EQ(held.back().decide(drop).effect, Effect::block);
  }
  held.clear();
  const Fixture f;
  EXPECT_EQ(cache.subject(set, f.subject()), cache.subject(set, f.subject()));  // there is room again
}

TEST(SessionPolicy, NoTargetBlocks) {
  Fixture f;
  f.target.clear();
  SessionPolicy session(empty_policy_set(), f.subject(), nullptr);
  const Decision decision = session.decide(shared(statement({Kind::select})));
  EXPECT_EQ(decision.effect, Effect::block);
  EXPECT_FALSE(decision.error.empty());
}

// Random policies and commands: both ways agree, cached or not.
TEST(SessionPolicy, AgreesWithEvaluate) {
  std::mt19937 random(20260401);
  const auto pick = [&](auto... options) {
    const std::vector<std::string> list = {options...};
    return list[random() % list.size()];
  };
  for (int round = 0; round < 60; ++round) {
    std::string text = "default: " + pick("allow", "block") + "\nrules:\n";
    const int rules = static_cast<int>(random() % 6) + 1;
    for (int i = 0; i < rules; ++i) {
      text += "  - {name: r" + std::to_string(i) + ", then: " + pick("allow", "block") + ", because: b, when: {" +
              pick("target: \"*\"", "target: payments-db", "target: other") +
              pick("", ", statement: drop", ", statement: [select, unknown]", ", statement: [select, insert]") +
              pick("", ", tables: public.cards", ", tables: [orders, \"*.cards\"]") + pick("", ", functions: lower") +
              pick("", ", identity: {user: alice}", ", identity: {user: bob}", ", identity: {exe: \"*/psql\"}") +
              "}}\n";
    }
    const auto set = policy(text);
    Fixture f;
    if (random() % 3 == 0) f.attested = AttestedIdentity{};
    SessionPolicy session(set, f.subject(), nullptr);
    for (int i = 0; i < 40; ++i) {
      StatementFacts facts;
      for (const Kind kind : {Kind::select, Kind::drop, Kind::insert, Kind::unknown, Kind::rollback}) {
        if (random() % 4 == 0) facts.kinds.push_back(kind);
      }
      if (random() % 2 == 0) facts.relations.push_back({pick("", "public", "x"), pick("cards", "orders")});
      if (random() % 3 == 0) facts.functions.push_back(pick("lower", "pg_catalog.lower", "dblink"));
      facts.kinds_complete = random() % 4 != 0;
      facts.relations_complete = random() % 4 != 0;
      facts.functions_complete = random() % 4 != 0;
      const auto pointer = shared(facts);
      const Decision expected = decide(*set, facts, f.attested, f.claimed);
      for (const Decision& got : {session.decide(pointer), session.decide(pointer), session.decide(*pointer)}) {
        ASSERT_EQ(got.effect, expected.effect) << text;
        ASSERT_EQ(got.rule, expected.rule) << text;
        ASSERT_EQ(got.match, expected.match) << text;
        ASSERT_EQ(got.almost, expected.almost) << text;
        ASSERT_EQ(got.permit.has_value(), expected.permit.has_value()) << text;
      }
    }
  }
}

}  // namespace
}  // namespace sluice::policies::testing
