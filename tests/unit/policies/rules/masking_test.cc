// `then: mask`: styles and data, for whom, and what is wrong with its place.
#include "policies/rules/masking.h"

#include "tests/unit/policies/rules/support.h"

namespace sluice::policies {
namespace {

using testing::alice;
using testing::app_user;

Masking masking(const std::string& rules, std::string_view target = "payments-db",
                const AttestedIdentity& who = alice()) {
  const auto set = testing::policy(rules);
  const ClaimedIdentity claimed = app_user();
  return masking_for(*set, Subject{target, Direction::outbound, "postgres", who, claimed});
}

std::vector<std::string> names(const Masking& masking) {
  std::vector<std::string> out;
  for (size_t i = 0; masking.patterns != nullptr && i < masking.patterns->patterns().size(); ++i) {
    if ((masking.data >> i & 1) != 0) out.push_back(masking.patterns->patterns()[i].name);
  }
  return out;
}

std::string problems(const std::string& rules) {
  return testing::shown(testing::problems_of("version: 1\nrules:\n" + rules));
}

TEST(Masking, WithoutRulesIsTheUsualStyle) {
  EXPECT_EQ(masking("").style, MaskStyle::bin6_last4);
  EXPECT_EQ(masking("").patterns, nullptr);
}

TEST(Masking, TheStrictestStyleOfTheRulesThatMatchIsTaken) {
  const std::string rules = R"(rules:
  - {name: all, when: {target: "*"}, then: mask, style: bin8_last4}
  - {name: payments, when: {target: "payments-*"}, then: mask, data: [pan, cvv, track], style: last4}
  - {name: bob, when: {identity: {user: bob}}, then: mask, style: full}
)";
  EXPECT_EQ(masking(rules).style, MaskStyle::last4);
  EXPECT_EQ(masking(rules, "orders").style, MaskStyle::bin8_last4);
  AttestedIdentity bob = alice();
  bob.user = "bob";
  EXPECT_EQ(masking(rules, "orders", bob).style, MaskStyle::full);
}

TEST(Masking, ARuleThatOnlyMayMatchMasksMoreButNeverLess) {
  AttestedIdentity nobody = alice();
  nobody.user.clear();
  EXPECT_EQ(
      masking("rules:\n  - {name: a, when: {identity: {user: bob}}, then: mask, style: full}\n", "x", nobody).style,
      MaskStyle::full);
  EXPECT_EQ(
      masking("rules:\n  - {name: a, when: {identity: {user: bob}}, then: mask, style: bin8_last4}\n", "x", nobody)
          .style,
      MaskStyle::bin6_last4);
  EXPECT_EQ(
      names(masking("rules:\n  - {name: a, when: {identity: {user: bob}}, then: mask, data: email}\n", "x", nobody)),
      std::vector<std::string>{"email"});
}

TEST(Masking, EachSessionHasTheDataOfItsRules) {
  const std::string rules = R"(rules:
  - {name: a, when: {target: "payments-*"}, then: mask, data: [iban, {name: employee_id, pattern: 'E-[0-9]{6}'}]}
  - {name: b, when: {target: orders}, then: mask, data: [email, iban]}
)";
  EXPECT_EQ(names(masking(rules)), (std::vector<std::string>{"iban", "employee_id"}));
  EXPECT_EQ(names(masking(rules, "orders")), (std::vector<std::string>{"iban", "email"}));
  EXPECT_EQ(names(masking(rules, "other")), std::vector<std::string>{});
}

TEST(Masking, MaskedWritesAreAllowedForCertainAlone) {
  const std::string rules =
      "rules:\n  - {name: a, when: {identity: {user: alice}}, then: mask, masked_writes: allow}\n";
  EXPECT_TRUE(masking("").refuse_masked_writes);
  EXPECT_FALSE(masking(rules).refuse_masked_writes);
  AttestedIdentity nobody = alice();
  nobody.user.clear();
  EXPECT_TRUE(masking(rules, "x", nobody).refuse_masked_writes);
}

TEST(Masking, DecidesNothingAboutCommands) {
  const auto set = testing::policy("default: block\nrules:\n  - {name: a, when: {target: \"*\"}, then: mask}\n");
  EXPECT_EQ(set->rule_count(), 1U);
  EXPECT_EQ(testing::decide(*set, testing::statement({StatementKind::select})).effect, Effect::block);
}

TEST(Masking, MistakesHaveTheirPlace) {
  EXPECT_EQ(problems("  - {name: a, when: {target: \"*\"}, then: mask, style: bin4}\n"),
            "test.yaml:3:55: error: `bin4` is no style [one of: bin6_last4, last4, full, bin8_last4]\n");
  EXPECT_EQ(problems("  - {name: a, when: {target: \"*\"}, then: mask, data: [iban, emial]}\n"),
            "test.yaml:3:61: error: `emial` is no kind of data [did you mean `email`?]\n");
  EXPECT_EQ(problems("  - {name: a, when: {target: \"*\"}, then: mask, data: email, style: full}\n"),
            "test.yaml:3:68: error: `style` is about card numbers, which this rule's `data` does not name [add pan to "
            "`data`, or take "
            "`style` out: other data is masked whole]\n");
  EXPECT_EQ(
      problems(
          "  - name: a\n    when: {target: \"*\"}\n    then: mask\n    data:\n      - {name: x, pattern: 'a[0-9]+'}\n"),
      "test.yaml:7:28: error: pattern `x`: has no bound to its width: write {1,40} in place of + and {0,40} in place "
      "of * [syntax: "
      "PCRE without backreferences and look-around, as Hyperscan has it]\n");
  EXPECT_EQ(problems("  - {name: a, when: {target: \"*\", statement: select, tables: cards}, then: mask}\n"),
            "test.yaml:3:46: error: `statement` is no condition of a rule that masks [such a rule is about whole "
            "sessions: target, "
            "protocol, direction, identity]\n"
            "test.yaml:3:62: error: `tables` is no condition of a rule that masks [such a rule is about whole "
            "sessions: target, "
            "protocol, direction, identity]\n");
  EXPECT_EQ(problems("  - {name: a, when: {target: \"*\"}, then: block, because: x, style: full}\n"),
            "test.yaml:3:68: error: `style` belongs to `then: mask` []\n");
}

TEST(Masking, OneNameIsOnePattern) {
  EXPECT_EQ(problems("  - {name: a, when: {target: \"*\"}, then: mask, data: {name: x, pattern: 'abc'}}\n"
                     "  - {name: b, when: {target: \"*\"}, then: mask, data: {name: x, pattern: 'abd'}}\n"),
            "test.yaml:4:5: error: rule `b`: `x` is another pattern in a rule before [findings are told apart by their "
            "names]\n");
  EXPECT_EQ(
      problems("  - {name: a, when: {target: \"*\"}, then: mask}\n  - {name: a, when: {target: x}, then: mask}\n"),
      "test.yaml:4:5: error: a second rule is named `a` [the first is at test.yaml:3]\n");
}

}  // namespace
}  // namespace sluice::policies
