// Texts made to be misread, and texts made to stop the reader.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <string_view>

#include "tests/unit/parsers/sql/analysis_check.h"

namespace sluice::sql::test {
namespace {

using std::string_literals::operator""s;

std::string repeated(std::string_view part, size_t times) {
  std::string all;
  all.reserve(part.size() * times);
  for (size_t i = 0; i < times; ++i) all += part;
  return all;
}

Analysis on_big_stack(const std::string& text, const TextSettings& settings = {}, const AnalysisLimits& limits = {}) {
  Analysis analysis;
  on_analysis_stack([&] { analysis = analyze(text, settings, limits); });
  return analysis;
}

// --- encodings -------------------------------------------------------------------------------------------------------

struct Hidden {
  const char* encoding;
  std::string character;  // two or four bytes, one of them a backslash
};
std::ostream& operator<<(std::ostream& out, const Hidden& h) {
  return out << h.encoding;
}

class SqlHiddenBackslash : public testing::TestWithParam<Hidden> {};

// Read as bytes, the backslash inside the character escapes the quote and everything after it is a string; the server
// sees a complete character, a closed string, and a second statement.
TEST_P(SqlHiddenBackslash, DoesNotHideAStatement) {
  const Hidden& h = GetParam();
  const Analysis a = analyzed("SELECT E'" + h.character + "'; DROP TABLE cards; --'", h.encoding);
  if (is_unknown(a)) return;  // as good: nothing is taken for harmless
  EXPECT_EQ(kinds(a), "select,drop");
  EXPECT_EQ(relations(a), "cards:w");
  EXPECT_TRUE(a.depends_on_settings);
}

TEST_P(SqlHiddenBackslash, IsRefusedUnderAnEncodingWhereItIsInvalid) {
  EXPECT_TRUE(is_unknown(analyzed("SELECT E'" + GetParam().character + "'; DROP TABLE cards; --'", "UTF8")));
}

INSTANTIATE_TEST_SUITE_P(ClientOnlyEncodings, SqlHiddenBackslash,
                         testing::Values(Hidden{"SJIS", "\x83\x5c"}, Hidden{"SHIFT_JIS_2004", "\x83\x5c"},
                                         Hidden{"BIG5", "\xa5\x5c"}, Hidden{"GBK", "\x81\x5c"},
                                         Hidden{"GB18030", "\x81\x5c"}, Hidden{"UHC", "\x81\x5c"},
                                         Hidden{"JOHAB", "\x84\x5c"}),
                         [](const auto& one) { return std::string(one.param.encoding); });

// Where the conversion is known to work, the hidden statement is found, not only suspected.
TEST(SqlEncoding, FindsWhatIsBehindAHiddenBackslash) {
  for (const Hidden& h : {Hidden{"SJIS", "\x83\x5c"}, Hidden{"BIG5", "\xa5\x5c"}, Hidden{"GBK", "\x81\x5c"},
                          Hidden{"GB18030", "\x81\x5c"}}) {
    EXPECT_EQ(kinds(analyzed("SELECT E'" + h.character + "'; DROP TABLE cards; --'", h.encoding)), "select,drop")
        << h.encoding;
  }
}

TEST(SqlEncoding, AStrayLeadByteDoesNotSwallowAQuote) {
  // 0x81 0x27 is no character anywhere; PostgreSQL refuses it, and here it is unknown.
  for (const char* encoding : {"SJIS", "BIG5", "GBK", "GB18030", "UHC", "JOHAB", "SHIFT_JIS_2004", "UTF8"}) {
    EXPECT_TRUE(is_unknown(analyzed("SELECT '\x81'; DROP TABLE cards; --'", encoding))) << encoding;
    EXPECT_TRUE(is_unknown(analyzed("SELECT '\x81", encoding))) << encoding;
  }
}

TEST(SqlEncoding, ReadsTheOnesThatAreSafe) {
  Analysis a = analyzed("SELECT '\xe9' FROM cards", "LATIN1");
  EXPECT_EQ(relations(a), "cards:r");
  EXPECT_TRUE(complete(a));
  a = analyzed("SELECT * FROM caf\xe9", "LATIN1");
  EXPECT_EQ(relations(a), "caf\xc3\xa9:r");
  EXPECT_FALSE(a.relations_complete);  // the server's table might have another letter there
  EXPECT_TRUE(a.kinds_complete);
  a = analyzed("SELECT * FROM t WHERE x = '\xff\xfe'", "SQL_ASCII");
  EXPECT_EQ(relations(a), "t:r");
  EXPECT_TRUE(is_unknown(analyzed("SELECT '\xe9'", "MULE_INTERNAL")));
  EXPECT_TRUE(is_unknown(analyzed("SELECT '\xe9'", "")));
  EXPECT_TRUE(complete(analyzed("SELECT 'plain'", "MULE_INTERNAL")));  // ASCII is ASCII everywhere
}

// PostgreSQL converts 0x815F of SHIFT_JIS_2004 to a backslash: the literal goes on to the second quote, and the comment
// is part of it. Whoever reads a fullwidth sign there sees the DROP in a comment.
TEST(SqlEncoding, ACharacterThatTheServerTurnsIntoABackslash) {
  EXPECT_TRUE(is_unknown(analyzed("SELECT E'\x81\x5f'; SELECT 1; --'; DROP TABLE cards; --'", "SHIFT_JIS_2004")));
  EXPECT_TRUE(complete(analyzed("SELECT 1", "SHIFT_JIS_2004")));
}

TEST(SqlEncoding, InvalidUtf8IsUnknown) {
  for (const char* bytes : {"\x80", "\xc0\xa7", "\xc1\xbf", "\xe0\x80\xa7", "\xed\xa0\x80", "\xf0\x80\x80\xa7",
                            "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xc3", "\xe2\x82"}) {
    EXPECT_TRUE(is_unknown(analyzed("SELECT '" + std::string(bytes) + "'")))
        << testing::PrintToString(std::string(bytes));
    EXPECT_TRUE(is_unknown(analyzed("SELECT '" + std::string(bytes)))) << testing::PrintToString(std::string(bytes));
  }
  EXPECT_TRUE(complete(analyzed("SELECT '\xc2\x80 \xe2\x82\xac \xf4\x8f\xbf\xbf' FROM t")));
  EXPECT_TRUE(is_unknown(analyzed("SELECT 1\0; DROP TABLE cards"s)));
}

TEST(SqlEncoding, NamesWhoseCaseTheServerMayFoldAreOpen) {
  EXPECT_FALSE(analyzed("SELECT * FROM \xc3\x89tudes").relations_complete);  // É: folded by a LATIN1 server only
  EXPECT_TRUE(analyzed("SELECT * FROM \xe9\xa1\xa7\xe5\xae\xa2").relations_complete);  // 顧客: no case to fold
}

// --- settings --------------------------------------------------------------------------------------------------------

TEST(SqlSettings, StandardConformingStringsOffIsReadAsTheServerReads) {
  const char* const text = "SELECT '\\'; DROP TABLE cards; --'";
  EXPECT_EQ(kinds(analyzed(text, "UTF8", true)), "select,drop");
  EXPECT_EQ(kinds(analyzed(text, "UTF8", false)), "select");
  EXPECT_EQ(kinds(analyzed("SELECT '\\\\'; DROP TABLE cards; --'", "UTF8", false)), "select,drop");
  EXPECT_EQ(kinds(analyzed(text, "UTF8", true)), "select,drop");  // the setting did not stick to the thread
}

TEST(SqlSettings, UncertainOnesLeaveATextUnknownThatDependsOnThem) {
  EXPECT_TRUE(is_unknown(analyzed("SELECT '\\'; DROP TABLE cards; --'", "UTF8", true, false)));
  EXPECT_TRUE(is_unknown(analyzed("SELECT '\xc3\xa9'", "UTF8", true, false)));
  EXPECT_TRUE(complete(analyzed("SELECT 'a' FROM t", "UTF8", true, false)));
}

TEST(SqlSettings, TextThatDependsOnThem) {
  EXPECT_FALSE(text_depends_on_settings(""));
  EXPECT_FALSE(text_depends_on_settings("SELECT 'a' FROM \"b\" -- c"));
  EXPECT_TRUE(text_depends_on_settings("\\"));
  EXPECT_TRUE(text_depends_on_settings("SELECT 1 \\"));
  for (size_t i = 0; i < 20; ++i) {
    std::string text(20, 'a');
    text[i] = '\x80';
    EXPECT_TRUE(text_depends_on_settings(text)) << i;
  }
}

// --- spellings -------------------------------------------------------------------------------------------------------

TEST(SqlSpelling, EscapedNamesAreResolved) {
  EXPECT_EQ(relations(analyzed("SELECT * FROM U&\"\\0063ustomers\"")), "customers:r");
  EXPECT_EQ(relations(analyzed("SELECT * FROM U&\"!0063ustomers\" UESCAPE '!'")), "customers:r");
  EXPECT_EQ(relations(analyzed("SELECT * FROM U&\"\\+000063ustomers\"")), "customers:r");
  EXPECT_EQ(relations(analyzed("SELECT * FROM CUSTOMERS")), "customers:r");
  EXPECT_EQ(relations(analyzed("SELECT * FROM\"customers\"")), "customers:r");
  EXPECT_EQ(relations(analyzed("SELECT * FROM customers*")), "customers:r");
  EXPECT_EQ(relations(analyzed("SELECT * FROM " + std::string(63, 'c') + "_and_more")),
            std::string(63, 'c') + ":r");  // NAMEDATALEN
  EXPECT_EQ(functions(analyzed("SELECT U&\"\\0070g_read_file\"('x')")), "pg_read_file");
  EXPECT_TRUE(is_unknown(analyzed("SELECT U&'\\0027'", "UTF8", false)));  // the server refuses it with scs off
}

TEST(SqlSpelling, StringsHideNothingAndShowNothing) {
  EXPECT_EQ(kinds(analyzed("SELECT 'x; DROP TABLE cards'")), "select");
  EXPECT_EQ(kinds(analyzed("SELECT $$x'; DROP TABLE cards; --$$")), "select");
  EXPECT_EQ(kinds(analyzed("SELECT $a$ $b$ $a$; DROP TABLE cards; --$b$")), "select,drop");
  EXPECT_EQ(kinds(analyzed("SELECT E'\\'; DROP TABLE cards; --'")), "select");
  EXPECT_EQ(kinds(analyzed("SELECT E'a'\n'\\'; DROP TABLE cards; --'")),
            "select");  // the continuation is an E string too
  EXPECT_EQ(kinds(analyzed("SELECT 'a' -- c\n'\\'; DROP TABLE cards; --'")), "select,drop");
  EXPECT_EQ(kinds(analyzed("SELECT U&'\\'; DROP TABLE cards; --'")), "unknown");
  EXPECT_EQ(kinds(analyzed("SELECT 1 AS \"a\"\"; DROP TABLE cards; --\"")), "select");
}

TEST(SqlSpelling, CommentsOfMegabytes) {
  const AnalysisLimits limits{.text_bytes_max = 16u << 20};
  const std::string filler(3u << 20, 'x');
  EXPECT_EQ(kinds(on_big_stack("SELECT 1 /*" + filler + "*/; DROP TABLE cards", {}, limits)), "select,drop");
  EXPECT_EQ(kinds(on_big_stack("SELECT 1 --" + filler + "\n; DROP TABLE cards", {}, limits)), "select,drop");
  EXPECT_EQ(kinds(on_big_stack("SELECT '" + filler + "'; DROP TABLE cards", {}, limits)), "select,drop");
  EXPECT_EQ(kinds(on_big_stack(repeated("/*", 200'000) + repeated("*/", 200'000) + "DROP TABLE cards", {}, limits)),
            "drop");
  EXPECT_TRUE(is_unknown(on_big_stack(repeated("/*", 200'000) + "DROP TABLE cards", {}, limits)));
  EXPECT_EQ(kinds(analyzed("/* /* */ */ DROP TABLE cards")), "drop");
  EXPECT_TRUE(is_unknown(analyzed("/* /* */ DROP TABLE cards")));
  EXPECT_TRUE(is_unknown(on_big_stack("SELECT 1 /*" + filler + "*/")));  // over text_bytes_max
  EXPECT_EQ(kinds(analyzed(repeated("/**/", 100'000) + "DROP TABLE cards")), "drop");
  EXPECT_EQ(kinds(analyzed(repeated("--\n", 100'000) + "DROP TABLE cards")), "drop");
  EXPECT_EQ(kinds(analyzed("DO $$ " + repeated("/**/", 100'000) + " BEGIN DROP TABLE cards; END $$")), "drop,do");
}

// libpg_query's grammar sees comments; the server's does not. The analysis reads as the server does.
TEST(SqlSpelling, CommentsSeparateAndDoNothingElse) {
  EXPECT_EQ(relations(analyzed("SELECT * FROM/**/cards/**/WHERE a NOT /**/ LIKE 'x' ORDER BY b NULLS -- c\n FIRST")),
            "cards:r");
  EXPECT_EQ(relations(analyzed("SELECT * FROM U&\"!0063ards\" /* c */ UESCAPE -- d\n '!'")), "cards:r");
  EXPECT_EQ(kinds(analyzed("SELECT 1 +/* c */- 1; DROP/**/TABLE cards")), "select,drop");
  EXPECT_EQ(kinds(analyzed("SELECT '/*'; DROP TABLE cards; --*/'")), "select,drop");
  EXPECT_EQ(kinds(analyzed("SELECT \"/*\"; DROP TABLE cards; --*/\"")), "select,drop");
  EXPECT_EQ(kinds(analyzed("SELECT $$/*$$; DROP TABLE cards; --*/$$")), "select,drop");
  EXPECT_EQ(kinds(analyzed("SELECT a$$/*$$; DROP TABLE cards; --*/$$")), "unknown");  // a$$ is a name
  EXPECT_EQ(kinds(analyzed("SELECT 1 --/*\n; DROP TABLE cards; --*/")), "select,drop");
  EXPECT_EQ(kinds(analyzed("SELECT 1 */*; DROP TABLE cards; --*/ 1")), "select");
  // The server joins the two literals into one body: the comment is between them, and the DROP is in it.
  EXPECT_EQ(kinds(analyzed("DO 'BEGIN DROP TABLE cards; END; --' -- c\n'BEGIN NULL; END'")), "drop,do");
  EXPECT_FALSE(analyzed("DO 'BEGIN DROP TABLE cards; END' 'BEGIN NULL; END'").kinds_complete);
}

TEST(SqlLimits, RunsOfOperatorCharactersAreBounded) {
  for (const char* run : {"+", "-+", "*", "@", "<", "+*"}) {
    EXPECT_TRUE(is_unknown(on_big_stack("SELECT 1" + repeated(run, 19'000) + "1"))) << run;
    EXPECT_TRUE(is_unknown(on_big_stack("SELECT 1" + repeated(run, 64) + " 1"))) << run;
  }
  EXPECT_FALSE(is_unknown(analyzed("SELECT 1" + std::string(63, '@') + "1")));
  EXPECT_TRUE(complete(analyzed("SELECT 1 " + std::string(500, '-') + "\n;/" + std::string(500, '*') + "/")));
}

TEST(SqlSpelling, NewerSyntaxAndNoSyntaxAreUnknown) {
  EXPECT_TRUE(is_unknown(analyzed("MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN DELETE RETURNING a.pan")));
  EXPECT_TRUE(is_unknown(analyzed("SELECT 1_000")));
  EXPECT_TRUE(is_unknown(analyzed("SELECT 0x1F")));
  EXPECT_TRUE(is_unknown(analyzed("SELEC 1")));
  EXPECT_TRUE(is_unknown(analyzed("SELECT 1; SELEC 2")));
  EXPECT_TRUE(is_unknown(analyzed("SELECT 'a")));
  EXPECT_TRUE(is_unknown(analyzed("\\d")));
}

// --- limits ----------------------------------------------------------------------------------------------------------

TEST(SqlLimits, LongChainsNeitherCrashNorTakeForever) {
  EXPECT_TRUE(is_unknown(on_big_stack("SELECT 1" + repeated("+1", 30'000))));  // 60 KB: over tokens_max
  const auto begin = std::chrono::steady_clock::now();
  const Analysis a = on_big_stack("SELECT 1" + repeated("+1", 9'990) + " FROM cards");
  EXPECT_EQ(relations(a), "cards:r");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST(SqlLimits, EveryDeepShapeIsSurvived) {
  const std::pair<const char*, const char*> shapes[] = {{"SELECT ", "- "},
                                                        {"SELECT ", "NOT "},
                                                        {"SELECT x", "::int"},
                                                        {"SELECT x", " COLLATE c"},
                                                        {"SELECT x", " IS NULL"},
                                                        {"SELECT 1", " UNION SELECT 1"},
                                                        {"SELECT * FROM a", " CROSS JOIN a"},
                                                        {"SELECT 1", " AND 1"},
                                                        {"SELECT x", "[1]"},
                                                        {"SELECT x", ".y"},
                                                        {"SELECT 1", " = ANY (x)"},
                                                        {"SELECT x", " AT TIME ZONE y"},
                                                        {"SELECT 1", "||1"},
                                                        {"SELECT ", "@ "},
                                                        {"SELECT ", "CASE WHEN 1 THEN "},
                                                        {"SELECT ", "("},
                                                        {"", "("},
                                                        {"SELECT ", "f("},
                                                        {"SELECT ", "ARRAY["},
                                                        {"", "EXPLAIN "},
                                                        {"", "SELECT 1;"},
                                                        {"", ";"},
                                                        {"SELECT ", "1,"},
                                                        {"", "WITH a AS ("},
                                                        {"CREATE SCHEMA a ", "CREATE SCHEMA a "},
                                                        {"SELECT ", "EXISTS (SELECT "},
                                                        {"INSERT INTO t VALUES ", "(1),"},
                                                        {"SELECT ", "ROW("},
                                                        {"SELECT 1 ", "OPERATOR(a.+) "}};
  for (const auto& [head, part] : shapes) {
    const AnalysisLimits roomy{.nesting_max = 20'000, .statements_max = 20'000};
    for (const size_t times : {400, 6'500, 19'000}) {
      (void)on_big_stack(head + repeated(part, times) + " 1", {}, roomy);
      (void)on_big_stack(head + repeated(part, times), {}, {});
    }
  }
}

TEST(SqlLimits, NestingIsBounded) {
  EXPECT_TRUE(complete(on_big_stack("SELECT " + repeated("(", 400) + "1" + repeated(")", 400))));
  EXPECT_TRUE(is_unknown(on_big_stack("SELECT " + repeated("(", 501) + "1" + repeated(")", 501))));
  EXPECT_TRUE(is_unknown(on_big_stack("SELECT " + repeated("CASE WHEN 1 THEN ", 501) + "1" + repeated(" END", 501))));
  EXPECT_TRUE(complete(on_big_stack("SELECT " + repeated("(1),", 2'000) + "1")));
}

TEST(SqlLimits, StatementsAndBytesAreBounded) {
  EXPECT_TRUE(complete(on_big_stack(repeated("SELECT 1;", 1'000))));
  EXPECT_TRUE(is_unknown(on_big_stack(repeated("SELECT 1;", 1'001))));
  EXPECT_TRUE(is_unknown(on_big_stack("SELECT '" + std::string(1u << 20, 'x') + "'")));
  EXPECT_TRUE(complete(on_big_stack("SELECT '" + std::string((1u << 20) - 9, 'x') + "'")));
}

TEST(SqlLimits, AThreadWithoutTheStackRefusesInsteadOfOverflowing) {
  pthread_attr_t attributes;
  pthread_t thread;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, 4u << 20), 0);
  Analysis analysis;
  std::pair<std::string, Analysis*> job{"SELECT 1" + repeated("+1", 9'900), &analysis};
  const auto main = [](void* argument) -> void* {
    const auto* both = static_cast<std::pair<std::string, Analysis*>*>(argument);
    *both->second = analyzed(both->first);
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, main, &job), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  EXPECT_TRUE(is_unknown(analysis));
  EXPECT_NE(analysis.why_unknown.find("stack"), std::string::npos);
}

// --- bodies ----------------------------------------------------------------------------------------------------------

TEST(SqlBodies, LiteralBlocksCountAsWhatTheyRun) {
  Analysis a = analyzed("DO $$ BEGIN DELETE FROM cards WHERE id = 1; END $$");
  EXPECT_EQ(kinds(a), "delete,do");
  EXPECT_EQ(relations(a), "cards:rw");
  EXPECT_TRUE(complete(a)) << a.why_unknown;
  EXPECT_TRUE(a.may_change_settings);
  a = analyzed(
      "DO LANGUAGE plpgsql 'DECLARE x int := (SELECT max(id) FROM a); BEGIN x := (SELECT 1 FROM b) + x; IF x > (SELECT "
      "1 FROM c) "
      "THEN PERFORM 1 FROM d; END IF; FOR x IN 1..(SELECT 1 FROM e) LOOP INSERT INTO f VALUES (x); END LOOP; COMMIT; "
      "END'");
  EXPECT_EQ(kinds(a), "select,insert,do,commit");
  EXPECT_EQ(relations(a), "a:r b:r c:r d:r e:r f:w");
  EXPECT_TRUE(complete(a)) << a.why_unknown;
}

TEST(SqlBodies, WhatTheyHideLeavesThemOpen) {
  for (const char* body :
       {"BEGIN EXECUTE 'DROP TABLE cards'; END", "BEGIN PERFORM own(); END", "not plpgsql",
        "BEGIN FOR r IN EXECUTE 'x' LOOP NULL; END LOOP; END", "DECLARE x int := own(1); BEGIN END",
        "DECLARE x int; BEGIN x[own()] := 1; END", "BEGIN CALL p(); END",
        "BEGIN DO $a$ BEGIN EXECUTE 'x'; END $a$; END",
        // the block changes how its own later SQL is read
        "BEGIN SET standard_conforming_strings = off; PERFORM '\\', $x$'; DROP TABLE t; --$x$; END"}) {
    const Analysis a = analyzed(std::string("DO $body$") + body + "$body$");
    EXPECT_FALSE(a.kinds_complete) << body;
    EXPECT_FALSE(a.relations_complete) << body;
  }
  EXPECT_FALSE(analyzed("DO LANGUAGE plpython3u 'x'").kinds_complete);
  EXPECT_EQ(kinds(analyzed("DO $$ BEGIN DO $a$ BEGIN DROP TABLE cards; END $a$; END $$")), "drop,do");
  EXPECT_FALSE(
      analyzed(
          "DO $a$BEGIN DO $b$BEGIN DO $c$BEGIN DO $d$BEGIN DO $e$BEGIN NULL; END$e$; END$d$; END$c$; END$b$; END$a$")
          .kinds_complete);
}

TEST(SqlBodies, AreBoundedLikeTexts) {
  const Analysis a = on_big_stack("DO $$ BEGIN PERFORM 1" + repeated("+1", 30'000) + "; END $$");
  EXPECT_FALSE(a.kinds_complete);
  const Analysis deep = on_big_stack("DO $$ " + repeated("BEGIN ", 9'000) + repeated("END; ", 9'000) + " $$");
  EXPECT_EQ(kinds(deep), "do");
}

}  // namespace
}  // namespace sluice::sql::test
