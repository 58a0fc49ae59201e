// What the card tests share: values from strings, masks as strings.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "policies/cards/card_scanner.h"
#include "tests/unit/policies/cards/card_samples.h"

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
