#include "daemon/command/statement.h"

#include <gtest/gtest.h>

#include "daemon/command/analysis_pool.h"

namespace sluice::command {
namespace {

using policies::Access;
using policies::StatementFacts;
using policies::StatementKind;

TEST(Statement, FactsSayWhatTheAnalysisSays) {
  sql::Analysis analysis;
  analysis.kinds = {sql::Kind::select, sql::Kind::delete_};
  analysis.relations = {{"s", "a", true, false}, {"", "b", false, true}, {"", "c", true, true}};
  analysis.functions = {"count"};
  analysis.kinds_complete = true;
  analysis.why_unknown = "why";
  const StatementFacts facts = facts_of(analysis);
  EXPECT_EQ(facts.kinds, (std::vector{StatementKind::select, StatementKind::delete_}));
  ASSERT_EQ(facts.relations.size(), 3u);
  EXPECT_EQ(facts.relations[0], (policies::Relation{"s", "a", Access::read}));
  EXPECT_EQ(facts.relations[1], (policies::Relation{"", "b", Access::write}));
  EXPECT_EQ(facts.relations[2], (policies::Relation{"", "c", Access::read_write}));
  EXPECT_EQ(facts.functions, std::vector<std::string>{"count"});
  EXPECT_TRUE(facts.kinds_complete && !facts.relations_complete && !facts.functions_complete);
  EXPECT_EQ(facts.why_unknown, "why");
}

TEST(Statement, EveryKindHasItsWord) {
  for (int i = 0; i <= static_cast<int>(sql::Kind::unknown); ++i) {
    sql::Analysis analysis;
    analysis.kinds = {static_cast<sql::Kind>(i)};
    EXPECT_EQ(static_cast<int>(facts_of(analysis).kinds.front()), i);
  }
  EXPECT_EQ(static_cast<size_t>(sql::Kind::unknown) + 1, policies::kStatementKindCount);
}

TEST(Statement, UnknownFactsKnowNothing) {
  for (const StatementFacts& facts : {unknown_facts("why"), facts_of(unknown_analysis("why"))}) {
    EXPECT_EQ(facts.kinds, std::vector{StatementKind::unknown});
    EXPECT_TRUE(!facts.kinds_complete && !facts.relations_complete && !facts.functions_complete);
    EXPECT_EQ(facts.why_unknown, "why");
  }
}

StatementFacts known(StatementKind kind, policies::Relation relation) {
  StatementFacts facts;
  facts.kinds = {kind};
  facts.relations = {std::move(relation)};
  facts.kinds_complete = facts.relations_complete = facts.functions_complete = facts.columns_complete = true;
  return facts;
}

TEST(Statement, ExecuteMeansWhatItRuns) {
  StatementFacts own;
  own.kinds = {StatementKind::execute};
  own.why_unknown = "executes a prepared statement by name";
  const StatementFacts one = known(StatementKind::select, {"", "cards", Access::read});
  const StatementFacts two = known(StatementKind::delete_, {"", "cards", Access::write});
  const StatementFacts* const both[] = {&one, &two};
  const StatementFacts all = with_executed(own, OnlyExecutesOpen::yes, both);
  EXPECT_EQ(all.kinds, (std::vector{StatementKind::execute, StatementKind::select, StatementKind::delete_}));
  ASSERT_EQ(all.relations.size(), 1u);
  EXPECT_EQ(all.relations[0].access, Access::read_write);
  EXPECT_TRUE(all.kinds_complete && all.relations_complete && all.functions_complete && all.why_unknown.empty());
}

TEST(Statement, ExecuteOfWhatNobodySawStaysUnknown) {
  StatementFacts own;
  own.kinds = {StatementKind::execute};
  const StatementFacts one = known(StatementKind::select, {"", "cards", Access::read});
  const StatementFacts* const some[] = {nullptr, &one};
  const StatementFacts all = with_executed(own, OnlyExecutesOpen::yes, some);
  EXPECT_TRUE(!all.kinds_complete && !all.relations_complete && !all.functions_complete);
  EXPECT_FALSE(all.why_unknown.empty());
  EXPECT_EQ(all.kinds.back(), StatementKind::select);
}

TEST(Statement, ExecuteDoesNotCloseWhatIsOpenForAnotherReason) {
  StatementFacts own;
  own.kinds = {StatementKind::execute};
  own.why_unknown = "calls own";
  const StatementFacts one = known(StatementKind::select, {"", "cards", Access::read});
  const StatementFacts* const it[] = {&one};
  const StatementFacts all = with_executed(own, OnlyExecutesOpen::no, it);
  EXPECT_TRUE(!all.kinds_complete && !all.relations_complete);
  EXPECT_EQ(all.why_unknown, "calls own");
}

}  // namespace
}  // namespace sluice::command
