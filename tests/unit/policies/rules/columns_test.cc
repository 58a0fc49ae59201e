// Columns in policy: how patterns match, in conditions and as what is masked, and what is wrong with its place.
#include "policies/rules/columns.h"

#include "policies/rules/masking.h"
#include "tests/unit/policies/rules/support.h"

namespace sluice::policies {
namespace {

using testing::alice;
using testing::app_user;
using testing::statement;

StatementFacts reading(std::vector<ColumnUse> columns) {
  StatementFacts facts = statement({StatementKind::select});
  facts.columns = std::move(columns);
  return facts;
}

Effect effect(const std::string& condition, const StatementFacts& facts, const std::string& then = "block",
              const std::string& otherwise = "allow") {
  const auto set = testing::policy("default: " + otherwise + "\nrules:\n  - {name: r, when: {columns: " + condition +
                                   "}, then: " + then + ", because: x}\n");
  return testing::decide(*set, facts).effect;
}

std::shared_ptr<const ColumnMasks> masks(const std::string& rules, const AttestedIdentity& who = alice()) {
  const auto set = testing::policy("rules:\n" + rules);
  const ClaimedIdentity claimed = app_user();
  return masking_for(*set, Subject{"payments-db", Direction::outbound, "postgres", who, claimed}).columns;
}

std::string problems(const std::string& rules) {
  return testing::shown(testing::problems_of("version: 1\nrules:\n" + rules));
}

const ColumnUse kPan{"public", "cards", "pan"};

TEST(Columns, ABlockRuleMatchesAColumnThatIsNamed) {
  EXPECT_EQ(effect("public.cards.pan", reading({kPan})), Effect::block);
  EXPECT_EQ(effect("[cards.pan]", reading({kPan})), Effect::block);
  EXPECT_EQ(effect("pan", reading({kPan})), Effect::block);
  EXPECT_EQ(effect("'\"public\".cards.\"pan\"'", reading({kPan})), Effect::block);
  EXPECT_EQ(effect("\"*.*.p?n\"", reading({kPan})), Effect::block);
  EXPECT_EQ(effect("public.cards.cvv", reading({kPan})), Effect::allow);
  EXPECT_EQ(effect("audit.cards.pan", reading({kPan})), Effect::allow);
  EXPECT_EQ(effect("orders.pan", reading({kPan})), Effect::allow);
}

TEST(Columns, WhatMayBeTheColumnIsBlockedToo) {
  EXPECT_EQ(effect("public.cards.pan", reading({{"", "cards", "pan"}})), Effect::block);     // the search_path decides
  EXPECT_EQ(effect("public.cards.pan", reading({{"public", "cards", ""}})), Effect::block);  // a whole row
  EXPECT_EQ(effect("orders.pan", reading({{"", "orders", "pan", Access::read, false}})), Effect::block);
  EXPECT_EQ(effect("public.cards.pan", reading({{"public", "cards", "pan", Access::write}})), Effect::block);
  StatementFacts open = reading({});
  open.columns_complete = false;
  EXPECT_EQ(effect("public.cards.pan", open), Effect::block);
  EXPECT_EQ(effect("public.cards.pan", reading({})), Effect::allow);
}

TEST(Columns, AnAllowRuleTakesThatAllMatchForCertain) {
  const auto allowed = [](const std::string& condition, const StatementFacts& facts) {
    return effect(condition, facts, "allow", "block") == Effect::allow;
  };
  EXPECT_TRUE(allowed("[cards.id, cards.note]", reading({{"", "cards", "id"}, {"public", "cards", "note"}})));
  EXPECT_FALSE(allowed("[cards.id, cards.note]", reading({{"", "cards", "id"}, kPan})));
  EXPECT_FALSE(allowed("cards.id", reading({{"", "cards", ""}})));
  EXPECT_TRUE(allowed("\"cards.*\"", reading({{"", "cards", ""}})));
  EXPECT_FALSE(allowed("cards.id", reading({{"", "cards", "id", Access::read, false}})));
  EXPECT_FALSE(allowed("cards.id", reading({})));
  StatementFacts open = reading({{"", "cards", "id"}});
  open.columns_complete = false;
  EXPECT_FALSE(allowed("cards.id", open));
}

TEST(Columns, NamesBeyondAnyLimitCannotBeEvaluated) {
  EXPECT_EQ(effect("orders.x", reading({{"", "cards", std::string(kFactBytesMax + 1, 'x')}})), Effect::block);
}

TEST(Columns, AMaskRuleNamesWhatIsMaskedInEitherPlace) {
  for (const char* const rule :
       {"  - {name: a, when: {target: \"*\"}, then: mask, columns: [public.cards.pan, \"*.cvv\"]}\n",
        "  - {name: a, when: {columns: [public.cards.pan, \"*.cvv\"]}, then: mask}\n"}) {
    const auto found = masks(rule);
    ASSERT_NE(found, nullptr);
    EXPECT_TRUE(found->covers("public", "cards", "pan"));
    EXPECT_TRUE(found->covers("", "cards", "pan"));
    EXPECT_TRUE(found->covers("x", "y", "cvv"));
    EXPECT_TRUE(found->covers("x", "y", ""));
    EXPECT_FALSE(found->covers("audit", "cards", "pan"));
    EXPECT_FALSE(found->covers("public", "cards", "id"));
    EXPECT_EQ(found->untraceable, ColumnMasks::Untraceable::mask);
    EXPECT_EQ(found->numbers, ColumnMasks::Numbers::zero);
  }
}

TEST(Columns, WithoutARuleThereIsNothing) {
  EXPECT_EQ(masks("  - {name: a, when: {target: \"*\"}, then: mask}\n"), nullptr);
  EXPECT_EQ(masks("  - {name: a, when: {target: \"orders\"}, then: mask, columns: [a.b]}\n"), nullptr);
  EXPECT_EQ(masks("  - {name: a, when: {identity: {user: bob}}, then: mask, columns: [a.b]}\n"), nullptr);
  AttestedIdentity nobody = alice();
  nobody.user.clear();
  EXPECT_NE(masks("  - {name: a, when: {identity: {user: bob}}, then: mask, columns: [a.b]}\n", nobody), nullptr);
}

TEST(Columns, OfSeveralRulesTheCarefulAnswersAreTaken) {
  const auto found = masks(R"(  - {name: a, when: {target: "*"}, then: mask, columns: [a.b], untraceable: block}
  - {name: b, when: {target: "*"}, then: mask, columns: [c.d], untraceable: mask, numbers: null}
)");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->untraceable, ColumnMasks::Untraceable::block);
  EXPECT_EQ(found->numbers, ColumnMasks::Numbers::null);
  EXPECT_TRUE(found->covers("", "a", "b"));
  EXPECT_TRUE(found->covers("", "c", "d"));
}

TEST(Columns, BadPatternsAreReportedWithTheirPlace) {
  EXPECT_EQ(
      problems("  - {name: a, when: {columns: [a.b, a.b.c.d]}, then: mask}\n"),
      "test.yaml:3:37: error: `a.b.c.d` is no column [`schema.table.column`, `table.column` or `column`; a part with "
      "dots or blanks in it needs double quotes]\n");
  for (const char* const bad : {"a.", ".a", "a..b", "'a b'", "'\"a'", "''", "'a.\"b\"c'"}) {
    const std::string found =
        problems(std::string("  - {name: a, when: {columns: [") + bad + "]}, then: block, because: x}\n");
    EXPECT_NE(found.find("error: "), std::string::npos) << bad << ": " << found;
  }
  EXPECT_NE(
      problems("  - {name: a, when: {columns: Cards.PAN}, then: mask}\n").find("warning: `Cards.PAN` matches only"),
      std::string::npos);
  EXPECT_NE(problems("  - {name: a, when: {target: x}, columns: [a.b], then: block, because: x}\n")
                .find("`columns` is a condition of this rule"),
            std::string::npos);
  EXPECT_NE(problems("  - {name: a, when: {target: x}, then: mask, untraceable: block}\n").find("names none"),
            std::string::npos);
  EXPECT_NE(problems("  - {name: a, when: {columns: [a.b]}, then: mask, untraceable: hold}\n").find("error: "),
            std::string::npos);
}

TEST(Columns, AWiderRuleShadowsANarrowerOne) {
  EXPECT_NE(problems(R"(  - {name: all, when: {columns: ["cards.*"]}, then: block, because: x}
  - {name: one, when: {columns: [public.cards.pan]}, then: block, because: x}
)")
                .find("`one` never decides"),
            std::string::npos);
  EXPECT_EQ(problems(R"(  - {name: one, when: {columns: [public.cards.pan]}, then: block, because: x}
  - {name: all, when: {columns: ["cards.*"]}, then: block, because: x}
)"),
            "");
}

}  // namespace
}  // namespace sluice::policies
