// How good the detector is: generated card numbers of every brand are found, and look-alikes are left alone.
// tests/bench/card_quality.cc prints the same as a report.
#include "tests/unit/policies/cards/card_samples.h"
#include "tests/unit/policies/cards/card_test_support.h"

namespace sluice::policies::testing {
namespace {

constexpr int kSamples = 10000;

TEST(Quality, EveryBrandAndLengthIsFoundInEveryLayout) {
  Samples samples(20261121);
  for (const BrandRange& range : brand_ranges()) {
    for (size_t length : range.lengths) {
      for (int i = 0; i < 20; ++i) {
        const std::string prefix = range.prefix;
        const std::string number = with_check_digit(prefix + samples.digits(length - prefix.size() - 1));
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

// What looks like a card number in every respect is masked: the floor that issuer, length and check digit give is all
// there is.
TEST(Quality, LookAlikesAreLeftAloneDownToChance) {
  for (const LookAlike& alike : look_alikes()) {
    Samples samples(20261121);
    int found = 0, floor = 0;
    std::string last;
    for (int i = 0; i < kSamples; ++i) {
      const std::string sample = alike.make(samples);
      if (alike.by_chance && passes_without_context(sample)) ++floor;
      if (find("value: " + sample + ";").empty()) continue;
      ++found;
      last = sample;
    }
    EXPECT_LE(found * 100, floor * 105) << alike.name << ", such as " << last;
  }
}

}  // namespace
}  // namespace sluice::policies::testing
