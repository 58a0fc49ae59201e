// What ordinary and unusual statements mean: kinds, relations, functions, and whether that is all.
#include <gtest/gtest.h>

#include <ostream>

#include "tests/unit/parsers/sql/analysis_check.h"

namespace sluice::sql::test {
namespace {

struct Meaning {
  const char* text;
  const char* kinds;
  const char* relations;
  bool complete = true;
};
std::ostream& operator<<(std::ostream& out, const Meaning& m) {
  return out << m.text;
}

class SqlMeaning : public testing::TestWithParam<Meaning> {};

TEST_P(SqlMeaning, IsSeen) {
  const Meaning& expected = GetParam();
  const Analysis seen = analyzed(expected.text);
  EXPECT_EQ(kinds(seen), expected.kinds);
  EXPECT_EQ(relations(seen), expected.relations);
  EXPECT_EQ(complete(seen), expected.complete) << seen.why_unknown;
  EXPECT_EQ(seen.why_unknown.empty(), expected.complete);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, SqlMeaning,
    testing::Values(
        Meaning{"SELECT 1", "select", ""}, Meaning{"", "", ""}, Meaning{";;", "", ""},
        Meaning{"TABLE cards", "select", "cards:r"}, Meaning{"VALUES (1)", "select", ""},
        Meaning{"SELECT * FROM ONLY Cards", "select", "cards:r"},
        Meaning{"SELECT * FROM \"Cards\"", "select", "Cards:r"},
        Meaning{"SELECT * FROM db.public.cards c, s.t", "select", "public.cards:r s.t:r"},
        Meaning{"SELECT a FROM b WHERE c IN (SELECT d FROM e) ORDER BY (SELECT f FROM g)", "select", "b:r e:r g:r"},
        Meaning{"SELECT 1 UNION SELECT x FROM a EXCEPT SELECT y FROM b", "select", "a:r b:r"},
        Meaning{"SELECT * FROM a LEFT JOIN b USING (x), LATERAL (SELECT * FROM c) l", "select", "a:r b:r c:r"},
        Meaning{"SELECT * INTO copy FROM cards", "select,create", "cards:r copy:w"},
        Meaning{"SELECT * FROM cards c FOR UPDATE OF c", "select", "cards:r"},
        Meaning{"INSERT INTO t VALUES (1), (2)", "insert", "t:w"},
        Meaning{"INSERT INTO t DEFAULT VALUES", "insert", "t:w"},
        Meaning{"INSERT INTO t VALUES ((SELECT pan FROM cards))", "select,insert", "cards:r t:w"},
        Meaning{"INSERT INTO t SELECT * FROM cards", "select,insert", "cards:r t:w"},
        Meaning{"INSERT INTO t VALUES (1) RETURNING *", "insert", "t:rw"},
        Meaning{"INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", "insert", "t:rw"},
        Meaning{"INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET x = 1", "insert,update", "t:rw"},
        Meaning{"UPDATE t SET x = u.x FROM u WHERE t.id = u.id", "update", "t:rw u:r"},
        Meaning{"DELETE FROM t USING u WHERE t.id = u.id", "delete", "t:rw u:r"},
        Meaning{"MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1)",
                "insert,delete,merge", "s:r t:rw"},
        Meaning{
            "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET a = 1 WHEN NOT MATCHED THEN DO NOTHING",
            "update,merge", "s:r t:rw"},
        Meaning{"TRUNCATE a, s.b", "truncate", "a:w s.b:w"}, Meaning{"TRUNCATE a CASCADE", "truncate", "a:w", false}));

INSTANTIATE_TEST_SUITE_P(
    CommonTableExpressions, SqlMeaning,
    testing::Values(
        Meaning{"WITH c AS (SELECT * FROM cards) SELECT * FROM c", "select", "cards:r"},
        Meaning{"WITH d AS (DELETE FROM cards RETURNING *) SELECT * FROM d", "select,delete", "cards:rw"},
        Meaning{"WITH i AS (INSERT INTO a VALUES (1) RETURNING x) UPDATE b SET y = (SELECT x FROM i)",
                "select,insert,update", "a:rw b:rw"},
        // A name that is a CTE elsewhere is still a table where the CTE is not in scope.
        Meaning{"WITH cards AS (SELECT * FROM cards) SELECT * FROM cards", "select", "cards:r"},
        Meaning{"WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a", "select", "b:r"},
        Meaning{"WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT * FROM a) SELECT * FROM a", "select", ""},
        Meaning{"WITH cards AS (SELECT 1) SELECT * FROM public.cards", "select", "public.cards:r"},
        Meaning{"WITH cards AS (SELECT 1) DELETE FROM cards", "select,delete", "cards:rw"},
        Meaning{"WITH cards AS (SELECT 1) INSERT INTO cards SELECT * FROM cards", "select,insert", "cards:w"},
        Meaning{"SELECT (WITH cards AS (SELECT 1) SELECT * FROM cards), x FROM cards", "select", "cards:r"},
        Meaning{"SELECT * FROM (WITH t AS (SELECT 1) SELECT * FROM t) q; SELECT * FROM t", "select", "t:r"}));

INSTANTIATE_TEST_SUITE_P(
    Objects, SqlMeaning,
    testing::Values(
        Meaning{"CREATE TABLE a (x int REFERENCES b, LIKE c) INHERITS (d)", "create", "a:w b:r c:r d:r"},
        Meaning{"CREATE TABLE a AS SELECT * FROM cards", "select,create", "a:w cards:r"},
        Meaning{"CREATE MATERIALIZED VIEW a AS SELECT * FROM cards", "select,create", "a:w cards:r"},
        Meaning{"CREATE VIEW a AS SELECT * FROM cards", "select,create", "a:w cards:r"},
        Meaning{"REFRESH MATERIALIZED VIEW a", "other", "a:w", false},
        Meaning{"CREATE RULE r AS ON INSERT TO a DO ALSO DELETE FROM b", "delete,create", "a:w b:rw"},
        Meaning{"CREATE INDEX ON cards (pan)", "create", "cards:w"},
        Meaning{"CREATE TRIGGER t AFTER INSERT ON cards FOR EACH ROW EXECUTE FUNCTION f()", "create", "cards:w"},
        Meaning{"CREATE POLICY p ON cards USING (EXISTS (SELECT 1 FROM u))", "select,create", "cards:w u:r"},
        Meaning{"CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = '' AS 'SELECT 1'", "create", ""},
        Meaning{"CREATE FUNCTION f() RETURNS int RETURN (SELECT pan FROM cards)", "select,create", "cards:r"},
        Meaning{"CREATE EXTENSION dblink", "create", "", false}, Meaning{"LOAD 'x'", "other", "", false},
        Meaning{"CREATE SCHEMA s CREATE TABLE t (x int)", "create", "t:w"},
        Meaning{"CREATE FOREIGN TABLE f (x int) SERVER s", "create", "f:w"},
        Meaning{"IMPORT FOREIGN SCHEMA a FROM SERVER s INTO b", "create", "", false},
        Meaning{"CREATE PUBLICATION p FOR TABLE cards", "create", "cards:r"},
        Meaning{"CREATE PUBLICATION p FOR ALL TABLES", "create", "", false},
        Meaning{"CREATE PUBLICATION p FOR TABLES IN SCHEMA s", "create", "", false},
        Meaning{"ALTER TABLE cards ADD COLUMN x int", "alter", "cards:w"},
        Meaning{"ALTER TABLE parent ATTACH PARTITION cards DEFAULT", "alter", "cards:w parent:w"},
        Meaning{"ALTER TABLE a RENAME TO cards", "alter", "a:w cards:w"},
        Meaning{"ALTER TABLE a RENAME COLUMN x TO y", "alter", "a:w"},
        Meaning{"ALTER TABLE cards SET SCHEMA s", "alter", "cards:w s.cards:w"},
        Meaning{"ALTER SCHEMA s RENAME TO t", "alter", "", false}, Meaning{"ALTER SYSTEM SET x = 1", "alter", ""},
        Meaning{"ALTER ROLE r SET search_path = x", "alter", ""},
        Meaning{"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO r", "alter,grant", "", false},
        Meaning{"DROP TABLE a, s.b", "drop", "a:w s.b:w"}, Meaning{"DROP VIEW IF EXISTS v", "drop", "v:w"},
        Meaning{"DROP TABLE a CASCADE", "drop", "a:w", false}, Meaning{"DROP SCHEMA public", "drop", "", false},
        Meaning{"DROP TRIGGER t ON s.cards", "drop", "s.cards:w"}, Meaning{"DROP POLICY p ON cards", "drop", "cards:w"},
        Meaning{"DROP FUNCTION f(int)", "drop", ""}, Meaning{"DROP ROLE r", "drop", ""},
        Meaning{"DROP OWNED BY r", "drop", "", false}, Meaning{"DROP DATABASE d", "drop", "", false},
        Meaning{"COMMENT ON TABLE cards IS 'x'", "comment", "cards:w"},
        Meaning{"COMMENT ON COLUMN s.cards.pan IS 'x'", "comment", "s.cards:w"},
        Meaning{"SECURITY LABEL ON TABLE cards IS 'x'", "comment", "cards:w"},
        Meaning{"GRANT SELECT ON cards TO x", "grant", "cards:w"}, Meaning{"GRANT admin TO x", "grant", ""},
        Meaning{"GRANT SELECT ON ALL TABLES IN SCHEMA s TO x", "grant", "", false},
        Meaning{"REVOKE SELECT ON cards FROM x", "revoke", "cards:w"}));

INSTANTIATE_TEST_SUITE_P(
    Session, SqlMeaning,
    testing::Values(
        Meaning{"BEGIN", "begin", ""}, Meaning{"START TRANSACTION READ ONLY", "begin", ""},
        Meaning{"END", "commit", ""}, Meaning{"ROLLBACK TO s", "rollback", ""}, Meaning{"SAVEPOINT s", "savepoint", ""},
        Meaning{"RELEASE s", "savepoint", ""}, Meaning{"COMMIT PREPARED 'x'", "other", ""},
        Meaning{"SET ROLE x", "set", ""}, Meaning{"SET SESSION AUTHORIZATION x", "set", ""},
        Meaning{"SET LOCAL x = 1", "set", ""}, Meaning{"RESET ALL", "set", ""}, Meaning{"SHOW ALL", "show", ""},
        Meaning{"DISCARD ALL", "other", ""}, Meaning{"LOCK cards", "lock", "cards:w"},
        Meaning{"VACUUM cards", "vacuum", "cards:w"}, Meaning{"VACUUM", "vacuum", "", false},
        Meaning{"VACUUM (ANALYZE) cards", "vacuum,analyze", "cards:w"},
        Meaning{"ANALYZE cards (pan)", "analyze", "cards:w"}, Meaning{"CLUSTER", "other", "", false},
        Meaning{"REINDEX TABLE cards", "other", "cards:w"}, Meaning{"REINDEX SCHEMA s", "other", "", false},
        Meaning{"LISTEN x", "listen", ""}, Meaning{"NOTIFY x", "notify", ""},
        Meaning{"EXPLAIN SELECT * FROM cards", "select,explain", "cards:r"},
        Meaning{"EXPLAIN ANALYZE DELETE FROM cards", "delete,explain", "cards:rw"},
        Meaning{"EXPLAIN ANALYZE CREATE TABLE a AS SELECT * FROM cards", "select,create,explain", "a:w cards:r"},
        Meaning{"PREPARE p AS DELETE FROM cards", "delete,prepare", "cards:rw"},
        Meaning{"DECLARE c CURSOR FOR SELECT * FROM cards", "select,declare", "cards:r"},
        Meaning{"FETCH c", "fetch", ""}, Meaning{"MOVE c", "fetch", ""}, Meaning{"CLOSE c", "other", ""},
        Meaning{"DEALLOCATE p", "other", ""}, Meaning{"CALL p(1)", "call", "", false},
        Meaning{"CHECKPOINT", "other", ""}, Meaning{"SELECT 1; DROP TABLE cards", "select,drop", "cards:w"}));

TEST(SqlCopy, TellsDirectionFormatAndProgram) {
  Analysis a = analyzed("COPY cards FROM STDIN");
  EXPECT_EQ(kinds(a), "copy");
  EXPECT_EQ(relations(a), "cards:w");
  EXPECT_TRUE(a.copies_in && !a.copies_out && !a.copies_binary && complete(a));
  a = analyzed("COPY cards TO STDOUT (FORMAT binary)");
  EXPECT_EQ(relations(a), "cards:r");
  EXPECT_TRUE(!a.copies_in && a.copies_out && a.copies_binary && complete(a));
  EXPECT_TRUE(analyzed("COPY BINARY cards TO STDOUT").copies_binary);
  EXPECT_TRUE(analyzed("COPY cards TO STDOUT (FORMAT 'binary')").copies_binary);
  EXPECT_FALSE(analyzed("COPY cards TO STDOUT (FORMAT csv)").copies_binary);
  a = analyzed("COPY (DELETE FROM cards RETURNING *) TO STDOUT");
  EXPECT_EQ(kinds(a), "delete,copy");
  EXPECT_EQ(relations(a), "cards:rw");
  a = analyzed("COPY cards TO PROGRAM 'cat'");
  EXPECT_TRUE(a.copies_program && !a.copies_out && !a.kinds_complete);
  EXPECT_EQ(functions(a), "copy_program");
  a = analyzed("COPY cards FROM '/etc/passwd'");
  EXPECT_EQ(functions(a), "copy_file");
  EXPECT_FALSE(a.copies_in);
}

TEST(SqlNames, OfPreparedStatementsAndCursors) {
  const Analysis a =
      analyzed("PREPARE \"P 1\" AS SELECT 1; DEALLOCATE b; DECLARE c CURSOR FOR SELECT 1; FETCH ALL FROM d");
  EXPECT_EQ(a.prepares, std::vector<std::string>{"P 1"});
  EXPECT_EQ(a.deallocates, std::vector<std::string>{"b"});
  EXPECT_EQ(a.declares, std::vector<std::string>{"c"});
  EXPECT_EQ(a.fetches, std::vector<std::string>{"d"});
  EXPECT_EQ(analyzed("DEALLOCATE ALL").deallocates, std::vector<std::string>{"*"});
  EXPECT_EQ(analyzed("DISCARD ALL").deallocates, std::vector<std::string>{"*"});
  EXPECT_TRUE(analyzed("DISCARD PLANS").deallocates.empty());
}

TEST(SqlNames, ExecuteIsOpenUntilItsNameIsResolved) {
  Analysis a = analyzed("EXECUTE p(1)");
  EXPECT_EQ(kinds(a), "execute");
  EXPECT_EQ(a.executes, std::vector<std::string>{"p"});
  EXPECT_TRUE(!a.kinds_complete && !a.relations_complete && !a.functions_complete && a.only_executes_open);
  EXPECT_TRUE(analyzed("CREATE TABLE t AS EXECUTE p").only_executes_open);
  EXPECT_TRUE(analyzed("EXPLAIN ANALYZE EXECUTE p").only_executes_open);
  EXPECT_FALSE(analyzed("EXECUTE p; SELECT own()").only_executes_open);
  EXPECT_FALSE(analyzed("SELECT own(); EXECUTE p").only_executes_open);
  EXPECT_FALSE(analyzed("SELECT 1").only_executes_open);
}

TEST(SqlSettings, WhatMayChangeThem) {
  for (const char* text :
       {"SET a = 1", "SET LOCAL standard_conforming_strings = off", "RESET ALL", "DISCARD ALL", "CALL p()",
        "DO $$begin null; end$$", "SELECT set_config('a', 'b', false)", "SELECT own()", "ROLLBACK", "COMMIT",
        "ROLLBACK TO s", "EXECUTE p", "SET NAMES 'SJIS'", "SELECT 1 <<<% 2", "not sql"}) {
    EXPECT_TRUE(analyzed(text).may_change_settings) << text;
  }
  for (const char* text : {"SELECT 1", "INSERT INTO a VALUES (1)", "BEGIN", "SAVEPOINT s", "COPY a FROM STDIN",
                           "ALTER ROLE r SET a = 1", "SHOW a"}) {
    EXPECT_FALSE(analyzed(text).may_change_settings) << text;
  }
}

TEST(SqlFunctions, BuiltInOnesAreNamedAndOthersLeaveAllOpen) {
  Analysis a = analyzed("SELECT count(*), pg_catalog.now(), EXTRACT(year FROM now()), int4('1'), regclass('x') FROM t");
  EXPECT_EQ(functions(a), "count,int4,now,pg_catalog.extract,pg_catalog.now,regclass");
  EXPECT_TRUE(complete(a)) << a.why_unknown;
  a = analyzed("SELECT own_function(1)");
  EXPECT_TRUE(!a.kinds_complete && !a.relations_complete && !a.functions_complete);
  EXPECT_NE(a.why_unknown.find("own_function"), std::string::npos);
  EXPECT_FALSE(complete(analyzed("SELECT public.count(1)")));
  EXPECT_FALSE(complete(analyzed("SELECT * FROM own_function(1) f")));
  EXPECT_FALSE(complete(analyzed("SELECT * FROM t TABLESAMPLE own(1)")));
  EXPECT_TRUE(complete(analyzed("SELECT * FROM t TABLESAMPLE system (1)")));
  EXPECT_TRUE(complete(analyzed("SELECT * FROM t TABLESAMPLE bernoulli (1)")));
  EXPECT_TRUE(complete(analyzed("SELECT (information_schema._pg_expandarray(indkey)).n FROM pg_index")));
  EXPECT_FALSE(complete(analyzed("SELECT information_schema.own()")));
}

TEST(SqlFunctions, SideDoors) {
  for (const char* text :
       {"SELECT query_to_xml('SELECT * FROM cards', true, true, '')", "SELECT * FROM dblink('x', 'y') AS t(a int)",
        "SELECT ts_stat('SELECT v FROM cards')", "SELECT pg_catalog.ts_rewrite('a', 'SELECT t, s FROM cards')",
        "SELECT query_to_xmlschema('x', true, true, '')"}) {
    const Analysis a = analyzed(text);
    EXPECT_TRUE(!a.kinds_complete && !a.relations_complete) << text;
  }
  for (const char* text :
       {"SELECT table_to_xml('cards', true, true, '')", "SELECT database_to_xml(true, true, '')",
        "SELECT schema_to_xml('public', true, true, '')", "SELECT pg_read_file('x')", "SELECT pg_ls_dir('.')",
        "SELECT pg_read_binary_file('x')", "SELECT lo_import('x')", "SELECT lo_export(1, 'x')", "SELECT lo_get(1)",
        "SELECT loread(1, 2)", "SELECT * FROM pg_logical_slot_get_changes('s', NULL, NULL)",
        "SELECT cursor_to_xml('c', 1, true, true, '')"}) {
    const Analysis a = analyzed(text);
    EXPECT_TRUE(a.kinds_complete && !a.relations_complete) << text;
    EXPECT_FALSE(a.functions.empty()) << text;
  }
}

TEST(SqlFunctions, OperatorsThatAreNotBuiltIn) {
  EXPECT_TRUE(complete(analyzed(
      "SELECT 1 OPERATOR(pg_catalog.+) 2, a ~~* b, a BETWEEN 1 AND 2, NOT a LIKE b, c -> 'x' ->> 'y', 1 != 2 "
      "FROM t WHERE a IN (1) AND b = ANY (SELECT 1) AND c IS DISTINCT FROM d AND a SIMILAR TO b ORDER BY a USING <")));
  EXPECT_FALSE(complete(analyzed("SELECT 1 OPERATOR(public.+) 2")));
  EXPECT_FALSE(complete(analyzed("SELECT 1 <<<% 2")));
  EXPECT_FALSE(complete(analyzed("SELECT a FROM t WHERE b <<<% ANY (SELECT 1)")));
  EXPECT_FALSE(complete(analyzed("SELECT a FROM t ORDER BY a USING <<<%")));
}

}  // namespace
}  // namespace sluice::sql::test
