// Card numbers in the forms in which people hide them: found, and masked so that the form stays valid.
#include "tests/unit/policies/cards/card_samples.h"
#include "tests/unit/policies/cards/card_test_support.h"

namespace sluice::policies::testing {
namespace {

TEST(Hidden, EveryFormIsFoundAndStaysItself) {
  const std::vector<std::string> numbers = published_test_numbers();
  for (const HiddenForm& form : hidden_forms()) {
    size_t found = 0;
    std::string missed;
    for (const std::string& number : numbers) {
      const std::string hidden = form.hide(number), text = "pay with [" + hidden + "] now";
      const std::vector<Finding> findings = find(text);
      const bool right = findings.size() == 1 && findings[0].digits == number.size();
      found += right ? 1 : 0;
      if (!right) {
        missed = text;
        continue;
      }
      const std::string after = masked(text);
      EXPECT_EQ(after.size(), text.size()) << form.name;
      EXPECT_NE(after, text) << form.name;
      EXPECT_TRUE(find(after).empty()) << form.name << ": " << text << " became " << after;
      EXPECT_EQ(after.substr(0, 10), text.substr(0, 10)) << form.name;
      EXPECT_EQ(after.substr(after.size() - 5), text.substr(text.size() - 5)) << form.name;
    }
    EXPECT_GE(found * 100, numbers.size() * 95)
        << form.name << ": " << found << " of " << numbers.size() << ", not " << missed;
  }
}

// The forms of binary values, as they are and in the hex form of bytea.
TEST(Hidden, EveryFormInBinaryIsFoundAndStaysItself) {
  const std::vector<std::string> numbers = published_test_numbers();
  for (const HiddenForm& form : binary_forms()) {
    size_t found = 0, in_hex = 0;
    std::string missed;
    for (const std::string& number : numbers) {
      const std::string value = form.hide(number);
      const std::vector<Finding> findings = find(value, ValueType::bytea, ValueFormat::binary);
      const bool right = findings.size() == 1 && findings[0].digits == number.size();
      found += right ? 1 : 0;
      in_hex += find(as_bytea(value), ValueType::bytea).size() == 1 ? 1 : 0;
      if (!right) {
        missed = number;
        continue;
      }
      const std::string after = masked(value, ValueType::bytea, ValueFormat::binary);
      EXPECT_EQ(after.size(), value.size()) << form.name;
      EXPECT_NE(after, value) << form.name;
      EXPECT_TRUE(find(after, ValueType::bytea, ValueFormat::binary).empty()) << form.name << ": " << number;
      EXPECT_EQ(masked(as_bytea(value), ValueType::bytea), as_bytea(after)) << form.name << ": " << number;
    }
    EXPECT_GE(found * 100, numbers.size() * 95) << form.name << ": " << found << ", not " << missed;
    EXPECT_GE(in_hex * 100, numbers.size() * 95) << form.name << ": " << in_hex;
  }
}

TEST(Hidden, MaskKeepsTheForm) {
  EXPECT_EQ(masked("%34%31%31%31%31%31%31%31%31%31%31%31%31%31%31%31"),
            "%34%31%31%31%31%31%2A%2A%2A%2A%2A%2A%31%31%31%31");
  EXPECT_EQ(masked("4111%201111%201111%201111"), "4111%2011**%20****%201111");
  EXPECT_EQ(masked("4111&nbsp;1111&nbsp;1111&nbsp;1111"), "4111&nbsp;11**&nbsp;****&nbsp;1111");
  EXPECT_EQ(masked("4111  1111  1111  1111"), "4111  11**  ****  1111");
  EXPECT_EQ(masked("4111\u200B1111\u200B1111\u200B1111"), "4111\u200B11**\u200B****\u200B1111");
  EXPECT_EQ(masked("\uFF14\uFF11\uFF11\uFF11\uFF11\uFF11\uFF11\uFF11\uFF11\uFF11\uFF11\uFF11\uFF11\uFF11\uFF11\uFF11"),
            "\uFF14\uFF11\uFF11\uFF11\uFF11\uFF11\uFF0A\uFF0A\uFF0A\uFF0A\uFF0A\uFF0A\uFF11\uFF11\uFF11\uFF11");
  EXPECT_EQ(masked(base64("card 4111111111111111 thanks")), base64("card 411111******1111 thanks"));
  EXPECT_EQ(masked(base64("{\"card\":\"4111 1111 1111 1111\"}")), base64("{\"card\":\"4111 11** **** 1111\"}"));
  EXPECT_EQ(masked("34313131313131313131313131313131"), "3431313131312a2a2a2a2a2a31313131");
  EXPECT_EQ(masked(utf16("4111111111111111", false)), utf16("411111******1111", false));
  EXPECT_EQ(masked(utf32("4111111111111111", true)), utf32("411111******1111", true));
  EXPECT_EQ(masked("34 31 31 31 31 31 31 31 31 31 31 31 31 31 31 31"),
            "34 31 31 31 31 31 2a 2a 2a 2a 2a 2a 31 31 31 31");
  const auto mail = [](const std::string& number) {
    return in_lines(base64(std::string(50, 'x') + number + std::string(20, 'y')), 76, "\r\n");
  };
  EXPECT_EQ(masked(mail("4111111111111111")), mail("411111******1111"));
  EXPECT_EQ(masked(R"({"p":"\u0034111 1111 1111 1111"})", ValueType::json), R"({"p":"\u0034111 11** **** 1111"})");
  EXPECT_EQ(masked(R"({"p":"\u0034\u0031\u0031\u0031\u0031\u0031\u0031\u00311111\u0031111"})", ValueType::json),
            R"({"p":"\u0034\u0031\u0031\u0031\u0031\u0031\u002a\u002a****\u0031111"})");
}

TEST(Hidden, StylesApply) {
  EXPECT_EQ(masked("4111%201111%201111%201111", ValueType::text, ValueFormat::text, MaskStyle::full),
            "****%20****%20****%20****");
  EXPECT_EQ(masked("4111%201111%201111%201111", ValueType::text, ValueFormat::text, MaskStyle::bin8_last4),
            "4111%201111%20****%201111");
  EXPECT_EQ(masked("4111111111111111", ValueType::text, ValueFormat::text, MaskStyle::bin8_last4), "41111111****1111");
}

TEST(Hidden, PlainNumbersBesideHiddenOnes) {
  EXPECT_EQ(find("4111111111111111 %34%31%31%31%31%31%31%31%31%31%31%31%31%31%31%31 5555555555554444").size(), 3u);
  EXPECT_EQ(find("100% of 4111 1111 1111 1111 & more").size(), 1u);
  EXPECT_EQ(find("caf\u00E9 4111 1111 1111 1111 \U0001F600").size(), 1u);
}

// 3000000000 4111 would be a Diners number once the first mask stands, read over the double blank.
TEST(Hidden, WhatTwoNumbersShareIsHidden) {
  for (int i = 0; i < 200; ++i) {
    const std::string text = std::to_string(3600000000 + i * 7919) + "  4111 1111 1111 1111";
    const std::string after = masked(text);
    EXPECT_TRUE(find(after).empty()) << after;
    EXPECT_EQ(after.find("1111 1111"), std::string::npos) << after;
  }
}

// The fourth group belongs to the plain number; once it is hidden too, the hidden number begins at the fifth.
TEST(Hidden, ANumberBehindWhatTwoNumbersShare) {
  const std::string text = "5454 5454 5454 5454 5454  5454 5454 5454 55454";
  EXPECT_EQ(masked(text), "5454 54** **** **** 5454  54** **** 5454 55454");
  for (MaskStyle style : {MaskStyle::bin6_last4, MaskStyle::last4, MaskStyle::full}) {
    const std::string after = masked(text, ValueType::text, ValueFormat::text, style);
    EXPECT_TRUE(find(after).empty()) << after;
  }
}

// Of a flood of groups with a double blank somewhere in it, whatever is masked leaves no number standing.
TEST(Hidden, FloodsOfGroupsAreMaskedOnce) {
  for (size_t before = 0; before < 12; ++before) {
    for (size_t behind = 0; behind < 12; ++behind) {
      for (const char* between : {"  ", " 5\\u003454  ", " 54545  5454  "}) {
        std::string text = "5454";
        for (size_t i = 0; i < before; ++i) text += " 5454";
        text += between;
        for (size_t i = 0; i < behind; ++i) text += "5454 ";
        text += "55454";
        const std::string after = masked(text);
        EXPECT_TRUE(find(after).empty()) << text << " became " << after;
      }
    }
  }
}

// The shortest number in hex ends one character behind the place where it shows: also where a block ends in between.
TEST(Hidden, ShortNumbersAtEveryPlace) {
  const std::string hex = each("4222222222222", [](char c) { return hex_of(c, "%02x"); });
  const std::string encoded = base64("4222222222222");
  for (size_t before = 0; before < 140; ++before) {
    const std::string front(before, '.');
    EXPECT_EQ(find(front + hex + ".").size(), 1u) << before;
    EXPECT_EQ(find(front + encoded + ".").size(), 1u) << before;
  }
}

TEST(Hidden, LookAlikesStay) {
  for (const char* text : {
           "https://example.org/%D0%9F%D1%80%D0%B8%D0%B2%D0%B5%D1%82?id=12345&n=100%25",
           "d41d8cd98f00b204e9800998ecf8427ed41d8cd98f00b204e9800998ecf8427e",
           "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jk",
           "\u041F\u0440\u0438\u0432\u0435\u0442 2025-12-01, \u4E2D\u6587 1234 5678",
           "\\u0041\\u0042\\u0043 &copy; &#169; &amp; \\x41\\n",
       }) {
    EXPECT_TRUE(find(text).empty()) << text;
  }
}

// Digits that a mask leaves standing beside base64 are base64 too.
TEST(Hidden, EncodedNumbersRightBehindPlainOnes) {
  const std::string text = "378282246310005" + base64("4111111111111111") + " and 4111 1111 1111 1111%20" +
                           "%35%35%35%35%35%35%35%35%35%35%35%35%34%34%34%34";
  for (MaskStyle style : {MaskStyle::bin6_last4, MaskStyle::last4, MaskStyle::full}) {
    const std::string after = masked(text, ValueType::text, ValueFormat::text, style);
    EXPECT_TRUE(find(after).empty()) << after;
  }
}

// Signs everywhere and no number: what is looked at stays small, and what is found is the same.
TEST(Hidden, ManySignsAndANumberAmongThem) {
  std::string text;
  for (int i = 0; i < 3000; ++i) text += i % 3 == 0 ? "100% & \u00E9 " : "\\n \u65E5\u672C 12%20 ";
  const size_t place = text.size();
  text += "%34%31%31%31%31%31%31%31%31%31%31%31%31%31%31%31";
  for (int i = 0; i < 3000; ++i) text += "&amp; +1 ";
  const std::vector<Finding> findings = find(text);
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].offset, place);
}

}  // namespace
}  // namespace sluice::policies::testing
