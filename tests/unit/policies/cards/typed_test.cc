// Card numbers in typed values: the mask must stay valid for the type.
#include <bit>
#include <cmath>

#include "policies/cards/issuer_table.h"
#include "tests/unit/policies/cards/card_test_support.h"

namespace sluice::policies::testing {
namespace {

constexpr auto kBinary = ValueFormat::binary;

bool passes_luhn(const std::string& digits) {
  std::vector<uint8_t> values;
  for (char c : digits) values.push_back(static_cast<uint8_t>(c - '0'));
  return cards::luhn_valid(values);
}

// A PostgreSQL numeric of a non-negative whole number, trailing zero groups trimmed as the server does.
std::string numeric(const std::string& digits, uint16_t dscale = 0) {
  std::string padded = std::string((4 - digits.size() % 4) % 4, '0') + digits;
  std::vector<uint16_t> groups;
  for (size_t i = 0; i < padded.size(); i += 4) groups.push_back(static_cast<uint16_t>(std::stoi(padded.substr(i, 4))));
  const size_t weight = groups.size() - 1;
  while (!groups.empty() && groups.back() == 0) groups.pop_back();
  std::string out = big_endian(groups.size(), 2) + big_endian(weight, 2) + big_endian(0, 2) + big_endian(dscale, 2);
  for (uint16_t group : groups) out += big_endian(group, 2);
  return out;
}

std::string numeric_digits(const std::string& bytes) {
  std::string out;
  const size_t groups = read_big_endian(bytes.substr(0, 2)), weight = read_big_endian(bytes.substr(2, 2));
  for (size_t i = 0; i <= weight; ++i) {
    const std::string group = std::to_string(i < groups ? read_big_endian(bytes.substr(8 + 2 * i, 2)) : 0);
    out += out.empty() ? group : std::string(4 - group.size(), '0') + group;
  }
  return out;
}

void expect_numeric_mask(const std::string& before, const std::string& after) {
  ASSERT_EQ(before.size(), after.size());
  EXPECT_EQ(before.substr(0, 6), after.substr(0, 6));
  EXPECT_EQ(before.substr(before.size() - 4), after.substr(after.size() - 4));
  EXPECT_NE(before, after);
  EXPECT_FALSE(passes_luhn(after)) << after;
}

TEST(Integer, TextStaysANumber) {
  const std::string after = masked("4111111111111111", ValueType::integer);
  expect_numeric_mask("4111111111111111", after);
  EXPECT_EQ(masked(after, ValueType::integer), after);
  EXPECT_EQ(masked("12345", ValueType::integer), "12345");
  EXPECT_EQ(masked("-9223372036854775808", ValueType::integer), "-9223372036854775808");
}

TEST(Integer, BinaryInt8StaysAnInt8) {
  for (const std::string& number : published_test_numbers()) {
    const std::string before = big_endian(std::stoull(number), 8);
    const std::vector<Finding> findings = find(before, ValueType::integer, kBinary);
    ASSERT_EQ(findings.size(), 1u) << number;
    EXPECT_EQ(findings[0].form, FindingForm::int8_binary);
    const std::string after = masked(before, ValueType::integer, kBinary);
    expect_numeric_mask(number, std::to_string(read_big_endian(after)));
    EXPECT_EQ(masked(after, ValueType::integer, kBinary), after);
  }
  const std::string negative = big_endian(-4111111111111111, 8);
  EXPECT_LT(static_cast<int64_t>(read_big_endian(masked(negative, ValueType::integer, kBinary))), 0);
  EXPECT_NE(masked(negative, ValueType::integer, kBinary), negative);
}

TEST(Integer, SmallAndOddBinarySizesAreLeftAlone) {
  for (size_t size : {0, 1, 2, 3, 4, 7, 9}) {
    const std::string before(size, '4');
    EXPECT_EQ(masked(before, ValueType::integer, kBinary), before);
  }
  EXPECT_TRUE(find(big_endian(INT64_MIN, 8), ValueType::integer, kBinary).empty());
  EXPECT_TRUE(find(big_endian(INT64_MAX, 8), ValueType::integer, kBinary).empty());
}

TEST(Numeric, BinaryKeepsItsShape) {
  for (const std::string& number : published_test_numbers()) {
    const std::string before = numeric(number);
    ASSERT_EQ(find(before, ValueType::numeric, kBinary).size(), 1u) << number;
    const std::string after = masked(before, ValueType::numeric, kBinary);
    ASSERT_EQ(after.size(), before.size());
    EXPECT_EQ(after.substr(0, 8), before.substr(0, 8));
    const std::string digits = numeric_digits(after);
    ASSERT_EQ(digits.size(), number.size()) << number << " " << digits;
    EXPECT_NE(digits, number);
    EXPECT_FALSE(passes_luhn(digits)) << digits;
    EXPECT_EQ(digits.substr(0, 4), number.substr(0, 4));
    EXPECT_EQ(digits.substr(digits.size() - 4), number.substr(number.size() - 4));
    EXPECT_EQ(masked(after, ValueType::numeric, kBinary), after);
    for (size_t group = 8; group < after.size(); group += 2) EXPECT_LT(read_big_endian(after.substr(group, 2)), 10000u);
    EXPECT_NE(read_big_endian(after.substr(after.size() - 2)), 0u) << "not canonical: " << digits;
  }
}

TEST(Numeric, ZeroFractionCountsOtherFractionDoesNot) {
  EXPECT_EQ(find(numeric("4111111111111111", 2), ValueType::numeric, kBinary).size(), 1u);
  std::string fraction = numeric("4111111111111111", 2);
  fraction[1] = static_cast<char>(fraction[1] + 1);
  fraction += big_endian(2500, 2);
  EXPECT_TRUE(find(fraction, ValueType::numeric, kBinary).empty());
  EXPECT_EQ(find("4111111111111111.00", ValueType::numeric).size(), 1u);
  EXPECT_TRUE(find("4111111111111111.25", ValueType::numeric).empty());
  const std::string after = masked("-4111111111111111.00", ValueType::numeric);
  EXPECT_EQ(after.size(), 20u);
  EXPECT_EQ(after.substr(0, 7), "-411111");
  EXPECT_EQ(after.substr(13), "1111.00");
  EXPECT_EQ(after.find('*'), std::string::npos);
}

TEST(Numeric, MalformedBinaryIsLeftAlone) {
  std::string bytes = numeric("4111111111111111");
  EXPECT_TRUE(find(bytes.substr(0, 9), ValueType::numeric, kBinary).empty());
  bytes[9] = '\x7f', bytes[8] = '\x7f';  // a group above 9999
  EXPECT_TRUE(find(bytes, ValueType::numeric, kBinary).empty());
  EXPECT_TRUE(find(std::string("\0\0\0\0\xC0\0\0\0", 8), ValueType::numeric, kBinary).empty());  // NaN
}

TEST(Floating, TextWithExponent) {
  const std::string after = masked("4.111111111111111e+15", ValueType::floating);
  EXPECT_EQ(after.substr(0, 7), "4.11111");
  EXPECT_EQ(after.substr(13), "1111e+15") << after;
  EXPECT_EQ(after.find('*'), std::string::npos);
  EXPECT_EQ(masked(after, ValueType::floating), after);
  const double value = std::stod(after);
  EXPECT_FALSE(passes_luhn(std::to_string(static_cast<uint64_t>(value)))) << after;
  EXPECT_EQ(find("4.00002e+15", ValueType::floating).size(), 1u);
  EXPECT_TRUE(find("4.1111111111111115e+14", ValueType::floating).empty());
  EXPECT_TRUE(find("4.111111111111111e-15", ValueType::floating).empty());
  EXPECT_TRUE(find("NaN", ValueType::floating).empty());
  EXPECT_TRUE(find("-Infinity", ValueType::floating).empty());
}

TEST(Floating, Binary) {
  const std::string before = big_endian(std::bit_cast<uint64_t>(4111111111111111.0), 8);
  ASSERT_EQ(find(before, ValueType::floating, kBinary).size(), 1u);
  const std::string after = masked(before, ValueType::floating, kBinary);
  const double value = std::bit_cast<double>(read_big_endian(after));
  expect_numeric_mask("4111111111111111", std::to_string(static_cast<uint64_t>(value)));
  EXPECT_EQ(masked(after, ValueType::floating, kBinary), after);
  EXPECT_TRUE(find(big_endian(std::bit_cast<uint64_t>(4111111111111111.5), 8), ValueType::floating, kBinary).empty());
  EXPECT_TRUE(find(big_endian(std::bit_cast<uint64_t>(std::nan("")), 8), ValueType::floating, kBinary).empty());
}

TEST(Bytea, HexStaysHex) {
  EXPECT_EQ(masked("\\x34313131313131313131313131313131", ValueType::bytea), "\\x3431313131312a2a2a2a2a2a31313131");
  EXPECT_EQ(masked("\\x00ff34313131203131313120313131312031313131ff", ValueType::bytea),
            "\\x00ff343131312031312a2a202a2a2a2a2031313131ff");
  EXPECT_TRUE(find("\\x004111111111111111ff", ValueType::bytea).empty());  // the digits are not the content
  EXPECT_EQ(find("\\xzz 4111111111111111", ValueType::bytea).size(), 1u);  // not hex after all
}

TEST(Bytea, EscapeFormAndBinary) {
  EXPECT_EQ(masked("\\0004111111111111111\\377", ValueType::bytea), "\\000411111******1111\\377");
  EXPECT_EQ(masked("\\0644111111111111111", ValueType::bytea), "\\0644111111111111111");  // 17 digits: "44111…"
  EXPECT_EQ(masked("\\064111111111111111", ValueType::bytea), "\\06411111******1111");
  EXPECT_EQ(masked(std::string("\0004111111111111111\xff", 18), ValueType::bytea, kBinary),
            std::string("\000411111******1111\xff", 18));
}

TEST(Json, NumbersStayNumbersAndStringsGetStars) {
  const std::string after = masked(R"({"pan": 4111111111111111, "s": "4111 1111 1111 1111"})", ValueType::json);
  EXPECT_EQ(after.substr(0, 14), R"({"pan": 411111)");
  EXPECT_EQ(after.substr(20), R"(1111, "s": "4111 11** **** 1111"})");
  EXPECT_EQ(after.substr(14, 6).find('*'), std::string::npos);
  EXPECT_EQ(masked(after, ValueType::json), after);
  EXPECT_EQ(find("[4111111111111111,5555555555554444]", ValueType::json).size(), 2u);
  EXPECT_EQ(find("4.111111111111111e15", ValueType::json).size(), 1u);
  EXPECT_TRUE(find("[41.11111111111111, 4111111111111111.5]", ValueType::json).empty());
  EXPECT_EQ(masked(R"({"a\"":"4111111111111111"})", ValueType::json), R"({"a\"":"411111******1111"})");
}

TEST(Json, NumberInJsonWithinAStringStaysANumber) {
  const std::string after = masked(R"({"payload":"{\"pan\":4111111111111111}"})", ValueType::json);
  EXPECT_EQ(after.find('*'), std::string::npos);
  EXPECT_NE(after.find("411111"), std::string::npos);
  EXPECT_EQ(after.find("4111111111111111"), std::string::npos);
}

TEST(Json, JsonbBinaryHasAVersionByte) {
  const std::string after = masked("\x01{\"p\": 4111111111111111}", ValueType::jsonb, kBinary);
  EXPECT_EQ(after.substr(0, 13), "\x01{\"p\": 411111");
  EXPECT_EQ(after.find('*'), std::string::npos);
  EXPECT_EQ(find("\x01{\"p\": 4111111111111111}", ValueType::jsonb, kBinary).size(), 1u);
}

std::string array_header(uint32_t oid, uint32_t elements) {
  return big_endian(1, 4) + big_endian(0, 4) + big_endian(oid, 4) + big_endian(elements, 4) + big_endian(1, 4);
}
std::string element(const std::string& bytes) {
  return big_endian(bytes.size(), 4) + bytes;
}

TEST(Array, TextForm) {
  const std::string numbers = masked("{4111111111111111,42,NULL,5555555555554444}", ValueType::array);
  EXPECT_EQ(numbers.find('*'), std::string::npos);
  EXPECT_EQ(numbers.find("4111111111111111"), std::string::npos);
  EXPECT_EQ(numbers.find("5555555555554444"), std::string::npos);
  EXPECT_EQ(masked("{\"4111 1111 1111 1111\",x}", ValueType::array), "{\"4111 11** **** 1111\",x}");
  EXPECT_EQ(masked("{4111-1111-1111-1111}", ValueType::array), "{4111-11**-****-1111}");
}

TEST(Array, BinaryElementsByType) {
  const std::string pan = "4111111111111111";
  const auto int8 =
      array_header(20, 3) + element(big_endian(42, 8)) + big_endian(-1, 4) + element(big_endian(4111111111111111, 8));
  ASSERT_EQ(find(int8, ValueType::array, kBinary).size(), 1u);
  EXPECT_EQ(find(int8, ValueType::array, kBinary)[0].offset, int8.size() - 8);
  const std::string after = masked(int8, ValueType::array, kBinary);
  EXPECT_EQ(after.substr(0, int8.size() - 8), int8.substr(0, int8.size() - 8));
  EXPECT_EQ(masked(after, ValueType::array, kBinary), after);

  EXPECT_EQ(masked(array_header(25, 2) + element("x") + element(pan), ValueType::array, kBinary),
            array_header(25, 2) + element("x") + element("411111******1111"));
  EXPECT_EQ(find(array_header(1700, 1) + element(numeric(pan)), ValueType::array, kBinary).at(0).form,
            FindingForm::numeric_binary);
  EXPECT_EQ(find(array_header(17, 1) + element(pan), ValueType::array, kBinary).size(), 1u);
  EXPECT_EQ(find(array_header(3802, 1) + element("\x01" + pan), ValueType::array, kBinary).at(0).form,
            FindingForm::decimal);
  EXPECT_EQ(find(array_header(701, 1) + element(big_endian(std::bit_cast<uint64_t>(4111111111111111.0), 8)),
                 ValueType::array, kBinary)
                .at(0)
                .form,
            FindingForm::float8_binary);
}

TEST(Array, MalformedBinaryIsLookedAtAsBytes) {
  const std::string pan = "4111111111111111";
  EXPECT_EQ(find("garbage " + pan, ValueType::array, kBinary).size(), 1u);
  EXPECT_EQ(find(array_header(25, 1) + big_endian(1000, 4) + pan, ValueType::array, kBinary).size(), 1u);
  EXPECT_EQ(find(array_header(25, 1) + big_endian(-5, 4) + pan, ValueType::array, kBinary).size(), 1u);
  EXPECT_EQ(find(array_header(25, 1) + element("a") + pan, ValueType::array, kBinary).size(), 1u);
}

// A column of a record on the wire: type, length, bytes.
std::string field(uint32_t oid, const std::string& bytes) {
  return big_endian(oid, 4) + big_endian(static_cast<int64_t>(bytes.size()), 4) + bytes;
}

TEST(Composite, ValuesInsideRecordsRangesAndMultirangesAreFound) {
  const std::string pan = big_endian(4111111111111111, 8), innocent = big_endian(4111111111111112, 8);
  const std::string record = big_endian(2, 4) + field(20, pan) + field(705, "x");
  const std::string range = std::string(1, '\x12') + big_endian(8, 4) + pan;
  const std::string multirange = big_endian(1, 4) + big_endian(static_cast<int64_t>(range.size()), 4) + range;
  const std::string nested = big_endian(1, 4) + field(16'385, record);
  for (const std::string& value : {record, range, multirange, nested}) {
    EXPECT_EQ(find(value, ValueType::opaque, kBinary).size(), 1u);
    EXPECT_TRUE(find(masked(value, ValueType::opaque, kBinary), ValueType::opaque, kBinary).empty());
    EXPECT_EQ(masked(value, ValueType::opaque, kBinary).size(), value.size());
  }
  EXPECT_TRUE(find(big_endian(1, 4) + field(20, innocent), ValueType::opaque, kBinary).empty());
  EXPECT_TRUE(find(record + "z", ValueType::opaque, kBinary).empty()) << "not exactly a record";
  EXPECT_EQ(find(array_header(2249, 1) + element(record), ValueType::array, kBinary).size(), 1u);
  EXPECT_EQ(find(array_header(16'385, 1) + element(record), ValueType::opaque, kBinary).size(), 1u);
}

TEST(Composite, PartsOfAnHstoreAreFoundBesideLengthsThatAreDigits) {
  // The length of the value, 48, is the character '0'.
  const std::string value = "4111111111111111" + std::string(32, '.');
  const std::string hstore =
      big_endian(2, 4) + element("4111111111111111") + element(value) + element("none") + big_endian(-1, 4);
  EXPECT_EQ(find(hstore, ValueType::opaque, kBinary).size(), 2u);
  const std::string after = masked(hstore, ValueType::opaque, kBinary);
  EXPECT_EQ(after, big_endian(2, 4) + element("411111******1111") + element("411111******1111" + std::string(32, '.')) +
                       element("none") + big_endian(-1, 4));
}

TEST(Composite, LexemesOfATsvectorAreFoundBesidePositionsThatAreDigits) {
  const auto lexeme = [](const std::string& text, uint16_t position) {
    return text + std::string(1, '\0') + big_endian(1, 2) + big_endian(position, 2);
  };
  const std::string tsvector = big_endian(2, 4) + lexeme("4000", 0x4030) + lexeme("4111111111111111", 0x4031);
  EXPECT_EQ(masked(tsvector, ValueType::opaque, kBinary),
            big_endian(2, 4) + lexeme("4000", 0x4030) + lexeme("411111******1111", 0x4031));
}

TEST(Composite, BoundsOfAKnownIntegerRangeAreIntegers) {
  const std::string amex = big_endian(378282246310005, 8);
  const std::string range = std::string(1, '\x12') + element(amex);
  EXPECT_EQ(find(range, ValueType::integer_range, kBinary).size(), 1u);
  EXPECT_EQ(find(big_endian(1, 4) + element(range), ValueType::integer_range, kBinary).size(), 1u);
  EXPECT_TRUE(find(range, ValueType::opaque, kBinary).empty()) << "may be two timestamps";
  EXPECT_EQ(find("[4111111111111111,)", ValueType::integer_range).size(), 1u);
}

TEST(Opaque, BytesAsTextAndEightBytesAsInteger) {
  EXPECT_EQ(masked("(1,4111111111111111)", ValueType::opaque, kBinary), "(1,411111******1111)");
  EXPECT_EQ(find(big_endian(4111111111111111, 8), ValueType::opaque, kBinary).size(), 1u);
  EXPECT_TRUE(find(big_endian(378282246310005, 8), ValueType::opaque, kBinary).empty()) << "may be a timestamp";
}

TEST(Opaque, EveryFormThatFits) {
  const std::string pan = "4111111111111111";
  EXPECT_EQ(find(numeric(pan), ValueType::opaque, kBinary).at(0).form, FindingForm::numeric_binary);
  EXPECT_EQ(find(numeric("378282246310005", 2), ValueType::opaque, kBinary).size(), 1u);
  for (const std::string& number : published_test_numbers()) {
    const double value = std::stod(number);
    if (value > 9007199254740992.0) continue;
    const std::string bytes = big_endian(std::bit_cast<uint64_t>(value), 8);
    ASSERT_EQ(find(bytes, ValueType::opaque, kBinary).size(), 1u) << number;
    const double after = std::bit_cast<double>(read_big_endian(masked(bytes, ValueType::opaque, kBinary)));
    EXPECT_EQ(std::to_string(static_cast<uint64_t>(after)).size(), number.size());
  }
  const std::string jsonb = masked("\x01{\"p\": 4111111111111111}", ValueType::opaque, kBinary);
  EXPECT_EQ(jsonb.find('*'), std::string::npos) << "it stays JSON: " << jsonb;
  EXPECT_EQ(jsonb.find(pan), std::string::npos);
}

// What is no card number stays as it is, byte for byte, whatever it looks like.
TEST(Opaque, InnocentEightBytesAreLeftAlone) {
  size_t looked = 0;
  const auto untouched = [&looked](uint64_t bits, const char* what) {
    const std::string bytes = big_endian(bits, 8);
    EXPECT_EQ(masked(bytes, ValueType::opaque, kBinary), bytes) << what << " " << bits;
    ++looked;
  };
  // Floats of everyday size; as integers many of them are card numbers of 19 digits.
  for (int cents = -100'000; cents < 100'000; cents += 7) untouched(std::bit_cast<uint64_t>(cents / 100.0), "float8");
  for (double value = 1e-12; value < 1e12; value *= 1.37) untouched(std::bit_cast<uint64_t>(value), "float8");
  // Timestamps, microseconds since 2000: this century's to the microsecond, later ones to the second.
  for (uint64_t day = 0; day < 25'000; ++day) untouched(day * 86'400'000'000 + day * 1'234'567, "timestamp");
  for (uint64_t day = 25'000; day < 3'000'000; day += 11) untouched(day * 86'400'000'000, "timestamp far ahead");
  // Words of eight letters, also where they are whole floats.
  for (const char* word : {"VISA1234", "SHIPPING", "shipping", "password", "UPPER-CA", "C\xc3\xa4sar12"}) {
    for (char last = ' '; last < 0x7f; ++last) {
      std::string text = word;
      text[7] = last;
      untouched(read_big_endian(text), "word");
    }
  }
  for (unsigned number = 0; number < 1'000'000; number += 37) {
    char code[9];
    std::snprintf(code, sizeof code, "C1%06u", number);
    untouched(read_big_endian(code), "code");
  }
  EXPECT_GT(looked, 300'000u);
}

TEST(Opaque, AnArrayOfAnySizeIsReadAsOne) {
  std::string large = array_header(20, 10'000);
  for (int i = 0; i < 10'000; ++i) large += element(big_endian(i == 9'999 ? 4111111111111111 : i, 8));

  StreamState state;
  std::string out;
  for (size_t at = 0; at < large.size();) {
    const size_t size = std::min<size_t>(5'000, large.size() - at);
    std::string piece = large.substr(at, size);
    ValueView value{{reinterpret_cast<uint8_t*>(piece.data()), piece.size()}, ValueType::opaque, kBinary};
    value.part = at + size == large.size() ? ValuePart::last : at == 0 ? ValuePart::first : ValuePart::middle;
    value.stream = &state;
    std::vector<Finding> findings;
    size_t settled = 0;
    scanner().scan({&value, 1}, findings, {&settled, 1});
    scanner().mask({&value, 1}, findings, MaskStyle::bin6_last4);
    ASSERT_GT(settled, 0u);
    out += piece.substr(0, settled);
    at += settled;
  }
  EXPECT_EQ(out.substr(0, out.size() - 8), large.substr(0, large.size() - 8));
  EXPECT_NE(out.substr(out.size() - 8), large.substr(large.size() - 8));
}

TEST(Inert, BinaryIsNeverTouched) {
  EXPECT_EQ(masked("4111111111111111", ValueType::inert, kBinary), "4111111111111111");
  EXPECT_TRUE(find(big_endian(4111111111111111, 8), ValueType::inert, kBinary).empty());
  EXPECT_EQ(find("4111111111111111", ValueType::inert).size(), 1u) << "text is text";
  // Within arrays and records it is no number, but bytes that are made up to look like one are looked at as characters.
  EXPECT_EQ(find(big_endian(1, 4) + field(1114, "4111111111111111"), ValueType::opaque, kBinary).size(), 1u);
  EXPECT_EQ(find(array_header(2950, 1) + element("4111111111111111"), ValueType::opaque, kBinary).size(), 1u);
  EXPECT_TRUE(
      find(array_header(1114, 1) + element(big_endian(4111111111111111, 8)), ValueType::opaque, kBinary).empty());
  EXPECT_TRUE(
      find(big_endian(1, 4) + field(1184, big_endian(4111111111111111, 8)), ValueType::opaque, kBinary).empty());
}

TEST(Geometric, CoordinatesAreFloats) {
  const std::string pan = big_endian(std::bit_cast<uint64_t>(4111111111111111.0), 8);
  const std::string half = big_endian(std::bit_cast<uint64_t>(0.5), 8);
  for (const std::string& before : {std::string(), std::string(1, '\1') + big_endian(2, 4), big_endian(2, 4)}) {
    const std::string value = before + half + pan + pan + half;
    ASSERT_EQ(find(value, ValueType::geometric, kBinary).size(), 2u) << before.size();
    const std::string after = masked(value, ValueType::geometric, kBinary);
    EXPECT_EQ(after.substr(0, before.size() + 8), before + half);
    EXPECT_TRUE(find(after, ValueType::geometric, kBinary).empty());
  }
  const std::string text = masked("(4111111111111111,0.5)", ValueType::geometric);
  EXPECT_EQ(text.find('*'), std::string::npos) << text;
  EXPECT_EQ(text.substr(0, 7), "(411111");
  EXPECT_NE(text, "(4111111111111111,0.5)");
}

// 4114111111111111111 would be a valid number of 19 digits.
TEST(TypedTest, ATabPartsTheFieldsOfACopyRow) {
  EXPECT_EQ(masked("411\t4111111111111111\n", ValueType::copy_row), "411\t411111******1111\n");
  EXPECT_EQ(masked("41111111\t11111111\n", ValueType::copy_row), "41111111\t11111111\n");
  EXPECT_EQ(masked("x\t4111 1111 1111 1111\ty\n", ValueType::copy_row), "x\t4111 11** **** 1111\ty\n");
  EXPECT_EQ(masked("4111\t1111\t1111\t1111", ValueType::text), "4111\t11**\t****\t1111");
}

TEST(TypedTest, AnArrayOfTextsTakesStars) {
  EXPECT_EQ(masked("{4111111111111111,x}", ValueType::text_array), "{411111******1111,x}");
}

}  // namespace
}  // namespace sluice::policies::testing
