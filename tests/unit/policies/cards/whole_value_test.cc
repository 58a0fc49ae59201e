// Values masked whole: what stands there afterwards is a value of the same type, and says nothing.
#include "policies/cards/whole_value.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::policies {
namespace {

std::string masked(std::string value, ValueType type, ValueFormat format = ValueFormat::text,
                   WholeNumbers numbers = WholeNumbers::zero) {
  const auto kept = mask_whole({reinterpret_cast<uint8_t*>(value.data()), value.size()}, type, format, numbers);
  return kept ? value.substr(0, *kept) : "NULL";
}

TEST(WholeValue, TextForms) {
  EXPECT_EQ(masked("737", ValueType::text), "***");
  EXPECT_EQ(masked("", ValueType::text), "");
  EXPECT_EQ(masked("-12", ValueType::integer), "-00");
  EXPECT_EQ(masked("12.50", ValueType::numeric), "00.00");
  EXPECT_EQ(masked("4.1e+15", ValueType::floating), "0.0e+00");
  EXPECT_EQ(masked("\\x3431", ValueType::bytea), "\\x2a2a");
  EXPECT_EQ(masked("41\\001", ValueType::bytea), "******");
  EXPECT_EQ(masked("{\"a\":1}", ValueType::json), "\"*****\"");
  EXPECT_EQ(masked("7", ValueType::jsonb), "0");
  EXPECT_EQ(masked("{1,2}", ValueType::array), "NULL");
  EXPECT_EQ(masked("2020-01-01", ValueType::inert), "NULL");
  EXPECT_EQ(masked("anything", ValueType::opaque), "NULL");
  EXPECT_EQ(masked("12", ValueType::integer, ValueFormat::text, WholeNumbers::null), "NULL");
}

TEST(WholeValue, BinaryForms) {
  EXPECT_EQ(masked("737", ValueType::text, ValueFormat::binary), "***");
  EXPECT_EQ(masked(std::string("\0\0\x12\x34", 4), ValueType::integer, ValueFormat::binary), std::string(4, '\0'));
  EXPECT_EQ(masked(std::string("\0\2\0\1\0\0\0\2\x12\x34\x56\x78", 12), ValueType::numeric, ValueFormat::binary),
            std::string(8, '\0'));
  EXPECT_EQ(masked("short", ValueType::numeric, ValueFormat::binary), "NULL");
  EXPECT_EQ(masked("\1{\"a\":1}", ValueType::jsonb, ValueFormat::binary), "\1\"*****\"");
  EXPECT_EQ(masked("{}", ValueType::json, ValueFormat::binary), "\"\"");
  EXPECT_EQ(masked("12345678", ValueType::array, ValueFormat::binary), "NULL");
  EXPECT_EQ(masked("1234", ValueType::floating, ValueFormat::binary, WholeNumbers::null), "NULL");
}

// Cut anywhere, the parts add up to the same value.
TEST(WholeValue, PartsOfALargeValue) {
  const auto in_parts = [](std::string value, ValueType type, ValueFormat format, size_t cut) {
    auto* const bytes = reinterpret_cast<uint8_t*>(value.data());
    mask_whole_part({bytes, cut}, type, format, 0, value.size() - cut);
    mask_whole_part({bytes + cut, value.size() - cut}, type, format, cut, 0);
    return value;
  };
  for (size_t cut = 1; cut < 8; ++cut) {
    EXPECT_EQ(in_parts("12345678", ValueType::text, ValueFormat::text, cut), "********");
    EXPECT_EQ(in_parts("\\x343536", ValueType::bytea, ValueFormat::text, cut), "\\x2a2a2a") << cut;
    EXPECT_EQ(in_parts("{\"a\": 1}", ValueType::json, ValueFormat::text, cut), "\"******\"") << cut;
    EXPECT_EQ(in_parts("\1{\"a\":1}", ValueType::jsonb, ValueFormat::binary, cut), "\1\"*****\"") << cut;
    EXPECT_EQ(in_parts("12345678", ValueType::array, ValueFormat::binary, cut), std::string(8, '\0'));
    EXPECT_EQ(in_parts("{1,2,3,}", ValueType::array, ValueFormat::text, cut), "********");
  }
}

}  // namespace
}  // namespace sluice::policies
