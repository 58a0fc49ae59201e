// Masked numbers are recognised in every style and layout, and what only looks a little like one is not.
#include "policies/cards/masked_value.h"

#include <gtest/gtest.h>

#include <string>

#include "policies/cards/card_scanner.h"

namespace sluice::policies {
namespace {

bool holds(const std::string& text) {
  return holds_masked_card({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

TEST(MaskedValue, IsWhatTheStylesLeave) {
  std::string why;
  const auto scanner = CardScanner::create(why);
  ASSERT_NE(scanner, nullptr) << why;
  for (const std::string pan : {"4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "378282246310005",
                                "3782 822463 10005", "30569309025904", "5555.5555.5555.4444"}) {
    for (const MaskStyle style : {MaskStyle::bin6_last4, MaskStyle::last4, MaskStyle::bin8_last4}) {
      std::string text = pan;
      ASSERT_EQ(mask_text(*scanner, text, style), 1U) << pan;
      EXPECT_TRUE(holds(text)) << text;
      EXPECT_TRUE(holds("insert into t values ('" + text + "', 5)")) << text;
      EXPECT_TRUE(holds("12 * 3, ** x" + text + ",1")) << text;
      EXPECT_TRUE(holds("2025-12-01 12:34 " + text + " 2026 **")) << text;
    }
  }
}

TEST(MaskedValue, MayHaveNineteenDigitsAndItsLastGroupCut) {
  EXPECT_TRUE(holds("621234*********1111"));
  EXPECT_TRUE(holds("6212 34** **** ***1 111"));
}

TEST(MaskedValue, OtherStarsAreNone) {
  for (const std::string text :
       {"", "*", "select count(*) from t", "select 2*3*4", "/****************/", "/* 411111 */", "a ** 1111",
        "****************", "-- **** 2025 **** 2026 ****", "411111*1111", "411111**1111",
        "411111******1111222233334444", "1411111******1111", "41111******1111", "411111******11111",
        "select 411111 * 123456 * 1111", "* * * * * * * * * * * *", "select t.*, u.* from t, u"})
    EXPECT_FALSE(holds(text)) << text;
}

TEST(MaskedValue, IsSeenAcrossPieces) {
  const std::string text = "1\tjane\t4111 11** **** 1111\tx\n2\tjohn\n";
  for (size_t step = 1; step <= text.size(); ++step) {
    MaskedCardStream stream;
    bool found = false;
    for (size_t at = 0; at < text.size(); at += step) {
      const std::string piece = text.substr(at, step);
      found = stream.holds({reinterpret_cast<const uint8_t*>(piece.data()), piece.size()}) || found;
    }
    EXPECT_TRUE(found) << "in steps of " << step;
    stream.reset();
    EXPECT_FALSE(stream.holds({reinterpret_cast<const uint8_t*>("1111"), 4}));
  }
}

TEST(MaskedValue, AFloodIsNotSlow) {
  std::string text;
  while (text.size() < 1'000'000) text += "1*2* 3*";
  EXPECT_FALSE(holds(text));
  EXPECT_FALSE(holds(std::string(1'000'000, '*')));
}

}  // namespace
}  // namespace sluice::policies
