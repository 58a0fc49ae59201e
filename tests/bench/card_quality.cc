// How good the detector is, as a report: recall on published test numbers, on generated numbers of every brand and on
// every hidden form; findings among numbers that are no cards, beside the floor that issuer ranges, lengths and check
// digits give without context. Seeded; the same every time. Ends with 1 where a bound is missed.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "policies/cards/card_scanner.h"
#include "tests/unit/policies/cards/card_samples.h"

namespace {

using namespace sluice::policies;
using namespace sluice::policies::testing;

constexpr int kSamples = 10000, kPerRange = 200;
constexpr uint64_t kSeed = 20261121;
// The bounds, in percent; published numbers are counted.
constexpr size_t kPublishedMin = 143;
constexpr double kBrandMin = 98, kHiddenMin = 95, kOverFloorMax = 1.05;

class Report {
 public:
  explicit Report(CardScanner& scanner) : scanner_(scanner) {}

  void published() {
    std::printf("| published test numbers | found of %zu |\n|---|---|\n", published_test_numbers().size());
    const struct {
      const char* name;
      const char* separator;
    } layouts[] = {{"plain", ""}, {"spaced", " "}, {"dashed", "-"}, {"tabbed", "\t"}};
    for (const auto& layout : layouts) {
      size_t found = 0;
      for (const std::string& number : published_test_numbers())
        found += finds("card " + grouped(number, layout.separator) + ", thanks", number.size()) ? 1 : 0;
      std::printf("| %s | %zu%s |\n", layout.name, found, held(found >= kPublishedMin));
    }
  }

  void brands() {
    size_t all = 0, all_found = 0;
    double worst = 100;
    Samples samples(kSeed);
    for (const BrandRange& range : brand_ranges()) {
      for (size_t length : range.lengths) {
        size_t found = 0;
        for (int i = 0; i < kPerRange; ++i) {
          const std::string prefix = range.prefix;
          found += finds("no " + with_check_digit(prefix + samples.digits(length - prefix.size() - 1)), length) ? 1 : 0;
        }
        worst = std::min(worst, 100.0 * static_cast<double>(found) / kPerRange);
        all += kPerRange;
        all_found += found;
      }
    }
    std::printf("\n| generated numbers | found |\n|---|---|\n| all prefixes and lengths | %zu of %zu |\n", all_found,
                all);
    std::printf("| worst prefix and length | %.1f %%%s |\n", worst, held(worst >= kBrandMin));
  }

  void hidden() {
    std::printf("\n| hidden form | found of %zu |\n|---|---|\n", published_test_numbers().size());
    for (const HiddenForm& form : hidden_forms()) {
      size_t found = 0;
      for (const std::string& number : published_test_numbers())
        found += finds("pay with [" + form.hide(number) + "] now", number.size()) ? 1 : 0;
      const double share = 100.0 * static_cast<double>(found) / static_cast<double>(published_test_numbers().size());
      std::printf("| %s | %zu%s |\n", form.name, found, held(share >= kHiddenMin));
    }
  }

  void look_alikes_left_alone() {
    std::printf("\n| look-alike | found of %d | floor |\n|---|---|---|\n", kSamples);
    for (const LookAlike& alike : look_alikes()) {
      Samples samples(kSeed);
      int found = 0, floor = 0;
      for (int i = 0; i < kSamples; ++i) {
        const std::string sample = alike.make(samples);
        floor += passes_without_context(sample) ? 1 : 0;
        found += count("value: " + sample + ";") > 0 ? 1 : 0;
      }
      const bool good = alike.by_chance ? found <= floor * kOverFloorMax : found == 0;
      std::printf("| %s | %d%s | %d |\n", alike.name, found, held(good), floor);
    }
  }

  [[nodiscard]] bool all_held() const { return all_held_; }

 private:
  const char* held(bool good) {
    all_held_ &= good;
    return good ? "" : " **missed**";
  }
  size_t count(std::string text) { return look(text).size(); }
  bool finds(std::string text, size_t digits) {
    const std::vector<Finding> findings = look(text);
    return findings.size() == 1 && findings[0].digits == digits;
  }
  std::vector<Finding> look(std::string& text) {
    ValueView value{{reinterpret_cast<uint8_t*>(text.data()), text.size()}};
    std::vector<Finding> findings;
    scanner_.scan({&value, 1}, findings, {});
    return findings;
  }
  CardScanner& scanner_;
  bool all_held_ = true;
};

}  // namespace

int main() {
  std::string why;
  const std::unique_ptr<CardScanner> scanner = CardScanner::create(why);
  if (scanner == nullptr) {
    std::fprintf(stderr, "card scanner: %s\n", why.c_str());
    return 2;
  }
  Report report(*scanner);
  report.published();
  report.brands();
  report.hidden();
  report.look_alikes_left_alone();
  return report.all_held() ? 0 : 1;
}
