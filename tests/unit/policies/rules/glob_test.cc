#include "policies/rules/glob.h"

#include <gtest/gtest.h>

#include "policies/rules/field_reader.h"

namespace sluice::policies {
namespace {

TEST(Glob, Matches) {
  struct Case {
    const char* pattern;
    const char* text;
    bool matches;
  };
  const Case cases[] = {{"a", "a", true},        {"a", "b", false},
                        {"a", "aa", false},      {"*", "", true},
                        {"**", "x/y", true},     {"?", "", false},
                        {"?", "x", true},        {"a*", "a", true},
                        {"a*", "ba", false},     {"*a", "xxa", true},
                        {"*a", "xxab", false},   {"a*b*c", "axxbyyc", true},
                        {"a*b*c", "acb", false}, {"*/psql", "/usr/bin/psql", true},
                        {"a?c*", "abcd", true},  {"*ab", "aab", true},
                        {"*a*a*", "a", false},   {"x*", "", false},
                        {"[a]", "a", false},     {"a.c", "abc", false}};
  for (const Case& c : cases)
    EXPECT_EQ(Glob::pattern(c.pattern).matches(c.text), c.matches) << c.pattern << " " << c.text;
  EXPECT_TRUE(Glob().matches("anything"));
  EXPECT_TRUE(Glob::literal("a*").matches("a*"));
  EXPECT_FALSE(Glob::literal("a*").matches("ab"));
}

TEST(Glob, ManyStarsStayFast) {
  std::string pattern;
  for (int i = 0; i < 250; ++i) pattern += "*a";
  EXPECT_FALSE(Glob::pattern(pattern + "b").matches(std::string(4'000, 'a')));
}

TEST(Glob, CoversOnlyWhatIsCertain) {
  EXPECT_TRUE(Glob().covers(Glob::pattern("a*")));
  EXPECT_TRUE(Glob::pattern("a*").covers(Glob::pattern("ab")));
  EXPECT_TRUE(Glob::pattern("a*").covers(Glob::pattern("a*")));
  EXPECT_FALSE(Glob::pattern("a*").covers(Glob::pattern("*")));
  EXPECT_FALSE(Glob::pattern("ab").covers(Glob::pattern("a*")));
}

TEST(DidYouMean, NearWordsOnly) {
  const Word words[] = {{"addresses"}, {"name"}, {"when_down"}};
  EXPECT_EQ(did_you_mean("adresses", words), "did you mean `addresses`?");
  EXPECT_EQ(did_you_mean("nmae", words), "did you mean `name`?");
  EXPECT_EQ(did_you_mean("whendown", words), "did you mean `when_down`?");
  EXPECT_EQ(did_you_mean("protocol", words), "");
  EXPECT_EQ(did_you_mean("", words), "");
  EXPECT_EQ(did_you_mean(std::string(1'000, 'a'), words), "");
}

}  // namespace
}  // namespace sluice::policies
