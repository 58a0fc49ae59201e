// Values in parts: cut anywhere, a value is masked as the whole is, with bounded memory.
#include <algorithm>
#include <initializer_list>
#include <random>
#include <string_view>

#include "policies/cards/text_stream.h"
#include "tests/unit/policies/cards/card_test_support.h"

namespace sluice::policies::testing {
namespace {

// Feeds `text` in pieces of `step` bytes, as a protocol machine does.
std::string masked_in_parts(const std::string& text, size_t step, ValueType type, ValueFormat format) {
  std::string out, held;
  StreamState state;
  for (size_t at = 0; at < text.size(); at += step) {
    held += text.substr(at, step);
    ValueView value{{reinterpret_cast<uint8_t*>(held.data()), held.size()}, type, format};
    value.part = at + step >= text.size() ? ValuePart::last : at == 0 ? ValuePart::first : ValuePart::middle;
    value.stream = &state;
    std::vector<Finding> findings;
    size_t settled = 0;
    scanner().scan({&value, 1}, findings, {&settled, 1});
    EXPECT_LE(held.size() - settled, kHoldBackBytesMax);
    scanner().mask({&value, 1}, findings, MaskStyle::bin6_last4);
    out += held.substr(0, settled);
    held.erase(0, settled);
  }
  EXPECT_TRUE(held.empty());
  return out;
}

void expect_same_in_parts(const std::string& text, ValueType type, ValueFormat format) {
  const std::string whole = masked(text, type, format);
  EXPECT_NE(whole, text);
  for (size_t step = 1; step <= text.size() + 1; step = step < 70 ? step + 1 : step * 2) {
    EXPECT_EQ(masked_in_parts(text, step, type, format), whole) << "in steps of " << step;
  }
}

const std::string kFiller(700, 'x');

std::string joined(std::initializer_list<std::string_view> parts) {
  std::string out;
  for (const std::string_view part : parts) out += part;
  return out;
}

TEST(Parts, Text) {
  expect_same_in_parts("a 4111 1111 1111 1111 b 2025-12-01 5555-5555-5555-4444 " + kFiller + " 378282246310005",
                       ValueType::text, ValueFormat::text);
  expect_same_in_parts(std::string(900, '4') + " 4111\u00A01111\u00A01111\u00A01111 " + std::string(900, '4'),
                       ValueType::text, ValueFormat::text);
}

TEST(Parts, Json) {
  expect_same_in_parts(R"({"a":")" + kFiller +
                           R"(\" 4111 1111 1111 1111","b":5555555555554444, "c":[4.111111111111111e15,)" +
                           std::string(300, '1') + R"(]})",
                       ValueType::json, ValueFormat::text);
  expect_same_in_parts("\x01{\"a\":\"" + kFiller + "\",\"b\":5555555555554444}", ValueType::jsonb, ValueFormat::binary);
}

TEST(Parts, Bytea) {
  std::string hex = "\\x";
  for (const std::string& text :
       {kFiller, std::string("4111 1111 1111 1111"), kFiller, std::string("378282246310005")}) {
    for (char c : text) {
      constexpr char kHex[] = "0123456789abcdef";
      hex += kHex[static_cast<uint8_t>(c) >> 4];
      hex += kHex[static_cast<uint8_t>(c) & 15];
    }
  }
  expect_same_in_parts(hex, ValueType::bytea, ValueFormat::text);
  expect_same_in_parts("\\000\\\\4111111111111111\\377" + kFiller + "\\0064111111111111111 5555555555554444",
                       ValueType::bytea, ValueFormat::text);
}

TEST(Parts, HiddenNumbers) {
  const std::string digits = "4111111111111111";
  for (const HiddenForm& form : hidden_forms())
    expect_same_in_parts(joined({kFiller, "[", form.hide(digits), "]", kFiller}), ValueType::text, ValueFormat::text);
}

std::string from_hex(const std::string& hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return out;
}

TEST(Parts, NumbersOfMachines) {
  const std::string objects =
      "9f2608aabbccdd112233445a0841111111111111115f340101571341111111"
      "11111111d25122011234567890000f";
  const std::string message =
      "0200723405412822880516"
      "4111111111111111"
      "000000000000010000";
  const std::string track = "%B4111111111111111^DOE/JOHN^25121011234567890123?;4111111111111111=25121011234567890123?";
  const std::string hex_filler = joined({std::string(400, 'c'), "00", std::string(300, '7')});
  const std::string within = joined({hex_filler, objects, hex_filler});
  for (const std::string& text : {objects, message, track, within, joined({kFiller, " ", message, " ", kFiller}),
                                  joined({kFiller, track, kFiller})}) {
    expect_same_in_parts(text, ValueType::text, ValueFormat::text);
  }
  for (const std::string& bytes : {objects, message, within, std::string("5105105105105100")}) {
    expect_same_in_parts(from_hex(bytes), ValueType::bytea, ValueFormat::binary);
    expect_same_in_parts("\\x" + bytes, ValueType::bytea, ValueFormat::text);
  }
}

TEST(Parts, HiddenNumbersInBytea) {
  for (const HiddenForm& form : hidden_forms()) {
    std::string hex = "\\x";
    for (const char c : joined({kFiller, "pay [", form.hide("4111111111111111"), "] now", kFiller}))
      hex += hex_of(c, "%02x");
    expect_same_in_parts(hex, ValueType::bytea, ValueFormat::text);
  }
}

// A number over the ends of lines, in many lines.
TEST(Parts, LinesOfBase64) {
  std::string text;
  for (int i = 0; i < 60; ++i)
    text += i % 3 == 0 ? "4111111111111111, " : i % 3 == 1 ? "some words " : "5555 5555 5555 4444;";
  for (const char* line_end : {"\n", "\r\n"}) {
    for (size_t width : {64, 76, 20}) {
      expect_same_in_parts(in_lines(base64(text), width, line_end), ValueType::text, ValueFormat::text);
    }
  }
  expect_same_in_parts(in_lines(bytes_as_hex(text), 2, " "), ValueType::text, ValueFormat::text);
}

// What goes on for longer than anything is held back.
TEST(Parts, LongFloodsOfHiddenDigits) {
  std::string percent, encoded, hex;
  for (int i = 0; i < 400; ++i) percent += i % 20 == 19 ? "%20" : "%3" + std::to_string((4 + i % 7 * 3) % 10);
  for (int i = 0; i < 120; ++i) encoded += base64(i % 3 == 0 ? "4111111111111111, " : "5555555555554444; ");
  for (int i = 0; i < 140; ++i) hex += i % (i < 90 ? 5 : 2) == 1 ? "2c20" : "34313131313131313131313131313131";
  expect_same_in_parts(percent + " 4111111111111111 %34" + std::string(15, '1'), ValueType::text, ValueFormat::text);
  expect_same_in_parts(encoded, ValueType::text, ValueFormat::text);
  expect_same_in_parts(hex, ValueType::text, ValueFormat::text);
}

TEST(Parts, NumbersThatArriveInPieces) {
  expect_same_in_parts("4111111111111111", ValueType::integer, ValueFormat::text);
  expect_same_in_parts(big_endian(4111111111111111, 8), ValueType::integer, ValueFormat::binary);
  expect_same_in_parts(big_endian(4111111111111111, 8), ValueType::opaque, ValueFormat::binary);
}

TEST(Parts, BinaryArrayWithElementsLargerThanAnyPart) {
  const std::string large = kFiller + " 4111 1111 1111 1111 " + kFiller;
  std::string array = big_endian(1, 4) + big_endian(1, 4) + big_endian(25, 4) + big_endian(3, 4) + big_endian(1, 4);
  for (const std::string& text : {large, std::string("5555555555554444")}) array += big_endian(text.size(), 4) + text;
  array += big_endian(-1, 4);
  expect_same_in_parts(array, ValueType::array, ValueFormat::binary);
  expect_same_in_parts("{\"" + large + "\",5555555555554444,NULL}", ValueType::array, ValueFormat::text);
}

TEST(Parts, LargeTextIsTheSameByEveryEngine) {
  std::mt19937 random(5);
  std::string text;
  while (text.size() < 300000) {
    text += random() % 50 == 0 ? " 4111 1111 1111 1111 " : "word " + std::to_string(random()) + " ";
  }
  const std::string whole = masked(text);
  EXPECT_EQ(masked_in_parts(text, 65536, ValueType::text, ValueFormat::text), whole);
  EXPECT_TRUE(find(whole).empty());
}

TEST(TextStream, OffsetsAreThoseOfTheWholeText) {
  std::string text(600000, '.');
  const std::string pan = "4111 1111 1111 1111";
  for (size_t at : {size_t{0}, size_t{262140}, size_t{524288}, text.size() - pan.size()})
    text.replace(at, pan.size(), pan);
  TextStream stream(scanner(), MaskStyle::bin6_last4);
  std::vector<ReportedFinding> findings;
  std::string out;
  for (size_t at = 0;;) {
    const std::span<uint8_t> room = stream.room();
    ASSERT_FALSE(room.empty());
    const size_t count = std::min(room.size(), text.size() - at);
    std::copy_n(text.begin() + static_cast<ptrdiff_t>(at), count, room.begin());
    at += count;
    const auto masked_bytes =
        stream.take(count, count == 0 ? TextStream::More::ended : TextStream::More::follows, findings);
    out.append(masked_bytes.begin(), masked_bytes.end());
    if (count == 0) break;
  }
  ASSERT_EQ(findings.size(), 4u);
  EXPECT_EQ(findings[1].offset, 262140u);
  EXPECT_EQ(findings[2].offset, 524288u);
  EXPECT_EQ(findings[3].offset, text.size() - pan.size());
  EXPECT_EQ(findings[0].masked, "411111******1111");
  EXPECT_EQ(out, masked(text));
}

// Each looks at what stands before it, and still the value can be cut between two.
TEST(Parts, NumbersThatAreHeldUntilTheyAreWhole) {
  // Of their types none is a number, and as whole values they are too short to be anything else.
  for (size_t step = 1; step < 8; ++step) {
    EXPECT_EQ(masked_in_parts("cvv=\\064", step, ValueType::integer, ValueFormat::text), "cvv=\\064");
    EXPECT_EQ(masked_in_parts("cvv=734x", step, ValueType::integer, ValueFormat::binary), "cvv=734x");
  }
}

TEST(Parts, ObjectsInARow) {
  std::string objects;
  for (int i = 0; i < 120; ++i)
    objects += (i % 3 == 0 ? "5A0841111111111111115F340101" : "57134111111111111111D25122011234567890000F") +
               std::string(i % 7 == 0 ? " " : "") +
               (i % 5 == 0 ? "020072340541282288051641111111"
                             "11111111000000 "
                           : "");
  expect_same_in_parts(objects, ValueType::text, ValueFormat::text);
  expect_same_in_parts("\\x" + objects.substr(0, 28) + objects.substr(0, 28), ValueType::bytea, ValueFormat::text);
}

// Each number shares digits with what stands beside it, and so on: little is held back all the same.
TEST(Parts, WhatOverlapsWithoutEnd) {
  const std::string pieces[] = {"5A084111111111111111%20", "W\x13\x11\x11\x11\x11\x11\x11\x11",
                                "57134111111111111111D2512201%20"};
  for (const std::string& piece : pieces) {
    std::string text;
    while (text.size() < 30000) text += piece;
    for (const ValueType type : {ValueType::text, ValueType::bytea}) {
      const ValueFormat format = type == ValueType::text ? ValueFormat::text : ValueFormat::binary;
      for (const size_t step : {300, 4096, 20000})
        EXPECT_TRUE(find(masked_in_parts(text, step, type, format), type, format).empty()) << step << piece;
    }
  }
}

}  // namespace
}  // namespace sluice::policies::testing
