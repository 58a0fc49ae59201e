// Data besides cards: the built-in kinds with their checks, patterns of one's own, values in parts, JSON that stays
// JSON.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "policies/cards/data_scanner.h"

namespace sluice::policies {
namespace {

std::shared_ptr<const DataPatterns> compiled(const std::vector<DataPattern>& patterns) {
  std::string why;
  auto made = DataPatterns::compile(patterns, why);
  EXPECT_NE(made, nullptr) << why;
  return made;
}

std::unique_ptr<CardScanner> scanner_of(const std::vector<DataPattern>& patterns) {
  std::string why;
  auto scanner = create_data_scanner(compiled(patterns), why);
  EXPECT_NE(scanner, nullptr) << why;
  return scanner;
}

std::string masked(CardScanner& scanner, std::string text, ValueType type = ValueType::text,
                   std::vector<Finding>* found = nullptr) {
  ValueView value{{reinterpret_cast<uint8_t*>(text.data()), text.size()}, type};
  std::vector<Finding> findings;
  scanner.scan({&value, 1}, findings, {});
  scanner.mask({&value, 1}, findings, MaskStyle::bin6_last4);
  if (found != nullptr) *found = findings;
  return text;
}

// As a stream of parts of `step` bytes.
std::string masked_in_parts(CardScanner& scanner, const std::string& text, size_t step, size_t& count) {
  std::string out, held;
  StreamState state;
  count = 0;
  for (size_t at = 0; at < text.size(); at += step) {
    held += text.substr(at, step);
    ValueView value{{reinterpret_cast<uint8_t*>(held.data()), held.size()}};
    value.part = at + step >= text.size() ? ValuePart::last : at == 0 ? ValuePart::first : ValuePart::middle;
    value.stream = &state;
    std::vector<Finding> findings;
    size_t settled = 0;
    scanner.scan({&value, 1}, findings, {&settled, 1});
    EXPECT_LE(held.size() - settled, kHoldBackBytesMax);
    for (const Finding& finding : findings) count += finding.continued ? 0 : 1;
    scanner.mask({&value, 1}, findings, MaskStyle::bin6_last4);
    out += held.substr(0, settled);
    held.erase(0, settled);
  }
  EXPECT_TRUE(held.empty());
  return out;
}

TEST(BuiltinData, IbansHaveTheirCountrysLengthAndCheckDigits) {
  const auto scanner = scanner_of({{"iban", ""}});
  // Examples of the registry.
  for (const std::string iban : {"GB82WEST12345698765432", "DE89370400440532013000", "FR1420041010050500013M02606",
                                 "NO9386011117947", "MT84MALT011000012345MTLCAST001S", "DE89 3704 0044 0532 0130 00"}) {
    std::string stars = iban;
    std::replace_if(
        stars.begin(), stars.end(), [](char c) { return c != ' '; }, '*');
    EXPECT_EQ(masked(*scanner, "a " + iban + ", b"), "a " + stars + ", b");
  }
  for (const std::string other :
       {"GB82WEST12345698765433", "GB82WEST1234569876543", "XX82WEST12345698765432", "gb82west12345698765432",
        "AGB82WEST12345698765432", "GB82WEST12345698765432Z", "DE89 3704  0044 0532 0130 00"}) {
    EXPECT_EQ(masked(*scanner, other), other);
  }
}

TEST(BuiltinData, EmailAddressesHaveADomainWithADot) {
  const auto scanner = scanner_of({{"email", ""}});
  EXPECT_EQ(masked(*scanner, "to <jane.doe+x@mail.example.com>, soon."), "to <****.***+*@****.*******.***>, soon.");
  EXPECT_EQ(masked(*scanner, "a@b.co"), "*@*.**");
  EXPECT_EQ(masked(*scanner, "see a@b.com."), "see *@*.***.");
  for (const std::string other :
       {"jane@localhost", "@example.com", "a@b.c", "a@b.c0m", "user@10.0.0.1", "x @example.com"})
    EXPECT_EQ(masked(*scanner, other), other);
}

TEST(BuiltinData, SocialSecurityNumbersHaveAnAreaThatIsGiven) {
  const auto scanner = scanner_of({{"ssn", ""}});
  EXPECT_EQ(masked(*scanner, "ssn 123-45-6789; 219 09 9999"), "ssn ***-**-****; *** ** ****");
  for (const std::string other :
       {"000-12-3456", "666-12-3456", "912-12-3456", "123-00-4567", "123-45-0000", "123-45 6789", "1123-45-6789",
        "123-45-67890", "2-123-45-6789", "123-45-6789-1", "123456789"}) {
    EXPECT_EQ(masked(*scanner, other), other);
  }
}

TEST(DataPatterns, ArePutBesideCards) {
  const auto scanner = scanner_of({{"employee_id", "\\bE-[0-9]{6}\\b"}, {"email", ""}});
  std::vector<Finding> found;
  EXPECT_EQ(masked(*scanner, "E-123456 paid 4111111111111111, e@x.com E-1234567", ValueType::text, &found),
            "*-****** paid 411111******1111, *@*.*** E-1234567");
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(scanner->kind_name(found[0]), "employee_id");
  EXPECT_EQ(scanner->kind_name(found[1]), "pan");
  EXPECT_EQ(scanner->kind_name(found[2]), "email");
}

TEST(DataPatterns, EveryByteThatAMatchCoversIsMasked) {
  const auto scanner = scanner_of({{"number", "[0-9]{3,6}"}});
  std::vector<Finding> found;
  EXPECT_EQ(masked(*scanner, "a 123456789 b 12 c 345", ValueType::text, &found), "a ********* b 12 c ***");
  EXPECT_EQ(found.size(), 2U);
  EXPECT_EQ(masked(*scanner, std::string(100'000, '7')), std::string(100'000, '*'));
}

TEST(DataPatterns, MaskedTextIsLeftAsItIs) {
  const auto scanner = scanner_of({{"employee_id", "\\bE-[0-9]{6}\\b"}, {"email", ""}, {"iban", ""}, {"ssn", ""}});
  const std::string once =
      masked(*scanner, "E-123456, jane@example.com; DE89 3704 0044 0532 0130 00 (123-45-6789) 4111111111111111");
  EXPECT_EQ(once, "*-******, ****@*******.***; **** **** **** **** **** ** (***-**-****) 411111******1111");
  EXPECT_EQ(masked(*scanner, once), once);
}

TEST(DataPatterns, OtherScriptsKeepTheirLength) {
  const auto scanner = scanner_of({{"name", "K\xC3\xB6nig [a-z]{3,10}"}});
  EXPECT_EQ(masked(*scanner, "K\xC3\xB6nig lear"), "****** ****");
}

TEST(DataPatterns, NumbersInJsonStayNumbers) {
  const auto scanner = scanner_of({{"badge", "\\b[0-9]{6}\\b"}});
  EXPECT_EQ(masked(*scanner, R"({"a": 123456, "b":"123456","c":[654321]})", ValueType::json),
            R"({"a": 111111, "b":"******","c":[111111]})");
  EXPECT_EQ(masked(*scanner, "123456", ValueType::json), "111111");
}

TEST(DataPatterns, ColumnsOfNumbersAndDatesAreLeftAlone) {
  const auto scanner = scanner_of({{"badge", "[0-9]{6}"}});
  for (const ValueType type : {ValueType::integer, ValueType::numeric, ValueType::inert, ValueType::bytea})
    EXPECT_EQ(masked(*scanner, "123456", type), "123456");
}

TEST(DataPatterns, CutAnywhereAValueIsTheSame) {
  const auto scanner =
      scanner_of({{"word", "\\b[a-z]{4}\\b"}, {"number", "[0-9]{3,6}"}, {"email", ""}, {"iban", ""}, {"ssn", ""}});
  std::mt19937 random(3);
  const std::vector<std::string> pieces = {"abcd",
                                           " ",
                                           "x",
                                           "12",
                                           "345",
                                           "6789012",
                                           "jane@example.com",
                                           "DE89370400440532013000",
                                           "123-45-6789",
                                           "4111111111111111",
                                           ".",
                                           "@",
                                           "\n",
                                           "abcde"};
  for (int round = 0; round < 40; ++round) {
    std::string text;
    while (text.size() < 3000) text += pieces[random() % pieces.size()];
    std::vector<Finding> found;
    const std::string whole = masked(*scanner, text, ValueType::text, &found);
    for (const size_t step : {1UL, 7UL, 64UL, 500UL, 1000UL, 2999UL}) {
      if (step == 1 && round > 4) continue;
      size_t count = 0;
      ASSERT_EQ(masked_in_parts(*scanner, text, step, count), whole) << "in steps of " << step << ": " << text;
    }
  }
}

TEST(DataPatterns, WhatCannotBeIsRejected) {
  const auto why = [](const std::string& name, const std::string& expression) {
    return reject_data_pattern({name, expression}).value_or("");
  };
  EXPECT_EQ(why("ok", "E-[0-9]{6}"), "");
  EXPECT_EQ(why("ok", "(?i)secret[a-z]{1,20}"), "");
  EXPECT_NE(why("a", "E-[0-9]+").find("has no bound to its width"), std::string::npos);
  EXPECT_NE(why("a", ".{0,600}abc").find("may span 603 bytes"), std::string::npos);
  EXPECT_NE(why("a", "[0-9]{1,4}").find("at least 3"), std::string::npos);
  EXPECT_NE(why("a", "(abc").find("parenthes"), std::string::npos) << why("a", "(abc");
  EXPECT_NE(why("a", "(abc)\\1"), "");
  EXPECT_NE(why("a", "(?=abc)abc"), "");
  EXPECT_NE(why("Name", "abc"), "");
  EXPECT_NE(why("", "abc"), "");
  EXPECT_NE(why("pan", "abc").find("built in"), std::string::npos);
  EXPECT_NE(why("email", "abc").find("built in"), std::string::npos);
  EXPECT_NE(why("nothing", "").find("not built in"), std::string::npos);
  EXPECT_NE(why("a", std::string(kExpressionBytesMax + 1, 'a')), "");
  std::string message;
  EXPECT_EQ(DataPatterns::compile(std::vector<DataPattern>(kDataPatternsMax + 1, {"a", "abc"}), message), nullptr);
}

TEST(DataPatterns, TheSamePatternsAreCompiledOnce) {
  const auto first = compiled({{"a", "abc[0-9]"}});
  EXPECT_EQ(compiled({{"a", "abc[0-9]"}}), first);
  EXPECT_NE(compiled({{"a", "abc[0-8]"}}), first);
}

TEST(ScannerDesk, ServesWhatASessionWants) {
  std::string why;
  const auto cards = CardScanner::create(why);
  ScannerDesk desk(*cards);
  const auto patterns = compiled({{"a", "abc[0-9]"}, {"b", "xyz[0-9]"}});
  EXPECT_EQ(desk.scanner_for(nullptr, 0), cards.get());
  EXPECT_EQ(desk.scanner_for(patterns, 0), cards.get());
  CardScanner* const only_b = desk.scanner_for(patterns, 2);
  EXPECT_EQ(desk.scanner_for(patterns, 2), only_b);
  EXPECT_EQ(masked(*only_b, "abc1 xyz1 4111111111111111"), "abc1 **** 411111******1111");
  EXPECT_EQ(masked(*desk.scanner_for(patterns, 3), "abc1 xyz1"), "**** ****");
}

}  // namespace
}  // namespace sluice::policies
