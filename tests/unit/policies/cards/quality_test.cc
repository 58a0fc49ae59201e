// How good the detector is: generated card numbers of every brand are found, and look-alikes are left alone.
#include <cstdio>
#include <random>

#include "tests/unit/policies/cards/card_test_support.h"

namespace sluice::policies::testing {
namespace {

constexpr int kSamples = 10000;

char luhn_digit(const std::string& payload) {
  unsigned sum = 0;
  for (size_t i = 0; i < payload.size(); ++i) {
    unsigned digit = static_cast<unsigned>(payload[payload.size() - 1 - i] - '0');
    if (i % 2 == 0) digit = digit * 2 > 9 ? digit * 2 - 9 : digit * 2;
    sum += digit;
  }
  return static_cast<char>('0' + (10 - sum % 10) % 10);
}

class Quality : public ::testing::Test {
 protected:
  std::string digits(size_t count) {
    std::string out;
    for (size_t i = 0; i < count; ++i) out += static_cast<char>('0' + random_() % 10);
    return out;
  }
  std::string hex(size_t count) {
    std::string out;
    for (size_t i = 0; i < count; ++i) out += "0123456789abcdef"[random_() % 16];
    return out;
  }
  std::string padded(unsigned value, int width) {
    char out[16];
    std::snprintf(out, sizeof out, "%0*u", width, value);
    return out;
  }
  unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }
  std::string with_check_digit(const std::string& payload) { return payload + luhn_digit(payload); }

  template <typename Make>
  int findings_among(Make make) {
    int found = 0;
    for (int i = 0; i < kSamples; ++i) {
      const std::string sample = make();
      if (!find("value: " + sample + ";").empty()) {
        ++found;
        last_ = sample;
      }
    }
    return found;
  }

  std::mt19937_64 random_{20261121};
  std::string last_;  // a sample that was found
};

TEST_F(Quality, EveryBrandAndLengthIsFoundInEveryLayout) {
  struct Range {
    const char* prefix;
    std::vector<size_t> lengths;
  };
  const std::vector<Range> ranges = {
      {"4", {13, 16, 18, 19}},
      {"51", {16}},
      {"55", {16}},
      {"2221", {16}},
      {"2720", {16}},
      {"34", {15}},
      {"37", {15}},
      {"300", {14, 16, 19}},
      {"305", {14, 16, 19}},
      {"309", {14, 16, 19}},
      {"36", {14, 16, 19}},
      {"39", {14, 16, 19}},
      {"6011", {16, 17, 18, 19}},
      {"644", {16, 19}},
      {"65", {16, 19}},
      {"622126", {16, 19}},
      {"3528", {16, 19}},
      {"3589", {16, 19}},
      {"2131", {15}},
      {"1800", {15}},
      {"62", {16, 17, 18, 19}},
      {"8100", {16, 19}},
      {"8171", {16, 19}},
      {"493698", {16, 19}},
      {"500000", {16, 19}},
      {"506779", {16, 19}},
      {"56", {16, 19}},
      {"63", {16, 19}},
      {"67", {16, 19}},
      {"2200", {16, 19}},
      {"2204", {16, 19}},
      {"60", {16}},
      {"82", {16}},
      {"508", {16}},
      {"9792", {16}},
      {"509000", {16}},
      {"637095", {16}},
      {"606282", {16}},
      {"506099", {16, 18, 19}},
  };
  for (const Range& range : ranges) {
    for (size_t length : range.lengths) {
      for (int i = 0; i < 20; ++i) {
        const std::string prefix = range.prefix;
        const std::string number = with_check_digit(prefix + digits(length - prefix.size() - 1));
        for (const char* separator : {"", " ", "-"}) {
          const std::string text = grouped(number, separator);
          const std::vector<Finding> findings = find(text);
          ASSERT_EQ(findings.size(), 1u) << text;
          EXPECT_EQ(findings[0].digits, length) << text;
        }
      }
    }
  }
}

TEST_F(Quality, LookAlikesAreLeftAlone) {
  const auto date = [&] { return padded(1970 + below(130), 4) + padded(1 + below(12), 2) + padded(1 + below(28), 2); };
  const auto time = [&] { return padded(below(24), 2) + padded(below(60), 2) + padded(below(60), 2); };
  EXPECT_EQ(findings_among([&] { return std::to_string(1000000000000 + random_() % 900000000000); }), 0)
      << last_;  // ms
  EXPECT_EQ(findings_among([&] { return std::to_string(1000000000000000 + random_() % 900000000000000); }), 0)
      << last_;  // µs
  EXPECT_EQ(findings_among([&] { return std::to_string(1000000000000000000 + random_() % 900000000000000000); }), 0)
      << last_;
  EXPECT_EQ(findings_among([&] { return date() + time(); }), 0) << last_;
  EXPECT_EQ(findings_among([&] { return date() + time() + digits(3); }), 0) << last_;
  EXPECT_EQ(findings_among([&] {
              return padded(1 + below(28), 2) + padded(1 + below(12), 2) + padded(1970 + below(130), 4) + time();
            }),
            0)
      << last_;
  EXPECT_EQ(findings_among([&] { return hex(8) + "-" + hex(4) + "-4" + hex(3) + "-a" + hex(3) + "-" + hex(12); }), 0)
      << last_;
  EXPECT_EQ(findings_among([&] { return hex(32); }), 0) << last_;
  EXPECT_EQ(findings_among([&] { return hex(64); }), 0) << last_;
  EXPECT_EQ(findings_among([&] { return with_check_digit("35" + digits(12)); }), 0) << last_;    // IMEI
  EXPECT_EQ(findings_among([&] { return with_check_digit("8949" + digits(14)); }), 0) << last_;  // ICCID
  EXPECT_EQ(findings_among([&] { return "978" + digits(10); }), 0) << last_;                     // ISBN
  EXPECT_EQ(findings_among([&] { return "0." + digits(16); }), 0) << last_;
  EXPECT_EQ(findings_among([&] {
              return std::to_string(below(180)) + "." + digits(14) + "," + std::to_string(below(90)) + "." + digits(14);
            }),
            0)
      << last_;
  EXPECT_EQ(findings_among([&] { return "+49 30 " + digits(7) + " / +49 40 " + digits(7); }), 0) << last_;
}

// What looks like a card number in every respect is masked: the floor that issuer and check digit give is all there is.
TEST_F(Quality, RandomNumbersAreFoundAsOftenAsChanceHasIt) {
  const int found = findings_among([&] { return digits(16); });
  EXPECT_GT(found, 300);
  EXPECT_LT(found, 450);
}

}  // namespace
}  // namespace sluice::policies::testing
