// Which columns feed which outputs: a table of statements.
#include "parsers/sql/lineage.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/unit/parsers/sql/analysis_check.h"

namespace sluice::sql {
namespace {

std::string words(const Lineage& lineage, const ColumnReference& reference) {
  std::string text;
  for (const uint32_t index : reference.any_of) {
    const ColumnName& name = lineage.names[index];
    if (!text.empty()) text += '|';
    if (!name.schema.empty()) text += name.schema + ".";
    text += name.relation + "." + (name.column.empty() ? "*" : name.column);
  }
  return reference.optional ? "[" + text + "]" : text;
}

// "name=a.x+b.y, …": `*` before a star, `~` before what may be any number of columns, `?` where it cannot be told.
std::string words(const Lineage& lineage, const std::vector<OutputColumn>& columns) {
  std::string text;
  for (const OutputColumn& column : columns) {
    if (!text.empty()) text += ", ";
    if (column.form == OutputColumn::Form::star) text += "*";
    if (column.form == OutputColumn::Form::spread) text += "~";
    text += column.name + "=";
    if (column.untraceable) text += "?";
    std::string fed;
    for (const uint32_t reference : column.references) {
      if (!fed.empty()) fed += '+';
      fed += words(lineage, lineage.references[reference]);
    }
    text += fed;
  }
  return text;
}

std::string outputs(std::string_view sql) {
  const Analysis analysis = test::analyzed(sql);
  std::string text;
  for (const StatementOutput& output : analysis.lineage.outputs) {
    if (!text.empty()) text += "; ";
    switch (output.source) {
      case StatementOutput::Source::none:
        text += "none";
        break;
      case StatementOutput::Source::columns:
        text += (output.is_copy ? "copy " : "") + words(analysis.lineage, output.columns);
        break;
      case StatementOutput::Source::executed:
        text += "executed " + output.name;
        break;
      case StatementOutput::Source::fetched:
        text += "fetched " + output.name;
        break;
      case StatementOutput::Source::unknown:
        text += "unknown";
        break;
    }
  }
  return text;
}

struct Row {
  const char* sql;
  const char* outputs;
};

class LineageOf : public testing::TestWithParam<Row> {};

TEST_P(LineageOf, is) {
  EXPECT_EQ(outputs(GetParam().sql), GetParam().outputs) << GetParam().sql;
}

constexpr Row kExpressions[] = {
    {"select pan from cards", "pan=cards.pan"},
    {"select pan as x from public.cards", "x=public.cards.pan"},
    {"select c.pan from public.cards c", "pan=public.cards.pan"},
    {"select public.cards.pan from public.cards", "pan=public.cards.pan"},
    {"select cards.pan from public.cards", "pan=public.cards.pan"},
    {"select 1, 'x', now()", "=, =, now="},
    {"select substr(pan, 1, 4) from cards", "substr=cards.pan"},
    {"select reverse(pan) || 'x' from cards", "=cards.pan"},
    {"select pan::text, cast(pan as bytea) from cards", "=cards.pan, =cards.pan"},
    {"select encode(pan::bytea, 'hex'), translate(pan, '0123', 'abcd') from cards",
     "encode=cards.pan, translate=cards.pan"},
    {"select max(pan), count(*), count(id) from cards", "max=cards.pan, count=, count=cards.id"},
    {"select string_agg(pan, ',' order by id) from cards", "string_agg=cards.pan+cards.id"},
    {"select array_agg(pan) filter (where kind = 1) from cards", "array_agg=cards.pan+cards.kind"},
    {"select case when pan like '4%' then 'visa' else note end from cards", "=cards.pan+cards.note"},
    {"select coalesce(note, pan), nullif(pan, ''), greatest(pan, note) from cards",
     "=cards.note+cards.pan, =cards.pan, =cards.note+cards.pan"},
    {"select array[pan], row(pan, id), (pan, id) from cards", "=cards.pan, =cards.pan+cards.id, =cards.pan+cards.id"},
    {"select pan from cards, orders", "pan=cards.pan|orders.pan"},
    {"select rank() over (partition by pan order by id) from cards", "rank=cards.pan+cards.id"},
    {"select pan is null, pan in ('1'), pan between 'a' and 'b', not (pan = '1') from cards",
     "=cards.pan, =cards.pan, =cards.pan, =cards.pan"},
    {"select (select pan from cards limit 1)", "=cards.pan"},
    {"select exists (select 1 from cards where pan like '4%')", "=cards.pan"},
    {"select array(select pan from cards)", "=cards.pan"},
    {"select id in (select card from cards) from orders", "=orders.id+cards.card|orders.card"},
    {"select (select max(c.pan) from cards c where c.id = o.id) from orders o", "=cards.pan+cards.id+orders.id"},
    {"select id from cards where pan like '4111%'", "id=cards.id"},
    {"select id from cards order by pan", "id=cards.id"},
    {"select xmlelement(name a, pan), xmlforest(pan) from cards", "=cards.pan, =cards.pan"},
    {"select pan collate \"C\" from cards", "=cards.pan"},
    {"select pan at time zone 'utc' from cards", "timezone=cards.pan"},
    {"select (info).pan from cards", "=cards.info"},
    {"select tags[1], tags[2:3] from cards", "=cards.tags, =cards.tags"},
    {"select my_function(id) from cards", "my_function=?cards.id"},
    {"select public.lower(pan) from cards", "lower=?cards.pan"},
    {"select my_function()", "my_function=?"},
    {"select query_to_xml('select pan from cards', true, true, '')", "query_to_xml=?"},
    {"select pan === 'x' from cards", "=?cards.pan"},
    {"select nosuch.pan from cards", "pan=?"},
};

constexpr Row kStars[] = {
    {"select * from cards", "*=cards.*"},
    {"select id, *, note from cards", "id=cards.id, *=cards.*, note=cards.note"},
    {"select c.* from cards c, orders o", "*=cards.*"},
    {"select public.cards.* from public.cards", "*=public.cards.*"},
    {"select * from cards, orders", "*=cards.*, *=orders.*"},
    {"select * from cards c(a, b)", "~=cards.*"},
    {"select a from cards c(a, b)", "a=cards.*"},
    {"select * from cards natural join orders", "*=cards.*, *=orders.*, ~="},
    {"select * from (select reverse(pan) r, id from cards) x join orders using (id)",
     "*=orders.*, ~=cards.pan+cards.id"},
    {"select cards from cards", "cards=cards.*+[cards.cards]"},
    {"select c from cards c", "c=cards.*+[cards.c]"},
    {"select row_to_json(c) from cards c", "row_to_json=cards.*+[cards.c]"},
    {"select to_jsonb(cards) from public.cards", "to_jsonb=public.cards.*+[public.cards.cards]"},
    {"select row_to_json(c.*) from cards c", "row_to_json=cards.*"},
    {"select row(c.*) from cards c", "=cards.*"},
    {"select (c).pan from cards c", "=cards.*+[cards.c]"},
    {"select (c).* from cards c", "~=cards.*+[cards.c]"},
    {"select c::text from cards c", "=cards.*+[cards.c]"},
    {"select json_agg(c) from cards c", "json_agg=cards.*+[cards.c]"},
};

constexpr Row kFrom[] = {
    {"select x from (select pan as x from cards) s", "x=cards.pan"},
    {"select s.* from (select pan as x, id from cards) s", "x=cards.pan, id=cards.id"},
    {"select x from (select pan, id from cards) s(x, y)", "x=cards.pan"},
    {"select pan from (select * from cards) s", "pan=cards.pan"},
    {"select * from (select *, reverse(pan) r from cards) s", "*=cards.*, r=cards.pan"},
    {"select y from (select upper(x) y from (select pan x from cards) a) b", "y=cards.pan"},
    {"select substr from (select substr(pan, 1) from cards) s", "substr=cards.pan"},
    {"select \"case\" from (select case when true then pan end from cards) s", "case=cards.pan"},
    {"select s from (select pan from cards) s", "s=cards.pan"},
    {"select l.x from orders o, lateral (select c.pan as x from cards c where c.id = o.id) l", "x=cards.pan"},
    {"select j.pan from (cards join orders on true) j", "pan=cards.pan|orders.pan"},
    {"select c.pan from cards c left join orders o on o.id = c.id", "pan=cards.pan"},
    {"select v from cards, unnest(array[pan, note]) as v", "v=cards.pan+cards.note+[cards.v]"},
    {"select * from cards c, json_each(row_to_json(c)) e", "*=cards.*, ~=cards.*+[cards.c]"},
    {"select value from cards c, json_each_text(to_json(c)) e", "value=cards.*+[cards.c]+[cards.value]"},
    {"select g from generate_series(1, 3) g", "g="},
    {"select * from my_rows()", "~=?"},
    {"select * from dblink('x', 'select pan from cards') as t(pan text)", "~=?"},
    {"select unnest from unnest(array['a'])", "unnest="},
    {"select x.* from cards, xmltable('/a' passing doc columns b text) x", "~=cards.doc"},
    {"select pan from cards tablesample system (10)", "pan=cards.pan"},
    {"select * from rows from (generate_series(1,2), unnest(array['a'])) r", "~="},
    {"select most_common_vals from pg_stats", "most_common_vals=?pg_stats.most_common_vals"},
    {"select * from pg_catalog.pg_statistic", "*=?pg_catalog.pg_statistic.*"},
};

constexpr Row kWith[] = {
    {"with c as (select pan from cards) select pan from c", "pan=cards.pan"},
    {"with c(x) as (select pan from cards) select x from c", "x=cards.pan"},
    {"with c as (select pan from cards), d as (select pan p from c) select * from d", "p=cards.pan"},
    {"with c as (select pan from cards) select d.pan from c d", "pan=cards.pan"},
    {"with cards as (select 1 as pan) select pan from cards", "pan="},
    {"with cards as (select 1 as pan) select pan from public.cards", "pan=public.cards.pan"},
    {"with c as (select id from cards) select (select pan from cards) from c", "=cards.pan"},
    {"with recursive r as (select pan p, id from cards union all select id, p from r) select p from r",
     "p=cards.pan+cards.id"},
    {"with recursive a as (select x from b), b as (select pan x from cards) select x from a", "x=cards.pan"},
    {"with d as (delete from cards returning pan) select * from d", "pan=cards.pan"},
    {"with d as (insert into log select pan from cards returning *) select * from d", "*=log.*"},
};

constexpr Row kSets[] = {
    {"select note from a union all select pan from cards", "note=a.note+cards.pan"},
    {"select pan, id from cards union select id, note from a", "pan=cards.pan+a.id, id=cards.id+a.note"},
    {"select * from a union select * from cards", "~=a.*+cards.*"},
    {"select pan from cards except select 'x' order by 1", "pan=cards.pan"},
    {"(select pan from cards) intersect (select note from a limit 3)", "pan=cards.pan+a.note"},
    {"values (1, 'x'), ((select pan from cards), 'y')", "column1=cards.pan, column2="},
    {"select column1 from (values ((select pan from cards))) v", "column1=cards.pan"},
};

constexpr Row kStatements[] = {
    {"insert into cards (pan) values ('1') returning pan, id", "pan=cards.pan, id=cards.id"},
    {"insert into cards values ('1') returning *", "*=cards.*"},
    {"update cards c set note = 'x' from orders o where o.id = c.id returning c.pan, o.*, upper(note)",
     "pan=cards.pan, *=orders.*, upper=cards.note|orders.note"},
    {"delete from public.cards where id = 1 returning reverse(pan)", "reverse=public.cards.pan"},
    {"copy cards to stdout", "copy *=cards.*"},
    {"copy public.cards (id, pan) to stdout with (format csv)", "copy id=public.cards.id, pan=public.cards.pan"},
    {"copy (select reverse(pan), id from cards) to stdout", "copy reverse=cards.pan, id=cards.id"},
    {"copy cards (pan) from stdin", "none"},
    {"declare c cursor for select pan from cards", "none"},
    {"fetch all from c", "fetched c"},
    {"move 1 in c", "fetched c"},
    {"prepare p as select pan from cards", "none"},
    {"execute p(1)", "executed p"},
    {"explain select pan from cards", "none"},
    {"create table t as select pan from cards", "none"},
    {"select pan into t from cards", "pan=cards.pan"},
    {"show all", "none"},
    {"call p(1)", "unknown"},
    {"begin; select pan from cards; commit", "none; pan=cards.pan; none"},
    {"table cards", "*=cards.*"},
    {"select from cards", ""},
    {"this is no sql", ""},
};

INSTANTIATE_TEST_SUITE_P(Expressions, LineageOf, testing::ValuesIn(kExpressions));
INSTANTIATE_TEST_SUITE_P(Stars, LineageOf, testing::ValuesIn(kStars));
INSTANTIATE_TEST_SUITE_P(From, LineageOf, testing::ValuesIn(kFrom));
INSTANTIATE_TEST_SUITE_P(With, LineageOf, testing::ValuesIn(kWith));
INSTANTIATE_TEST_SUITE_P(Sets, LineageOf, testing::ValuesIn(kSets));
INSTANTIATE_TEST_SUITE_P(Statements, LineageOf, testing::ValuesIn(kStatements));

std::string mentioned(std::string_view sql) {
  const Analysis analysis = test::analyzed(sql);
  std::string text;
  for (const ColumnReference& reference : analysis.lineage.references) {
    if (!text.empty()) text += ' ';
    text += words(analysis.lineage, reference);
  }
  for (const uint32_t written : analysis.lineage.written) {
    text += " w:" + words(analysis.lineage, {{written}, false});
  }
  return text + (analysis.lineage.complete ? "" : " …");
}

TEST(Lineage, everything_that_a_text_mentions_is_listed) {
  EXPECT_EQ(mentioned("select id from cards where pan like '4111%'"), "cards.id cards.pan");
  EXPECT_EQ(mentioned("select id from cards group by id having max(pan) > '5' order by note"),
            "cards.id cards.pan cards.note");
  EXPECT_EQ(mentioned("select 1 from a join b on a.x = b.y"), "a.x b.y");
  EXPECT_EQ(mentioned("select 1 from a where exists (select 1 from cards where pan = '1')"), "cards.pan|a.pan");
  EXPECT_EQ(mentioned("select 1 from a limit (select max(pan) from cards)"), "cards.pan|a.pan");
  EXPECT_EQ(mentioned("update cards set pan = note where id = 1"), "cards.note cards.id w:cards.pan");
  EXPECT_EQ(mentioned("insert into cards (pan, id) values ('1', 2)"), " w:cards.pan w:cards.id");
  EXPECT_EQ(mentioned("insert into cards select * from old"), "old.* w:cards.*");
  EXPECT_EQ(mentioned("insert into cards (id) values (1) on conflict (id) do update set pan = excluded.pan"),
            "cards.pan w:cards.id w:cards.pan");
  EXPECT_EQ(mentioned("delete from cards"), " w:cards.*");
  EXPECT_EQ(mentioned("copy cards (pan) from stdin"), " w:cards.pan");
  EXPECT_EQ(mentioned("merge into cards c using new n on c.id = n.id when matched then update set pan = n.pan"),
            "cards.id new.id new.pan w:cards.pan");
  EXPECT_EQ(mentioned("prepare p as select pan from cards"), "cards.pan");
  EXPECT_EQ(mentioned("create table t as select pan from cards"), "cards.pan");
  EXPECT_EQ(mentioned("create view v as select pan from cards"), "cards.pan");
  EXPECT_EQ(mentioned("explain analyze select pan from cards"), "cards.pan");
  EXPECT_EQ(mentioned("do $$ begin perform pan from cards; end $$"), "cards.pan");
}

TEST(Lineage, what_cannot_be_followed_leaves_the_list_open) {
  for (const char* const sql : {"select my_function(1)", "execute p", "this is no sql", "do language plpython3u 'x'",
                                "select 1 from cards where my_function(id)", "call p(1)"}) {
    EXPECT_FALSE(test::analyzed(sql).lineage.complete) << sql;
  }
  EXPECT_TRUE(test::analyzed("select pan from cards where id = 1").lineage.complete);
}

TEST(Lineage, prepared_statements_and_cursors_keep_their_outputs) {
  const Analysis analysis =
      test::analyzed("prepare p as select pan from cards; declare c cursor for select reverse(pan) from cards");
  ASSERT_EQ(analysis.lineage.named.size(), 2u);
  EXPECT_EQ(analysis.lineage.named[0].name, "p");
  EXPECT_EQ(words(analysis.lineage, analysis.lineage.named[0].output.columns), "pan=cards.pan");
  EXPECT_EQ(analysis.lineage.named[1].what, NamedOutput::What::cursor);
  EXPECT_EQ(words(analysis.lineage, analysis.lineage.named[1].output.columns), "reverse=cards.pan");
}

TEST(Lineage, formats_of_copy) {
  const auto format = [](std::string_view sql) { return test::analyzed(sql).lineage.copy; };
  EXPECT_EQ(format("copy t to stdout").delimiter, '\t');
  EXPECT_EQ(format("copy t to stdout csv").kind, CopyFormat::Kind::csv);
  EXPECT_EQ(format("copy t to stdout csv").delimiter, ',');
  EXPECT_EQ(format("copy t to stdout (format csv, delimiter ';', quote '''')").delimiter, ';');
  EXPECT_EQ(format("copy t to stdout (format csv, quote '''')").escape, '\'');
  EXPECT_EQ(format("copy t to stdout (format csv, escape '!')").escape, '!');
  EXPECT_EQ(format("copy t to stdout binary").kind, CopyFormat::Kind::binary);
  EXPECT_FALSE(format("copy t to stdout; copy t to stdout csv").certain);
  EXPECT_FALSE(format("copy t to stdout (format nosuch)").certain);
}

// Sizes that would multiply without a bound.
TEST(Lineage, doubling_ends_untraceable) {
  std::string sql = "with a0 as (select pan x, pan y from cards)";
  for (int i = 1; i < 40; ++i) {
    const std::string before = "a" + std::to_string(i - 1);
    sql += ", a" + std::to_string(i) + " as (select l.*, r.* from " + before + " l, " + before + " r)";
  }
  const Analysis analysis = test::analyzed(sql + " select * from a39");
  ASSERT_EQ(analysis.lineage.outputs.size(), 1u);
  EXPECT_TRUE(std::any_of(analysis.lineage.outputs[0].columns.begin(), analysis.lineage.outputs[0].columns.end(),
                          [](const OutputColumn& column) { return column.untraceable; }));
  EXPECT_LE(analysis.lineage.outputs[0].columns.size(), 2000u);
  EXPECT_FALSE(analysis.lineage.complete);
}

}  // namespace
}  // namespace sluice::sql
