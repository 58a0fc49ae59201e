#include "daemon/command/function_call.h"

#include <gtest/gtest.h>

namespace sluice::command {
namespace {

using policies::StatementFacts;
using policies::StatementKind;

TEST(FunctionCall, LargeObjectFunctionsAreKnown) {
  const StatementFacts facts = function_call_facts(955);
  EXPECT_EQ(facts.kinds, std::vector{StatementKind::call});
  EXPECT_EQ(facts.functions, std::vector<std::string>{"pg_catalog.lowrite"});
  ASSERT_EQ(facts.relations.size(), 2u);
  EXPECT_EQ(facts.relations[0].name, "pg_largeobject");
  EXPECT_TRUE(facts.kinds_complete && facts.functions_complete && facts.relations_complete);
  EXPECT_EQ(facts.why_unknown, "");
}

TEST(FunctionCall, WhatReachesFilesOfTheServerLeavesRelationsOpen) {
  for (const uint32_t oid : {764u, 765u, 767u}) {
    const StatementFacts facts = function_call_facts(oid);
    EXPECT_TRUE(facts.functions_complete);
    EXPECT_FALSE(facts.relations_complete) << oid;
    EXPECT_NE(facts.why_unknown, "");
  }
}

TEST(FunctionCall, OfAnyOtherNumberNothingIsKnown) {
  for (const uint32_t oid : {0u, 714u, 716u, 959u, 3461u, 16384u, 4294967295u}) {
    const StatementFacts facts = function_call_facts(oid);
    EXPECT_EQ(facts.kinds, std::vector{StatementKind::call});
    EXPECT_TRUE(facts.functions.empty());
    EXPECT_FALSE(facts.kinds_complete || facts.functions_complete || facts.relations_complete) << oid;
    EXPECT_NE(facts.why_unknown.find(std::to_string(oid)), std::string::npos);
  }
}

}  // namespace
}  // namespace sluice::command
