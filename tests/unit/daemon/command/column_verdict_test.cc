// Which columns of a result are masked: by number, by name, and where neither tells.
#include "daemon/command/column_verdict.h"

#include <gtest/gtest.h>

#include <string>

#include "parsers/sql/analysis.h"
#include "policies/rules/masking.h"
#include "policies/rules/policy_set.h"

namespace sluice::command {
namespace {

policies::ColumnMasks masks(const std::string& columns) {
  policies::Problems problems;
  const auto set = policies::parse_policy(
      "version: 1\nrules:\n  - {name: r, when: {target: \"*\"}, then: mask, columns: [" + columns + "]}\n", "test.yaml",
      {}, problems);
  EXPECT_NE(set, nullptr);
  policies::ColumnMasks found;
  found.patterns = set->mask_rules()[0].when.columns;
  return found;
}

std::shared_ptr<const catalog::Snapshot> snapshot() {
  catalog::Rows rows;
  rows.relations = {{16400, "public", "cards", 'r', ""},
                    {16401, "public", "notes", 'r', ""},
                    {16402, "audit", "cards", 'r', ""},
                    {1259, "pg_catalog", "pg_class", 'r', ""},
                    {16403, "public", "v", 'v', "SELECT reverse(cards.pan) AS x FROM public.cards"}};
  rows.columns = {{16400, 1, "id", false},
                  {16400, 2, "pan", false},
                  {16401, 1, "note", false},
                  {16402, 1, "entry", false},
                  {16403, 1, "x", false}};
  catalog::FormerNames former;
  return catalog::Snapshot::build(rows, former);
}

// One letter per column: clear, masked, untraceable.
std::string verdicts(std::string_view sql, const NameKnowledge& known, std::vector<ResultColumn> columns,
                     const std::string& patterns = "public.cards.pan") {
  const sql::Analysis analysis = sql::analyze(sql, {});
  const policies::ColumnMasks wanted = masks(patterns);
  const ColumnResolver resolver(wanted, known);
  const sql::StatementOutput* const output = analysis.lineage.outputs.empty() ? nullptr : &analysis.lineage.outputs[0];
  std::string text;
  for (const ColumnVerdict verdict : resolver.resolve(analysis.lineage, output, columns)) {
    text += verdict == ColumnVerdict::clear ? 'c' : verdict == ColumnVerdict::masked ? 'm' : 'u';
  }
  return text;
}

const ResultColumn kExpression{0, 0, "x"};

TEST(ColumnVerdict, WithoutACatalogNamesAreAllThereIs) {
  const NameKnowledge none;
  EXPECT_EQ(verdicts("select pan, id from cards", none, {{16400, 2, "pan"}, {16400, 1, "id"}}), "mc");
  EXPECT_EQ(
      verdicts("select pan as a, reverse(pan), 1 from public.cards", none, {kExpression, kExpression, kExpression}),
      "mmc");
  EXPECT_EQ(verdicts("select pan from audit.cards", none, {kExpression}), "c");
  EXPECT_EQ(verdicts("select * from cards", none, {{1, 1, "id"}, {1, 2, "pan"}}), "cm");
  EXPECT_EQ(verdicts("select * from cards", none, {{}, {}}), "mm");  // nameless
  EXPECT_EQ(verdicts("select 1, *, 2 from cards", none, {kExpression, {1, 2, "pan"}, kExpression}), "cmc");
  EXPECT_EQ(verdicts("select * from notes, cards c", none, {{1, 1, "note"}, {1, 2, "pan"}}), "cm");
  EXPECT_EQ(verdicts("select * from (select reverse(pan) r, id from cards) s", none, {{0, 0, "r"}, {0, 0, "id"}}),
            "mc");
  EXPECT_EQ(verdicts("select note, f(note) from notes", none, {kExpression, kExpression}), "cu");
  EXPECT_EQ(verdicts("select pan from cards", none, {kExpression, kExpression}), "uu");  // more than the text says
  EXPECT_EQ(verdicts("no sql", none, {kExpression}), "u");
  EXPECT_EQ(verdicts("call f()", none, {kExpression}), "u");
  EXPECT_EQ(verdicts("show all", none, {kExpression}), "c");
  EXPECT_EQ(verdicts("explain select pan from cards", none, {kExpression}), "c");
}

TEST(ColumnVerdict, WithACatalogTheNumberDecides) {
  const auto known_names = snapshot();
  const NameKnowledge known{known_names.get(), true, true};
  EXPECT_EQ(verdicts("select harmless from renamed", known, {{16400, 2, "harmless"}}), "m");
  EXPECT_EQ(verdicts("select pan from cards", known, {{16400, 1, "pan"}}), "c");
  EXPECT_EQ(verdicts("select x from v", known, {{16403, 1, "x"}}), "m");
  EXPECT_EQ(verdicts("select a from new_table", known, {{16999, 1, "a"}}), "u");
  EXPECT_EQ(verdicts("select pan from cards", known, {{16999, 1, "pan"}}), "m");  // another one of that name
  EXPECT_EQ(verdicts("select a from cards", known, {{16400, 9, "a"}}), "u");
  EXPECT_EQ(verdicts("select ctid from cards", known, {{16400, 0xffff, "ctid"}}), "c");
  EXPECT_EQ(verdicts("select relname from pg_class", known, {{1259, 2, "relname"}}), "c");
  EXPECT_EQ(verdicts("select most_common_vals from pg_stats", known, {{12000, 2, "x"}}), "u");
}

TEST(ColumnVerdict, ExpressionsGoByTheTextAndTheCatalog) {
  const auto known_names = snapshot();
  const NameKnowledge known{known_names.get(), true, true};
  EXPECT_EQ(verdicts("select upper(pan) from cards", known, {kExpression}), "m");
  EXPECT_EQ(verdicts("select upper(pan) from cards, notes", known, {kExpression}), "m");
  EXPECT_EQ(verdicts("select upper(note) from cards, notes", known, {kExpression}), "c");
  EXPECT_EQ(verdicts("select upper(x) from v", known, {kExpression}), "m");
  EXPECT_EQ(verdicts("select upper(entry) from audit.cards", known, {kExpression}), "c");
  EXPECT_EQ(verdicts("select upper(unheard) from cards", known, {kExpression}), "u");
  EXPECT_EQ(verdicts("select upper(a) from unheard", known, {kExpression}), "u");
  EXPECT_EQ(verdicts("select row_to_json(n) from notes n", known, {kExpression}), "c");
  EXPECT_EQ(verdicts("select row_to_json(c) from public.cards c", known, {kExpression}), "m");
  EXPECT_EQ(verdicts("copy public.cards to stdout", known, {{}, {}}), "cm");
  EXPECT_EQ(verdicts("copy cards to stdout", known, {{}, {}}), "mm");  // of two schemas: which one is open
  EXPECT_EQ(verdicts("copy (select *, 1 from public.cards) to stdout", known, {{}, {}, {}}), "cmc");
  EXPECT_EQ(verdicts("copy public.cards (id) to stdout", known, {{}}), "c");
}

TEST(ColumnVerdict, NamesThatMayHaveChangedTellNothing) {
  const auto known_names = snapshot();
  const NameKnowledge changing{known_names.get(), true, false};
  EXPECT_EQ(
      verdicts("select upper(note), 1, note from notes", changing, {kExpression, kExpression, {16401, 1, "note"}}),
      "ucc");
  const NameKnowledge down{nullptr, true, false};
  EXPECT_EQ(verdicts("select upper(note), 1, note from notes", down, {kExpression, kExpression, {16401, 1, "note"}}),
            "ucu");
  EXPECT_EQ(verdicts("select relname from pg_class", down, {{1259, 2, "relname"}}), "c");
}

TEST(ColumnVerdict, WhatTheTextShowsIsUntraceableBeforeItRuns) {
  const auto known_names = snapshot();
  const NameKnowledge known{known_names.get(), true, true};
  const policies::ColumnMasks wanted = masks("cards.pan");
  const ColumnResolver resolver(wanted, known);
  const auto untraceable = [&](std::string_view sql) { return resolver.untraceable(sql::analyze(sql, {}).lineage); };
  for (const char* const sql :
       {"select f(1)", "no sql", "call p()", "select upper(a) from unheard", "declare c cursor for select f(1)"})
    EXPECT_TRUE(untraceable(sql)) << sql;
  for (const char* const sql : {"select pan from cards", "select 1", "select upper(note) from notes",
                                "insert into cards values (1)", "show all"})
    EXPECT_FALSE(untraceable(sql)) << sql;
}

TEST(ColumnVerdict, ConditionsLearnWhatViewsHold) {
  const auto known_names = snapshot();
  policies::StatementFacts facts;
  facts.columns_complete = true;
  facts.columns = {{"public", "v", "x", policies::Access::read, true}};
  const auto holds_pan = [](const policies::StatementFacts& all) {
    return std::any_of(all.columns.begin(), all.columns.end(), [](const policies::ColumnUse& use) {
      return use.schema == "public" && use.relation == "cards" && use.column == "pan";
    });
  };
  EXPECT_TRUE(holds_pan(with_known_columns(facts, {known_names.get(), true, true})));
  EXPECT_TRUE(with_known_columns(facts, {known_names.get(), true, true}).columns_complete);
  EXPECT_FALSE(with_known_columns(facts, {known_names.get(), true, false}).columns_complete);
  EXPECT_FALSE(with_known_columns(facts, {nullptr, true, false}).columns_complete);
}

}  // namespace
}  // namespace sluice::command
