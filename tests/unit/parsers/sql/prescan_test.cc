#include "parsers/sql/prescan.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::sql {
namespace {

constexpr PrescanLimits kRoomy{1'000'000, 1'000'000};

size_t tokens(std::string_view text, Conforming conforming = Conforming::yes) {
  std::string bare;
  return prescan(text, conforming, kRoomy, bare).tokens;
}

std::string without_comments(std::string_view text, Conforming conforming = Conforming::yes) {
  std::string bare;
  const Prescan scan = prescan(text, conforming, kRoomy, bare);
  return scan.unterminated ? "unterminated" : scan.has_comments ? bare : std::string(text);
}

TEST(Prescan, CountsTokens) {
  EXPECT_EQ(tokens(""), 0u);
  EXPECT_EQ(tokens("  \t\r\n\f"), 0u);
  EXPECT_EQ(tokens("SELECT a.b, 'it''s' FROM \"c\"\"d\""), 8u);
  EXPECT_EQ(tokens("$1 $x$ a ' b $x$ a$b $$c$$"), 4u);
  EXPECT_EQ(tokens("E'\\'' x'0' B'1' u&'a' U&\"b\""), 5u);
  EXPECT_EQ(tokens("N'a'"), 2u);
  EXPECT_EQ(tokens("'a' \n 'b'\n'c'"), 1u);
  EXPECT_EQ(tokens("'a' 'b'"), 2u);
  EXPECT_EQ(tokens("'\\'", Conforming::yes), 1u);
  EXPECT_EQ(tokens("'\\'' x", Conforming::no), 2u);
  EXPECT_EQ(tokens("B'''a'"), 2u);  // no doubled quotes in these: B'' and 'a'
  EXPECT_EQ(tokens("X'''\\'' x", Conforming::no), 3u);
  EXPECT_EQ(tokens("1 12.5 1.e5 1e-5 2.5E+3"), 5u);
  EXPECT_EQ(tokens("1e1$$ a b $$ .5e1$$ a b $$"), 4u);
  EXPECT_EQ(tokens("a.1.e1$$ b"), 5u);      // a .1 . e1$$ b
  EXPECT_EQ(tokens("1..5.e1$$ b $$"), 4u);  // 1 .. 5.e1 $$ b $$
  EXPECT_EQ(tokens("E'a'\n'\\'' x"), 2u);   // still an E string
}

TEST(Prescan, LeavesCommentsOutAndNothingElse) {
  EXPECT_EQ(without_comments("a/**/b"), "a b");
  EXPECT_EQ(without_comments("a--x\nb"), "a \nb");
  EXPECT_EQ(without_comments("--x"), " ");
  EXPECT_EQ(without_comments("/* /* */ */a/**//**/b"), " a  b");
  EXPECT_EQ(without_comments("/*/**/*/a"), " a");
  EXPECT_EQ(without_comments("'--' \"/*\" $$--$$ $a$/*$a$"), "'--' \"/*\" $$--$$ $a$/*$a$");
  EXPECT_EQ(without_comments("E'\\'--' --x"), "E'\\'--'  ");
  EXPECT_EQ(without_comments("'\\' --'", Conforming::yes), "'\\'  ");
  EXPECT_EQ(without_comments("'\\' --'", Conforming::no), "'\\' --'");
  EXPECT_EQ(without_comments("'a' --x\n 'b--' --y"), "'a'  \n 'b--'  ");
  EXPECT_EQ(without_comments("a$$--$$"), "a$$ ");  // a$$ is a name
  EXPECT_EQ(without_comments("1$$--$$"), "1$$--$$");
  EXPECT_EQ(without_comments("1+--x\n2"), "1+ \n2");
  EXPECT_EQ(without_comments("1*/*x*/2"), "1* 2");
}

TEST(Prescan, SaysWhatDoesNotEnd) {
  for (const char* text : {"'a", "'a''", "\"a", "$$a", "$a$b$", "/*", "/*/", "/*/**/", "E'\\'", "E'\\", "'a'\n'b"}) {
    std::string bare;
    EXPECT_TRUE(prescan(text, Conforming::yes, kRoomy, bare).unterminated) << text;
  }
  for (const char* text : {"", "a", "$", "$a", "a$b$", "--", "'a'\n", "-", "/"}) {
    std::string bare;
    EXPECT_FALSE(prescan(text, Conforming::yes, kRoomy, bare).unterminated) << text;
  }
}

TEST(Prescan, StopsAtItsLimits) {
  std::string bare;
  EXPECT_FALSE(prescan("a b c", Conforming::yes, {3, 9}, bare).too_many_tokens);
  EXPECT_TRUE(prescan("a b c d", Conforming::yes, {3, 9}, bare).too_many_tokens);
  EXPECT_FALSE(prescan("(([1])) ((1))", Conforming::yes, {99, 3}, bare).too_deep);
  EXPECT_TRUE(prescan("(([(1)]))", Conforming::yes, {99, 3}, bare).too_deep);
  EXPECT_TRUE(prescan("CASE WHEN (CASE x END) THEN CASE CASE", Conforming::yes, {99, 2}, bare).too_deep);
  EXPECT_FALSE(prescan("CASE END CASE END END END", Conforming::yes, {99, 1}, bare).too_deep);
  EXPECT_FALSE(prescan(")))]]]", Conforming::yes, {99, 0}, bare).too_deep);
  EXPECT_FALSE(prescan("CASE; CASE; CASE", Conforming::yes, {99, 1}, bare).too_deep);
}

TEST(Prescan, CountsWordsOutsideStrings) {
  WordCounts counts;
  count_words("SELECT a FROM (Select 'select' \"from\") -- from\n", Conforming::yes, counts);
  EXPECT_EQ(counts.words[0], 2u);  // select
  EXPECT_EQ(counts.words[1], 1u);  // from
  EXPECT_EQ(counts.parentheses, 1u);
}

}  // namespace
}  // namespace sluice::sql
