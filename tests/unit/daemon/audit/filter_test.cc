#include "daemon/audit/filter.h"

#include <gmock/gmock.h>

#include <map>

#include "daemon/audit/pattern.h"

namespace sluice::audit {
namespace {

using testing::HasSubstr;

class Subject final : public FilterSubject {
 public:
  Subject(std::initializer_list<std::pair<const FilterKey, std::vector<std::string>>> values) : values_(values) {}
  void values(FilterKey key, std::vector<std::string_view>& out) const override {
    const auto found = values_.find(key);
    if (found == values_.end()) return;
    for (const std::string& value : found->second) out.push_back(value);
  }

 private:
  std::map<FilterKey, std::vector<std::string>> values_;
};

const Subject kSubject = {{FilterKey::type, {"command_blocked"}},
                          {FilterKey::target, {"payments-db"}},
                          {FilterKey::user, {"alice"}},
                          {FilterKey::uid, {"1000"}},
                          {FilterKey::db_user, {"app"}},
                          {FilterKey::rows, {"25"}},
                          {FilterKey::kind, {"select", "drop"}},
                          {FilterKey::relation, {"cards", "public.cards"}},
                          {FilterKey::text, {"select * from cards where note = 'a b'"}}};

bool matches(std::string_view text) {
  const auto filter = Filter::parse(text);
  EXPECT_TRUE(filter.has_value()) << text << ": " << (filter ? "" : filter.error().message);
  return filter && filter->matches(kSubject);
}
std::string error_of(std::string_view text) {
  const auto filter = Filter::parse(text);
  return filter ? "parsed" : filter.error().message;
}

TEST(Filter, TheExampleOfTheManual) {
  EXPECT_TRUE(matches("type=command_blocked and target=payments-* and identity.user=alice and command.text~\"cards\""));
}

TEST(Filter, Comparisons) {
  EXPECT_TRUE(matches(""));
  EXPECT_TRUE(matches("  "));
  EXPECT_TRUE(matches("target=payments-db"));
  EXPECT_TRUE(matches("target = 'payments-db'"));
  EXPECT_FALSE(matches("target=payments"));
  EXPECT_TRUE(matches("target!=payments"));
  EXPECT_TRUE(matches("target=*-db"));
  EXPECT_TRUE(matches("target=p*m*b"));
  EXPECT_FALSE(matches("target!=*"));
  EXPECT_TRUE(matches("user=alice and uid=1000"));
  EXPECT_TRUE(matches("identity.claimed.user=app and db_user=app and identity.db_user=app"));
  EXPECT_TRUE(matches("uid>=1000 and uid<=1000 and uid>999 and uid<1001"));
  EXPECT_FALSE(matches("rows>25"));
  EXPECT_TRUE(matches("target~\"^pay.*db$\""));
  EXPECT_FALSE(matches("target~^db"));
  EXPECT_TRUE(matches("command.text~\"(?i)SELECT\""));
}

TEST(Filter, AListMatchesByOneEntryAndDiffersByNone) {
  EXPECT_TRUE(matches("statement=drop"));
  EXPECT_TRUE(matches("command.kind=select"));
  EXPECT_TRUE(matches("tables=public.cards and tables=cards"));
  EXPECT_FALSE(matches("statement!=drop"));
  EXPECT_TRUE(matches("statement!=insert"));
}

TEST(Filter, WhatIsNotThereIsEqualToNothing) {
  EXPECT_FALSE(matches("rule=*"));
  EXPECT_FALSE(matches("rule=\"\""));
  EXPECT_TRUE(matches("rule!=x"));
  EXPECT_FALSE(matches("bytes>0"));
  EXPECT_TRUE(matches("not rule~."));
}

TEST(Filter, AndBindsCloserThanOr) {
  EXPECT_TRUE(matches("user=alice or user=bob and user=carol"));
  EXPECT_FALSE(matches("(user=alice or user=bob) and user=carol"));
  EXPECT_TRUE(matches("not user=bob and not (user=carol or user=dave)"));
  EXPECT_FALSE(matches("not not user=bob"));
}

TEST(Filter, QuotedValues) {
  EXPECT_TRUE(matches("command.text=\"select * from cards where note = 'a b'\""));
  EXPECT_TRUE(matches(R"(command.text~'\'a b\'')"));
  EXPECT_TRUE(matches("command.text=\"*and*\" or command.text=\"*(*\" or user=alice"));
}

TEST(Filter, ErrorsSayWhereAndWhat) {
  EXPECT_THAT(error_of("typ=x"), HasSubstr("at 1: unknown key \"typ\"; did you mean \"type\"?"));
  EXPECT_THAT(error_of("user=alice and identity.usr=x"),
              HasSubstr("at 16: unknown key \"identity.usr\"; did you mean \"identity.user\"?"));
  EXPECT_THAT(error_of("type=command_bloked"), HasSubstr("did you mean \"command_blocked\"?"));
  EXPECT_THAT(error_of("outcome=denied"), HasSubstr("no event has \"denied\" there"));
  EXPECT_THAT(error_of("user"), HasSubstr("expected one of = != ~"));
  EXPECT_THAT(error_of("user="), HasSubstr("at 6: expected a value"));
  EXPECT_THAT(error_of("user=\"x"), HasSubstr("at 6: a quoted value that does not end"));
  EXPECT_THAT(error_of("(user=x"), HasSubstr("at 1: \"(\" without \")\""));
  EXPECT_THAT(error_of("user=x)"), HasSubstr("\")\" without \"(\""));
  EXPECT_THAT(error_of("user=x user=y"), HasSubstr("at 8: expected \"and\" or \"or\""));
  EXPECT_THAT(error_of("user=x and"), HasSubstr("expected a key"));
  EXPECT_THAT(error_of("user>5"), HasSubstr("compare numbers"));
  EXPECT_THAT(error_of("rows>many"), HasSubstr("compare numbers"));
  EXPECT_THAT(error_of("user~\"(\""), HasSubstr("pattern:"));
  EXPECT_THAT(error_of("user~\"(a)\\1\""), HasSubstr("pattern:"));  // cannot be matched in linear time
  EXPECT_THAT(error_of("\xff=x"), HasSubstr("expected a key"));
}

TEST(Filter, Limits) {
  EXPECT_THAT(error_of(std::string(Filter::kDepthMax + 1, '(') + "user=x"), HasSubstr("nested too deeply"));
  EXPECT_THAT(error_of(std::string(5000, 'x')), HasSubstr("longer than"));
  std::string many = "uid=1";
  for (size_t i = 0; i < Filter::kComparisonsMax; ++i) many += " or uid=1";
  EXPECT_THAT(error_of(many), HasSubstr("comparisons"));
  EXPECT_THAT(error_of("user=" + std::string(Filter::kPatternBytesMax + 1, 'x')), HasSubstr("at most"));
}

TEST(Glob, StarsAndPlain) {
  EXPECT_TRUE(glob_matches("", ""));
  EXPECT_FALSE(glob_matches("", "x"));
  EXPECT_TRUE(glob_matches("*", ""));
  EXPECT_TRUE(glob_matches("a*", "a"));
  EXPECT_TRUE(glob_matches("*ab*ab", "abxabab"));
  EXPECT_FALSE(glob_matches("a*b", "abc"));
  EXPECT_FALSE(glob_matches("?", "x")) << "only * is special";
  EXPECT_FALSE(glob_matches(std::string(100, '*') + "b", std::string(10000, 'a')));
}

TEST(Pattern, APatternThatBacktrackersDieOnIsQuick) {
  const auto pattern = Pattern::compile("(a+)+$");
  ASSERT_TRUE(pattern.has_value());
  EXPECT_FALSE(pattern->occurs_in(std::string(100000, 'a') + "b"));
  EXPECT_TRUE(pattern->occurs_in("ba"));
  EXPECT_FALSE(Pattern::compile(std::string("a\0b", 3)).has_value());
}

}  // namespace
}  // namespace sluice::audit
