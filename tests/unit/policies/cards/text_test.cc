// Card numbers in plain text: what is found, what is not, and how it is masked.
#include "tests/unit/policies/cards/card_test_support.h"

namespace sluice::policies::testing {
namespace {

TEST(Text, PublishedTestNumbersAreFoundInEveryLayout) {
  const std::vector<std::string> numbers = published_test_numbers();
  ASSERT_EQ(numbers.size(), 145u);
  for (const std::string separator : {"", " ", "-", ".", "\u00A0", "\u2013", "\u2014", "/", "\t", "_"}) {
    size_t found = 0;
    for (const std::string& number : numbers) {
      const std::string text = "card " + grouped(number, separator) + ", thanks";
      const std::vector<Finding> findings = find(text);
      if (findings.size() == 1 && findings[0].offset == 5 && findings[0].digits == number.size())
        ++found;
      else
        ADD_FAILURE() << text;
    }
    EXPECT_GE(found, 143u) << "separator '" << separator << "'";
  }
}

TEST(Text, MaskKeepsLengthSeparatorsBinAndLastFour) {
  EXPECT_EQ(masked("pan 4111111111111111."), "pan 411111******1111.");
  EXPECT_EQ(masked("4111 1111 1111 1111"), "4111 11** **** 1111");
  EXPECT_EQ(masked("3782-822463-10005"), "3782-82****-*0005");
  EXPECT_EQ(masked("4111\u00A01111\u00A01111\u00A01111"), "4111\u00A011**\u00A0****\u00A01111");
  EXPECT_EQ(masked("4111\u20131111\u20131111\u20131111"), "4111\u201311**\u2013****\u20131111");
  EXPECT_EQ(masked("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"), "4 1 1 1 1 1 * * * * * * 1 1 1 1");
  EXPECT_EQ(masked("4111111111111111", ValueType::text, ValueFormat::text, MaskStyle::last4), "************1111");
  EXPECT_EQ(masked("4111111111111111", ValueType::text, ValueFormat::text, MaskStyle::full), "****************");
}

TEST(Text, FindingSaysWhatAndWhere) {
  const std::vector<Finding> findings = find("Key (pan)=(5555-5555-5555-4444) exists");
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].offset, 11u);
  EXPECT_EQ(findings[0].length, 19u);
  EXPECT_EQ(findings[0].digits, 16);
  EXPECT_EQ(findings[0].brand, Brand::mastercard);
  const std::string text = "5555-5555-5555-4444";
  EXPECT_EQ(masked_digits({reinterpret_cast<const uint8_t*>(text.data()), text.size()}, find(text).at(0),
                          MaskStyle::bin6_last4),
            "555555******4444");
}

TEST(Text, AdjacentGroupsDoNotHideANumber) {
  EXPECT_EQ(masked("2025-12-01 4111 1111 1111 1111"), "2025-12-01 4111 11** **** 1111");
  EXPECT_EQ(masked("2025-12-01 4111111111111111 12:00"), "2025-12-01 411111******1111 12:00");
  EXPECT_EQ(masked("1234 4111-1111-1111-1111 99"), "1234 4111-11**-****-1111 99");
  EXPECT_EQ(find("4111 1111 1111 1111 5555 5555 5555 4444").size(), 2u);
  EXPECT_EQ(find("4111111111111111\n5555555555554444\t378282246310005").size(), 3u);
  EXPECT_EQ(find(";4111111111111111=25121010000012345?").size(), 1u);  // with what follows on the track
  EXPECT_EQ(find("%B4111111111111111^DOE/JOHN^2512").size(), 1u);
  EXPECT_EQ(find("pan4111111111111111x").size(), 1u);
}

// A table is a table: what stands in two columns is not one number.
TEST(Text, TabsJoinOnlyWhatIsGroupedAsACard) {
  EXPECT_EQ(masked("4111\t1111\t1111\t1111"), "4111\t11**\t****\t1111");
  EXPECT_EQ(masked("card: 3782\t822463\t10005\n"), "card: 3782\t82****\t*0005\n");
  EXPECT_EQ(find("x\n4111\t1111\t1111\t1111\nx").size(), 1u);
  for (const char* text : {"41111111\t11111111", "411111\t1111111111", "4111\t1111\t1111\t1111\t17",
                           "17\t4111\t1111\t1111\t1111", "4111 1111\t1111 1111", "378282246\t310005"}) {
    EXPECT_TRUE(find(text).empty()) << text;
  }
  EXPECT_EQ(masked("17\t4111111111111111\t2025"), "17\t411111******1111\t2025");
  EXPECT_EQ(masked("17\t4111 1111 1111 1111\t2025"), "17\t4111 11** **** 1111\t2025");
}

TEST(Text, BoldBannersAndBulletsDoNotHideANumber) {
  EXPECT_EQ(find("**4111 1111 1111 1111**").size(), 1u);
  EXPECT_EQ(find("***4111111111111111***").size(), 1u);
  EXPECT_EQ(find("******** 4111 1111 1111 1111 ********").size(), 1u);
  EXPECT_EQ(find("* 4111 1111 1111 1111").size(), 1u);
}

TEST(Text, LookAlikesStay) {
  for (const char* text : {
           "4111111111111112",      // check digit
           "41111111111111111111",  // too long: no window inside an unbroken run
           "123456789012345678901234",
           "1733050000123",
           "1733050000123456",
           "1733050000123456789",  // epochs
           "20251201123456",
           "30122025123450",
           "2025-12-01 12:34:56.123456",
           "9b2d4111-1111-4111-8111-111111111111",  // UUIDs
           "41111111-1111-1111-1111-111111111111",
           "3.4111111111111111",
           "0.4111111111111111",
           "4111111111111111.25",
           "-122.4111111111111, 37.4222222222222",
           "d41d8cd98f004111111111111111ecf8427e",  // a hash
           "555-123-4567 555-987-6543",
           "1.2.840.113549.1.1.11",
           "192.168.100.100 10.0.0.1",
           "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
           "122000000000004",  // UATP needs context
       }) {
    EXPECT_TRUE(find(text).empty()) << text;
  }
}

TEST(Text, ZeroFractionIsStillANumber) {
  EXPECT_EQ(masked("4111111111111111.00"), "411111******1111.00");
  EXPECT_EQ(masked("paid with 4111111111111111. Thanks"), "paid with 411111******1111. Thanks");
}

TEST(Text, BoundsOfLengthsAndIssuers) {
  EXPECT_EQ(find("4222222222222").at(0).brand, Brand::visa);           // 13
  EXPECT_EQ(find("6799990100000000019").at(0).brand, Brand::maestro);  // 19
  EXPECT_TRUE(find("676770000000").empty());                           // 12: only with context
  EXPECT_EQ(find("2223000048410010").at(0).brand, Brand::mastercard);
  EXPECT_EQ(find("2720428011723762").at(0).brand, Brand::mastercard);
  EXPECT_TRUE(find("2721000000000004").empty());  // behind the range
  EXPECT_EQ(find("3530111333300000").at(0).brand, Brand::jcb);
  EXPECT_EQ(find("2200000000000004").at(0).brand, Brand::mir);
  EXPECT_EQ(find("6062828888666688").at(0).brand, Brand::hipercard);
  EXPECT_EQ(find("6011111111111117").at(0).brand, Brand::discover);
  EXPECT_EQ(to_string(find("6250946000000016").at(0).brand), "unionpay");
}

TEST(Text, EmptyAndTinyValues) {
  EXPECT_TRUE(find("").empty());
  EXPECT_TRUE(find("4").empty());
  EXPECT_TRUE(find(std::string(12, '4')).empty());
}

TEST(Text, LastFourAreHiddenWhereTheyWouldStartAnotherNumber) {
  // 1111 2222 … is no issuer, so the two are built around 4444.
  const std::string text = "4000 0000 0000 4444 0000 0000 0000";
  const std::string once = masked(text);
  EXPECT_EQ(masked(once), once);
}

TEST(MaskText, MasksInPlaceAndCounts) {
  std::string sql = "insert into cards values ('4111 1111 1111 1111', 5555555555554444)";
  EXPECT_EQ(mask_text(scanner(), sql), 2u);
  EXPECT_EQ(sql, "insert into cards values ('4111 11** **** 1111', 555555******4444)");
  EXPECT_EQ(mask_text(scanner(), sql), 0u);
  std::string empty;
  EXPECT_EQ(mask_text(scanner(), empty), 0u);
}

TEST(Batch, FindingsNameTheirValueAndColumn) {
  std::string first = "no card", second = "4111111111111111", third = "378282246310005";
  std::vector<ValueView> row;
  uint16_t column = 3;
  for (std::string* text : {&first, &second, &third}) {
    row.push_back({{reinterpret_cast<uint8_t*>(text->data()), text->size()},
                   ValueType::text,
                   ValueFormat::text,
                   ValuePart::whole,
                   column++,
                   nullptr});
  }
  std::vector<Finding> findings;
  scanner().scan(row, findings, {});
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_EQ(findings[0].value, 1u);
  EXPECT_EQ(findings[0].column, 4);
  EXPECT_EQ(findings[1].value, 2u);
  scanner().mask(row, findings, MaskStyle::bin6_last4);
  EXPECT_EQ(second, "411111******1111");
  EXPECT_EQ(third, "378282*****0005");
}

TEST(Table, HasAVersion) {
  EXPECT_FALSE(issuer_table_version().empty());
}

}  // namespace
}  // namespace sluice::policies::testing
