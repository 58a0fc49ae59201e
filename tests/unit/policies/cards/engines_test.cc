// Every way of looking finds what the scalar routine finds: on texts long enough for the vector paths, built of what
// cards, look-alikes and floods are made of.
#include <random>

#include "policies/cards/card_scanner_engine.h"
#include "tests/unit/policies/cards/card_test_support.h"

namespace sluice::policies::testing {
namespace {

using cards::Engine;

std::vector<Finding> find_by(CardScanner& with, std::string& text) {
  ValueView value{{reinterpret_cast<uint8_t*>(text.data()), text.size()}};
  std::vector<Finding> findings;
  with.scan({&value, 1}, findings, {});
  return findings;
}

class Engines : public ::testing::TestWithParam<Engine> {
 protected:
  void SetUp() override {
    std::string why;
    scanner_ = create_card_scanner(GetParam(), why);
    if (scanner_ == nullptr) GTEST_SKIP() << why;
    oracle_ = create_card_scanner(Engine::scalar, why);
    ASSERT_NE(oracle_, nullptr) << why;
  }

  void expect_same(std::string text, const std::string& what) {
    const std::vector<Finding> expected = find_by(*oracle_, text), found = find_by(*scanner_, text);
    ASSERT_EQ(found.size(), expected.size()) << what;
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_EQ(found[i].offset, expected[i].offset) << what << " " << i;
      ASSERT_EQ(found[i].length, expected[i].length) << what << " " << i;
      ASSERT_EQ(found[i].brand, expected[i].brand) << what << " " << i;
      ASSERT_EQ(found[i].digits, expected[i].digits) << what << " " << i;
      ASSERT_EQ(found[i].last_kept, expected[i].last_kept) << what << " " << i;
    }
    findings_ += found.size();
  }

  std::string digits(size_t count) {
    std::string out;
    for (size_t i = 0; i < count; ++i) out += static_cast<char>('0' + random_() % 10);
    return out;
  }
  template <typename Pieces>
  const auto& one_of(const Pieces& pieces) {
    return pieces[random_() % std::size(pieces)];
  }

  std::mt19937 random_{20261121};
  std::unique_ptr<CardScanner> scanner_, oracle_;
  size_t findings_ = 0;
};

TEST_P(Engines, GroupsOfOneWidth) {
  for (size_t width = 1; width <= 24; ++width) {
    for (const char* separator : {" ", "-", ".", "/", "\t", "_", "\u00A0", "  ", "+", ","}) {
      std::string text;
      while (text.size() < 9000) text += digits(width) + separator;
      expect_same(text, std::to_string(width) + " digits, '" + separator + "'");
    }
  }
  EXPECT_GT(findings_, 1000u);
}

TEST_P(Engines, GroupsOfAllWidths) {
  const std::string separators[] = {" ", " ",      " ",      "-",  "-", ".", "/", "\t",
                                    "_", "\u00A0", "\u2013", "  ", "*", "x", "a", "\n"};
  for (int round = 0; round < 60; ++round) {
    std::string text;
    const size_t uniform = random_() % 3;
    while (text.size() < 5000) {
      text += digits(uniform == 0 ? 1 + random_() % 6 : uniform == 1 ? 3 + random_() % 3 : 1 + random_() % 22);
      text += one_of(separators);
    }
    expect_same(text, "round " + std::to_string(round));
  }
  EXPECT_GT(findings_, 20u);
}

TEST_P(Engines, CardsEverywhere) {
  const std::vector<std::string> numbers = published_test_numbers();
  const std::string between[] = {
      " ", "  ", "-", "\n", ", ", "x", ".", "*", "\u00A0", "", "0", "a7", " 12 ", std::string(60, '9'), "\t", "\xFF"};
  const std::string layouts[] = {"", "", " ", "-", "\u00A0", "/"};
  for (int round = 0; round < 60; ++round) {
    std::string text;
    while (text.size() < 5000) text += grouped(one_of(numbers), one_of(layouts)) + one_of(between);
    expect_same(text, "round " + std::to_string(round));
  }
  EXPECT_GT(findings_, 5000u);
}

// The places where a block, a tile and a chunk of the vector finder end.
TEST_P(Engines, OneCardAtEveryPlace) {
  for (const std::string card :
       {"4111111111111111", "4111 1111 1111 1111", "6221558812340000", "6799990100000000019"}) {
    for (size_t place = 0; place < 2300; place += place < 140 || place > 1900 ? 1 : 7) {
      for (const char filler : {'x', ' ', '.'}) {
        std::string text(2300, filler);
        text.replace(place, std::min(card.size(), text.size() - place), card, 0, text.size() - place);
        ASSERT_NO_FATAL_FAILURE(expect_same(text, card + " at " + std::to_string(place)));
      }
    }
  }
  EXPECT_GT(findings_, 5000u);
}

TEST_P(Engines, LongRunsAndWhatFollows) {
  for (size_t run : {19, 20, 63, 64, 65, 127, 128, 200, 500, 511, 512, 513, 600, 2047, 2048, 2049, 5000}) {
    for (const char* behind :
         {" 4111 1111 1111 1111 ", "x4111111111111111", "-4111111111111111", " 1 2 3 4 4111111111111111"}) {
      expect_same(digits(run) + behind + digits(run) + behind, std::to_string(run) + behind);
      expect_same("1234 5678 9012 " + digits(run) + behind, std::to_string(run) + behind);
    }
  }
}

std::string name_of(const ::testing::TestParamInfo<Engine>& engine) {
  switch (engine.param) {
    case Engine::avx2:
      return "avx2";
    case Engine::avx512:
      return "avx512";
    case Engine::portable:
      return "portable";
    default:
      return "automatic";
  }
}

INSTANTIATE_TEST_SUITE_P(All, Engines,
                         ::testing::Values(Engine::automatic, Engine::portable, Engine::avx2, Engine::avx512), name_of);

}  // namespace
}  // namespace sluice::policies::testing
