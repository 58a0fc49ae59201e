// What names, keys and words nearby change: codes and PINs, tracks, and numbers that are one of a card only where
// something says so.
#include "policies/cards/card_names.h"
#include "tests/unit/policies/cards/card_test_support.h"

namespace sluice::policies::testing {
namespace {

constexpr auto kBinary = ValueFormat::binary;

std::string masked_column(std::string bytes, NameKind name, ValueType type = ValueType::text,
                          ValueFormat format = ValueFormat::text) {
  ValueView value{{reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}, type, format};
  value.name = name;
  std::vector<Finding> findings;
  scanner().scan({&value, 1}, findings, {});
  scanner().mask({&value, 1}, findings, MaskStyle::bin6_last4);
  // Masked output has no finding.
  scanner().scan({&value, 1}, findings, {});
  EXPECT_TRUE(findings.empty()) << bytes;
  return bytes;
}

std::string masked_twice(const std::string& text, ValueType type = ValueType::text) {
  std::string once = masked(text, type);
  EXPECT_EQ(masked(once, type), once);
  return once;
}

FindingKind kind_of(const std::string& text) {
  const std::vector<Finding> findings = find(text);
  EXPECT_EQ(findings.size(), 1u) << text;
  return findings.empty() ? FindingKind::pattern : findings[0].kind;
}

TEST(Names, SayWhatStandsUnderThem) {
  const struct {
    const char* name;
    NameKind kind;
  } cases[] = {
      {"cvv", NameKind::cvv},
      {"CVV2", NameKind::cvv},
      {"cvc_2", NameKind::cvv},
      {"customer_cvv", NameKind::cvv},
      {"cardCvc", NameKind::cvv},
      {"card-security-code", NameKind::cvv},
      {"CardVerificationValue", NameKind::cvv},
      {"PAYMENT.CARD_VERIFICATION_CODE", NameKind::cvv},
      {"security_code", NameKind::code},
      {"cid", NameKind::code},
      {"pin", NameKind::pin},
      {"card_pin", NameKind::pin},
      {"pinBlock", NameKind::pin},
      {"PIN_BLOCK", NameKind::pin},
      {"pan", NameKind::pan},
      {"primary account number", NameKind::pan},
      {"creditCardNumber", NameKind::pan},
      {"ccnum1", NameKind::pan},
      {"Kreditkartennummer", NameKind::pan},
      {"order_id", NameKind::other},
      {"trackingNumber", NameKind::other},
      {"exp_month", NameKind::expiry},
      {"pincode", NameKind::none},
      {"pin_code", NameKind::none},
      {"spin", NameKind::none},
      {"shipping", NameKind::none},
      {"pinned", NameKind::none},
      {"cvv_result", NameKind::none},
      {"cvvresponse", NameKind::none},
      {"card_id", NameKind::none},
      {"card_type", NameKind::none},
      {"company", NameKind::none},
      {"japan", NameKind::none},
      {"discard", NameKind::none},
      {"", NameKind::none},
      {"___", NameKind::none},
      {"12345", NameKind::none},
  };
  for (const auto& each : cases) EXPECT_EQ(name_kind(each.name), each.kind) << each.name;
  EXPECT_EQ(name_kind(std::string(1000, 'x') + "_cvv"), NameKind::cvv);
}

TEST(Codes, AreMaskedWholeUnderTheirKey) {
  EXPECT_EQ(masked_twice("{\"cvv\": \"123\"}"), "{\"cvv\": \"***\"}");
  EXPECT_EQ(masked_twice("cvv=123&x=1"), "cvv=***&x=1");
  EXPECT_EQ(masked_twice("CVC2: 1234"), "CVC2: ****");
  EXPECT_EQ(masked_twice("<cvv>123</cvv>"), "<cvv>***</cvv>");
  EXPECT_EQ(masked_twice("<ns:CardVerificationValue type=\"x\">123</a>"),
            "<ns:CardVerificationValue type=\"x\">***</a>");
  EXPECT_EQ(masked_twice("\"cvv\"=>\"123\", \"a\"=>\"b\""), "\"cvv\"=>\"***\", \"a\"=>\"b\"");
  EXPECT_EQ(masked_twice("card verification code: 123."), "card verification code: ***.");
  EXPECT_EQ(masked_twice("pin=1234"), "pin=****");
  EXPECT_EQ(masked_twice("pinBlock: 123456789012"), "pinBlock: ************");
  EXPECT_EQ(kind_of("cvv=123"), FindingKind::cvv);
  EXPECT_EQ(kind_of("pin=1234"), FindingKind::pin);
}

TEST(Codes, InJsonANumberStaysANumber) {
  EXPECT_EQ(masked_twice("{\"cvv\":123,\"a\":123}", ValueType::json), "{\"cvv\":111,\"a\":123}");
  EXPECT_EQ(masked_twice("{\"cvv\":\"123\"}", ValueType::json), "{\"cvv\":\"***\"}");
  EXPECT_EQ(masked_twice("\x01{\"cvv\": 1234}", ValueType::jsonb), "\x01{\"cvv\": 1111}");
  EXPECT_EQ(masked_twice(R"({"body":"{\"cvv\":123,\"b\":\"x\"}"})", ValueType::json),
            R"({"body":"{\"cvv\":111,\"b\":\"x\"}"})");
}

TEST(Codes, OtherNumbersAndOtherKeysAreLeftAlone) {
  for (const char* text : {"cvv=12",        "cvv=12345",           "cvv=123-45",    "cvv=123 45", "cvv_result=123",
                           "shipping=1234", "pincode: 110001",     "spin=1234",     "pin=123",    "\"pinned\": 1234",
                           "cid=1234",      "security_code: 7203", "at 12:34:5678", "cvv 123",    "a=123",
                           "cvv=123.45",    "cvv=1234567",         "cvv=\"\"",      "cvv=123abc", "cvv=111%20"}) {
    EXPECT_TRUE(find(text).empty()) << text;
  }
}

TEST(Codes, NamesThatMeanOtherThingsNeedACard) {
  EXPECT_EQ(masked_twice("{\"number\":\"4111111111111111\",\"cid\":\"1234\"}"),
            "{\"number\":\"411111******1111\",\"cid\":\"****\"}");
  EXPECT_EQ(masked_twice("pan=4111111111111111&security_code=123"), "pan=411111******1111&security_code=***");
  EXPECT_EQ(masked("pan=4111111111111111" + std::string(300, '.') + "&security_code=123").substr(320),
            "&security_code=123");
}

TEST(Codes, InColumnsOfThatName) {
  EXPECT_EQ(masked_column("123", NameKind::cvv), "***");
  EXPECT_EQ(masked_column("123 ", NameKind::cvv), "*** ");
  EXPECT_EQ(masked_column("M", NameKind::cvv), "*");
  EXPECT_EQ(masked_column("123", NameKind::cvv, ValueType::integer), "111");
  EXPECT_EQ(masked_column("-98.5", NameKind::cvv, ValueType::numeric), "-11.1");
  EXPECT_EQ(masked_column("{123,NULL}", NameKind::cvv, ValueType::array), "{111,NULL}");
  EXPECT_EQ(masked_column("\\x313233", NameKind::cvv, ValueType::bytea), "\\xaaaaaa");
  EXPECT_EQ(masked_column("{\"a\":123}", NameKind::cvv, ValueType::json), "{\"a\":111}");
  EXPECT_EQ(masked_column("t", NameKind::cvv, ValueType::inert), "t");
  EXPECT_EQ(masked_column(big_endian(789, 2), NameKind::cvv, ValueType::integer, kBinary), big_endian(111, 2));
  EXPECT_EQ(masked_column(big_endian(4321, 4), NameKind::cvv, ValueType::integer, kBinary), big_endian(1111, 4));
  EXPECT_EQ(masked_column(big_endian(-12, 8), NameKind::cvv, ValueType::integer, kBinary), big_endian(-11, 8));
  EXPECT_EQ(masked_column("\x31\x32\x33", NameKind::cvv, ValueType::bytea, kBinary), "***");
  const std::string numeric("\x00\x01\x00\x00\x00\x00\x00\x00\x00\x7b", 10),
      ones("\x00\x01\x00\x00\x00\x00\x00\x00\x00\x6f", 10);
  EXPECT_EQ(masked_column(numeric, NameKind::cvv, ValueType::numeric, kBinary), ones);
  // A binary array of int4, one element.
  const std::string head =
      big_endian(1, 4) + big_endian(0, 4) + big_endian(23, 4) + big_endian(1, 4) + big_endian(1, 4);
  EXPECT_EQ(masked_column(head + big_endian(4, 4) + big_endian(123, 4), NameKind::cvv, ValueType::array, kBinary),
            head + big_endian(4, 4) + big_endian(111, 4));
}

TEST(Codes, ColumnsThatMeanOtherThingsOnlyWhereTheValueFits) {
  EXPECT_EQ(masked_column("1234", NameKind::pin), "****");
  EXPECT_EQ(masked_column("0412AC89ABCDEF67", NameKind::pin), "****************");
  EXPECT_EQ(masked_column("Main Street", NameKind::pin), "Main Street");
  EXPECT_EQ(masked_column("1234", NameKind::pin, ValueType::integer), "1111");
  EXPECT_EQ(masked_column(big_endian(1234, 4), NameKind::pin, ValueType::integer, kBinary), big_endian(1111, 4));
  EXPECT_EQ(masked_column("123", NameKind::code), "***");
  EXPECT_EQ(masked_column("customer-17", NameKind::code), "customer-17");
  EXPECT_EQ(masked_column("5", NameKind::code), "5");
  // What is left alone is looked at like any other value.
  EXPECT_EQ(masked_column("4111 1111 1111 1111", NameKind::pin), "4111 11** **** 1111");
}

TEST(Tracks, AreMaskedBehindTheNumber) {
  EXPECT_EQ(masked_twice(";4111111111111111=25121011234567890?"), ";411111******1111=*****************?");
  EXPECT_EQ(masked_twice("4111111111111111D25121011234567890F"), "411111******1111D*****************F");
  EXPECT_EQ(masked_twice("%B4111111111111111^DOE/JOHN^25121011234567890?"),
            "%B411111******1111^********^*****************?");
  const std::vector<Finding> findings = find(";4111111111111111=25121011234567890?");
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].kind, FindingKind::track);
  EXPECT_EQ(findings[0].digits, 16);
  EXPECT_EQ(kind_of("4111111111111111=251210"), FindingKind::pan);
  EXPECT_EQ(kind_of("a 4111111111111111^2"), FindingKind::pan);
  // Two card numbers are two findings, but for what is a track.
  EXPECT_EQ(masked_twice("4111111111111111=4111111111111111"), "411111******1111=411111******1111");
  EXPECT_EQ(find("4111111111111111=4111111111111111").size(), 2u);
  EXPECT_EQ(masked_twice("4111111111111111=2512101000000003"), "411111******1111=****************");
  EXPECT_EQ(masked_twice("4111111111111111=2512101000000003&cvv=123"), "411111******1111=****************&cvv=***");
}

constexpr const char* kUnionPayUnchecked = "6221558812340001";

std::string maestro(size_t digits) {
  return with_check_digit("6759" + std::string(digits - 5, '2'));
}
std::string uatp() {
  return with_check_digit("10012345678901");
}

TEST(Context, NumbersThatNeedItAreFoundWithIt) {
  for (const std::string& number : {std::string(kUnionPayUnchecked), maestro(13), maestro(14), maestro(15), uatp()}) {
    EXPECT_TRUE(find(number).empty()) << number;
    EXPECT_TRUE(find("order " + number).empty()) << number;
    EXPECT_TRUE(find("discard " + number).empty()) << number;
    for (const std::string& before : {std::string("card "), std::string("card number is "), std::string("PAN:"),
                                      std::string("{\"pan\":\""), std::string("cc="), std::string("Kreditkarte Nr. "),
                                      std::string("numéro de carte: "), std::string("<cardNumber>")}) {
      const std::string text = before + number + "\"";
      ASSERT_EQ(find(text).size(), 1u) << text;
      EXPECT_EQ(masked_twice(text).substr(before.size() + 6, number.size() - 10), std::string(number.size() - 10, '*'));
    }
    EXPECT_TRUE(find("card\n" + number).empty()) << number;
    EXPECT_TRUE(find("card " + std::string(40, '.') + number).empty()) << number;
    EXPECT_NE(masked_column(number, NameKind::pan), number);
    EXPECT_NE(masked_column(number, NameKind::pan, ValueType::numeric), number);
    EXPECT_NE(masked_column(big_endian(std::stoull(number), 8), NameKind::pan, ValueType::integer, kBinary),
              big_endian(std::stoull(number), 8));
  }
  EXPECT_EQ(masked_twice("{\"pan\":\"" + maestro(12) + "\"}"), "{\"pan\":\"675922**" + maestro(12).substr(8) + "\"}");
  EXPECT_NE(masked_column(maestro(12), NameKind::pan), maestro(12));
}

TEST(Context, AnAliasHidesNothing) {
  EXPECT_EQ(masked_column("4111111111111111", NameKind::other), "411111******1111");
  EXPECT_EQ(masked_twice("{\"order_id\":\"4111111111111111\"}"), "{\"order_id\":\"411111******1111\"}");
}

// Only where that is asked for (docs/decisions/0049).
TEST(Context, KeysThatSaySomethingElseAreBelievedWhereTheyAreTrusted) {
  std::string why;
  const auto trusting = CardScanner::create(why, {KeyedSecrets::everywhere, ForeignKeys::trusted});
  ASSERT_NE(trusting, nullptr) << why;
  const auto count = [&](std::string text, ValueType type = ValueType::text) {
    ValueView value{{reinterpret_cast<uint8_t*>(text.data()), text.size()}, type};
    std::vector<Finding> findings;
    trusting->scan({&value, 1}, findings, {});
    return findings.size();
  };
  EXPECT_EQ(count("{\"order_id\":4111111111111111}"), 0u);
  EXPECT_EQ(count("{\"order_id\":4111111111111111}", ValueType::json), 0u);
  EXPECT_EQ(count("tracking_number=1Zab4111111111111111"), 0u);
  EXPECT_EQ(count("mask = 0x4111111111111111"), 0u);
  EXPECT_EQ(count("order 4111111111111111"), 1u);
  EXPECT_EQ(count("order_id=4, pan=4111111111111111"), 1u);
  EXPECT_EQ(count("4111111111111111"), 1u);
}

TEST(Context, IsTheSameWhereverTheTextIsCut) {
  const std::string text =
      "x{\"pan\":\"4111111111111111\",\"cid\":\"1234\",\"cvv\":\"123\"} ;4111111111111111=25121011234567890? "
      "card number " +
      uatp() + " and pin: 123456, cvv2=123 and " + std::string(300, '-') + " cvv = '999'";
  const std::string whole = masked(text);
  EXPECT_NE(whole.find("\"cid\":\"****\""), std::string::npos) << whole;
  EXPECT_NE(whole.find("cvv = '***'"), std::string::npos) << whole;
  for (size_t first = 0; first <= text.size(); ++first) {
    std::string bytes = text.substr(0, first), out;
    StreamState state;
    size_t at = first;
    for (bool begun = false;; begun = true) {
      const bool last = at == text.size();
      ValueView value{{reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}};
      value.part = last ? ValuePart::last : begun ? ValuePart::middle : ValuePart::first;
      value.stream = &state;
      std::vector<Finding> findings;
      size_t settled = 0;
      scanner().scan({&value, 1}, findings, {&settled, 1});
      scanner().mask({&value, 1}, findings, MaskStyle::bin6_last4);
      out += bytes.substr(0, settled);
      bytes.erase(0, settled);
      if (last) break;
      const size_t more = std::min<size_t>(text.size() - at, 37);
      bytes += text.substr(at, more);
      at += more;
    }
    ASSERT_EQ(out, whole) << first;
  }
}

}  // namespace
}  // namespace sluice::policies::testing
