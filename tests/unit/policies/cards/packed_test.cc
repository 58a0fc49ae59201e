// Card numbers in binary forms of payment systems: packed decimal, EMV data objects, ISO 8583 messages; track data.
#include <random>

#include "tests/unit/policies/cards/card_test_support.h"

namespace sluice::policies::testing {
namespace {

constexpr ValueFormat kBinary = ValueFormat::binary;

std::string from_hex(const std::string& hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return out;
}
std::string hex(const std::string& bytes) {
  return each(bytes, [](char c) { return hex_of(c, "%02x"); });
}
std::string masked_hex(const std::string& value, ValueType type = ValueType::bytea,
                       MaskStyle style = MaskStyle::bin6_last4) {
  return hex(masked(from_hex(value), type, kBinary, style));
}

TEST(Packed, AWholeValueIsANumber) {
  EXPECT_EQ(masked_hex("5105105105105100"), "5105100000015100");
  EXPECT_EQ(masked_hex("378282246310005f"), "378282000010005f");
  EXPECT_EQ(masked_hex("0378282246310005"), "0378282000010005");
  EXPECT_EQ(masked_hex("05105105105105100c"), "05105100000015100c");
  EXPECT_EQ(masked_hex("5105105105105100", ValueType::opaque), "5105100000015100");
  EXPECT_EQ(masked_hex("5105105105105100", ValueType::bytea, MaskStyle::full), "1000000000000001");
  EXPECT_EQ(masked("\\x5105105105105100", ValueType::bytea), "\\x5105100000015100");
}

TEST(Packed, WithoutStructureNothingIs) {
  for (const char* value : {
           "5105105105105101",      // check digit
           "510510510510510000",    // what stands behind it
           "00005105105105105100",  // more than one digit of padding
           "51051051051051ff",      // more than one behind
       }) {
    EXPECT_EQ(masked_hex(value), value);
  }
  EXPECT_EQ(masked_hex("3631323334353637"), "3631323334353637");  // "61234567"
  // What may be floating point numbers or words, where nobody says what they are.
  EXPECT_EQ(masked_hex("4111111111111111", ValueType::opaque), "4111111111111111");
  EXPECT_EQ(masked_hex("5454545454545454", ValueType::opaque), "5454545454545454");
}

TEST(Emv, NumberAndTrackInBinary) {
  EXPECT_EQ(masked_hex("9f2608aabbccdd112233445a0841111111111111115f3401019000"),
            "9f2608aabbccdd112233445a0841111100000111115f3401019000");
  EXPECT_EQ(masked_hex("70205a08378282246310005f5f24032512315f280208409f1a0208408e0400000000", ValueType::opaque),
            "70205a08378282000010005f5f24032512315f280208409f1a0208408e0400000000");
  // All of the track behind the number is hidden.
  EXPECT_EQ(masked_hex("571341111111"
                       "11111111d25122011234567890000f9f36020001"),
            "57134111110000011111d00000000000000000000f9f36020001");
  EXPECT_EQ(masked("\\x8407a0000000031010571341111111"
                   "11111111d25122011234567890000f9f36020001",
                   ValueType::bytea),
            "\\x8407a000000003101057134111110000011111d00000000000000000000f9f36020001");
}

TEST(Emv, InHexText) {
  EXPECT_EQ(masked("tlv=9F2608AABBCCDD112233445A0841111111111111115F34010190 00"),
            "tlv=9F2608AABBCCDD112233445A0841111100000111115F34010190 00");
  EXPECT_EQ(masked("57134111111111111111D25122011234567890000F"), "57134111110000011111D00000000000000000000F");
  EXPECT_EQ(masked("00571341111111"
                   "11111111d25122011234567890000f5f3401"),
            "0057134111110000011111d00000000000000000000f5f3401");
  EXPECT_EQ(masked("5A08378282246310005F9F1A0208 40"), "5A08378282000010005F9F1A0208 40");
  EXPECT_EQ(masked("5A0A6304000000000000000F57"), masked("5A0A6304000000000000000F57"));
  EXPECT_TRUE(find("5A0841111111111111125F3401").empty());
}

TEST(Iso8583, NumberInAMessage) {
  EXPECT_EQ(masked("0200723405412822880516"
                   "4111111111111111"
                   "000000000000010000"),
            "0200723405412822880516"
            "4111110000011111"
            "000000000000010000");
  EXPECT_EQ(masked("msg: 0100F23C44818EE18020000000000000000016"
                   "5105105105105100"
                   "000000 ok"),
            "msg: 0100F23C44818EE18020000000000000000016"
            "5105100000015100"
            "000000 ok");
  EXPECT_EQ(masked_hex("020072340541282288051641111111"
                       "11111111000000000000010000"),
            "020072340541282288051641111100"
            "00011111000000000000010000");
  EXPECT_EQ(masked_hex("0200723405412822880515"
                       "0378282246310005"
                       "000000000000010000",
                       ValueType::opaque),
            "0200723405412822880515"
            "0378282000010005"
            "000000000000010000");
  const std::string bitmap = from_hex("7234054128228805");
  EXPECT_EQ(masked("0200" + bitmap + "164111111111111111000000000000010000", ValueType::bytea, kBinary),
            "0200" + bitmap + "164111110000011111000000000000010000");
  // Without the bit for the number, or in the middle of something else, digits are digits.
  EXPECT_TRUE(find("0200323405412822880516"
                   "4111111111111111"
                   "000000000000010000")
                  .empty());
  EXPECT_TRUE(find("x0200723405412822880516"
                   "4111111111111111"
                   "000000000000010000")
                  .empty());
}

TEST(Track, AllBehindTheNumberIsHidden) {
  EXPECT_EQ(masked(";4111111111111111=25121011234567890123?"), ";411111******1111=********************?");
  EXPECT_EQ(masked("%B4111111111111111^DOE/JOHN^25121011234567890123?"),
            "%B411111******1111^********^********************?");
  EXPECT_EQ(masked("B4111111111111111^DOE/JOHN                  ^251210100000000 00 0?x"),
            "B411111******1111^**************************^********************?x");
  EXPECT_EQ(masked("t2=%3B4111111111111111%3D25121011234567890123%3F&x"),
            "t2=%3B411111******1111%3D********************%3F&x");
  EXPECT_EQ(masked("4111111111111111D25121011234567890F"), "411111******1111D*****************F");
  EXPECT_EQ(masked(R"({"track":"4111111111111111=25121011234567890123"})", ValueType::json),
            R"({"track":"411111******1111=********************"})");
  EXPECT_EQ(masked(";4111111111111111=25121011234567890123?", ValueType::text, ValueFormat::text, MaskStyle::full),
            ";****************=********************?");
  EXPECT_EQ(masked(base64("4111111111111111=25121011234567890123?")), base64("411111******1111=********************?"));
  EXPECT_EQ(masked(hex("4111111111111111=25121011234567890123?")), hex("411111******1111=********************?"));
  EXPECT_EQ(masked("\\x" + hex("%B4111111111111111^DOE/J^2512101123?"), ValueType::bytea),
            "\\x" + hex("%B411111******1111^*****^**********?"));
  EXPECT_EQ(find(";4111111111111111=25121011234567890123?")[0].digits, 16);
  // The slash escaped, as some write JSON, and a name beyond ASCII.
  EXPECT_EQ(masked(R"({"track":"%B4111111111111111^DOE\/J^2512101123?"})", ValueType::json),
            R"({"track":"%B411111******1111^******^**********?"})");
  EXPECT_EQ(masked("%B4111111111111111^MÜ/J^2512101123?"), "%B411111******1111^*****^**********?");
  EXPECT_EQ(masked("4111111111111111D2512101AB"), "411111******1111D*******AB");
}

TEST(Track, WhatIsNoneStays) {
  EXPECT_EQ(masked("4111111111111111=100 and 5"), "411111******1111=100 and 5");
  EXPECT_EQ(masked("4111111111111111=2599101"), "411111******1111=2599101");  // no such month
  EXPECT_EQ(masked("a^4111111111111111^b"), "a^411111******1111^b");
}

TEST(Bytea, HiddenFormsWithin) {
  EXPECT_EQ(masked("\\x" + hex("%34%31%31%31%31%31%31%31%31%31%31%31%31%31%31%31"), ValueType::bytea),
            "\\x" + hex("%34%31%31%31%31%31%2A%2A%2A%2A%2A%2A%31%31%31%31"));
  EXPECT_EQ(masked("\\x" + hex(base64("card 4111111111111111 thanks")), ValueType::bytea),
            "\\x" + hex(base64("card 411111******1111 thanks")));
  EXPECT_EQ(masked("\\x" + hex("34313131313131313131313131313131"), ValueType::bytea),
            "\\x" + hex("3431313131312a2a2a2a2a2a31313131"));
  EXPECT_EQ(masked("\\xf4f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1", ValueType::bytea), "\\xf4f1f1f1f1f15c5c5c5c5c5cf1f1f1f1");
  EXPECT_EQ(masked("\\x" + hex(utf16("4111111111111111", false)), ValueType::bytea),
            "\\x" + hex(utf16("411111******1111", false)));
  EXPECT_EQ(masked(base64("card 4111111111111111 thanks"), ValueType::bytea, kBinary),
            base64("card 411111******1111 thanks"));
}

// Masked text has no finding, in any style.
void expect_nothing_left(const std::string& value, ValueType type = ValueType::text,
                         ValueFormat format = ValueFormat::text) {
  EXPECT_FALSE(find(value, type, format).empty()) << value;
  for (const MaskStyle style : {MaskStyle::bin6_last4, MaskStyle::last4, MaskStyle::full, MaskStyle::bin8_last4}) {
    const std::string once = masked(value, type, format, style);
    EXPECT_TRUE(find(once, type, format).empty()) << value << " → " << once;
  }
}

TEST(Idempotent, ObjectsInOneRunOfDigits) {
  // The digits of the first number go on with tag and length of the second one.
  EXPECT_EQ(masked("5a084111111111111111"
                   "57134111111111111111D25122011234567890000F"),
            "5a084111110000011111"
            "57134111110000011111D00000000000000000000F");
  EXPECT_EQ(masked("57134111111111111111D2512201"
                   "5711222222222222"
                   "0000000D2512201F"),
            masked("57134111111111111111D2512201"
                   "5711222222222222"
                   "0000000D2512201F"));
  expect_nothing_left("5a08411111111111111157104111111111111111D25122011234567890000F");
  expect_nothing_left("\\x5a08411111111111111157104111111111111111D25122011234567890000F", ValueType::bytea, kBinary);
  // What a mask in text leaves is the value of an object in binary.
  expect_nothing_left(
      "Z\x08"
      "5a084111111111111111"
      "5710?",
      ValueType::bytea, kBinary);
  expect_nothing_left("Z\x08" + std::string("6A") + "34313131313131313131313131313131", ValueType::bytea, kBinary);
  // A message with an object in its bitmap.
  EXPECT_EQ(masked("0200F25A0741111111"
                   "11111111114111"
                   "1605105105105105100"
                   "00"),
            masked("0200F25A0741111111"
                   "11111111114111"
                   "1605105105105105100"
                   "00"));
}

TEST(Idempotent, DigitsBesideAMaskOfDigits) {
  // The run is as long as a card number, and of ten masks of the number in it one would make it another number.
  size_t tagged = 0;
  for (const char* front : {"", "4", "5", "6", "46", "63", "50"}) {
    for (const char* payload : {"422222222222", "3643899996001", "37828224631000"}) {
      for (int i = 0; i < 40; ++i) {
        std::string changed = payload;
        changed[9] = static_cast<char>('0' + i % 10);
        changed[10] = static_cast<char>('0' + i / 10);
        std::string value = with_check_digit(changed) + "D2512201";
        value.resize(32, '0');
        const std::string text = std::string("t=") + front + "5710" + value;
        const std::vector<Finding> found = find(text);
        tagged += !found.empty() && found[0].form == FindingForm::tagged_hex ? 1 : 0;
        for (const MaskStyle style : {MaskStyle::bin6_last4, MaskStyle::last4, MaskStyle::full, MaskStyle::bin8_last4})
          EXPECT_TRUE(find(masked(text, ValueType::text, ValueFormat::text, style)).empty()) << text;
      }
    }
  }
  EXPECT_GT(tagged, 600u);
}

TEST(Idempotent, DigitsGluedToPairsOfHex) {
  const std::string pairs = "34 31 31 31 31 31 31 31 31 31 31 31 31 31 31 31";
  EXPECT_EQ(masked(pairs), "34 31 31 31 31 31 2a 2a 2a 2a 2a 2a 31 31 31 31");
  for (const MaskStyle style : {MaskStyle::bin6_last4, MaskStyle::last4, MaskStyle::full}) {
    for (const std::string& text : {pairs + "4111111111111111", "4111111111111111" + pairs, "41111111111111" + pairs,
                                    pairs + " 20 36 39 39", pairs + ":34313131313131313131313131313131"}) {
      const std::string once = masked(text, ValueType::text, ValueFormat::text, style);
      EXPECT_TRUE(find(once).empty()) << text << " → " << once;
    }
  }
}

TEST(Idempotent, EightBytesThatBecomeAFloat) {
  // The masks of packed numbers of unknown type are no whole numbers as float8.
  size_t numbers = 0;
  for (unsigned i = 0; i < 2000; ++i) {
    char payload[32];
    std::snprintf(payload, sizeof payload, "4331%011u", i * 49999u);
    const std::string value = packed(with_check_digit(payload));
    if (find(value, ValueType::opaque, kBinary).empty()) continue;
    ++numbers;
    for (const MaskStyle style : {MaskStyle::bin6_last4, MaskStyle::last4, MaskStyle::full})
      EXPECT_TRUE(find(masked(value, ValueType::opaque, kBinary, style), ValueType::opaque, kBinary).empty())
          << payload;
  }
  EXPECT_GT(numbers, 100u);
}

}  // namespace
}  // namespace sluice::policies::testing
