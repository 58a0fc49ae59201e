// What the card tests share: values from strings, masks as strings.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "policies/cards/card_scanner.h"

namespace sluice::policies::testing {

inline CardScanner& scanner() {
  static std::string why;
  static const std::unique_ptr<CardScanner> made = CardScanner::create(why);
  EXPECT_NE(made, nullptr) << why;
  return *made;
}

inline std::vector<Finding> find(std::string text, ValueType type = ValueType::text,
                                 ValueFormat format = ValueFormat::text) {
  ValueView value{{reinterpret_cast<uint8_t*>(text.data()), text.size()}, type, format};
  std::vector<Finding> findings;
  scanner().scan({&value, 1}, findings, {});
  return findings;
}

inline std::string masked(std::string text, ValueType type = ValueType::text, ValueFormat format = ValueFormat::text,
                          MaskStyle style = MaskStyle::bin6_last4) {
  ValueView value{{reinterpret_cast<uint8_t*>(text.data()), text.size()}, type, format};
  std::vector<Finding> findings;
  scanner().scan({&value, 1}, findings, {});
  scanner().mask({&value, 1}, findings, style);
  return text;
}

inline std::vector<std::string> published_test_numbers() {
  std::ifstream file("tests/support/test_pans.txt");
  std::vector<std::string> numbers;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line[0] != '#') numbers.push_back(line);
  }
  return numbers;
}

// Groups as they are printed on the card.
inline std::string grouped(const std::string& digits, const std::string& separator) {
  std::vector<size_t> widths{4, 4, 4, 4, 4};
  if (digits.size() == 15) widths = {4, 6, 5};
  if (digits.size() == 14) widths = {4, 6, 4};
  std::string out;
  for (size_t at = 0, group = 0; at < digits.size(); at += widths[group++]) {
    if (at != 0) out += separator;
    out += digits.substr(at, widths[group]);
  }
  return out;
}

template <typename Integer>
std::string big_endian(Integer value, size_t bytes) {
  std::string out(bytes, '\0');
  auto bits = static_cast<uint64_t>(value);
  for (size_t i = bytes; i-- > 0; bits >>= 8) out[i] = static_cast<char>(bits & 0xFF);
  return out;
}

inline uint64_t read_big_endian(std::string_view bytes) {
  uint64_t value = 0;
  for (char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

}  // namespace sluice::policies::testing
