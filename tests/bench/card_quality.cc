// How good the detector is, as a report: recall on published test numbers, on generated numbers of every brand and on
// every hidden form; findings among numbers that are no cards, beside the floor that issuer ranges, lengths and check
// digits give without context. Seeded; the same every time. Ends with 1 where a bound is missed.
#include <algorithm>
#include <bit>
#include <cstdio>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
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
// Of random bytes: in ten thousand values, one.
constexpr int kRandomValues = 2000000;
constexpr double kRandomMax = 1e-4;

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

  void binary() {
    std::printf("\n| form of binary values | found of %zu | in bytea's hex |\n|---|---|---|\n",
                published_test_numbers().size());
    for (const HiddenForm& form : binary_forms()) {
      size_t found = 0, in_hex = 0;
      for (const std::string& number : published_test_numbers()) {
        std::string value = form.hide(number), text = as_bytea(value);
        found += look(value, ValueType::bytea, ValueFormat::binary).size() == 1 ? 1 : 0;
        in_hex += look(text, ValueType::bytea, ValueFormat::text).size() == 1 ? 1 : 0;
      }
      const double share =
          100.0 * static_cast<double>(std::min(found, in_hex)) / static_cast<double>(published_test_numbers().size());
      std::printf("| %s | %zu | %zu%s |\n", form.name, found, in_hex, held(share >= kHiddenMin));
    }
  }

  // What has little shape: how often is it found by chance?
  void random_bytes() {
    std::printf("\n| random | values | found |\n|---|---|---|\n");
    const struct {
      const char* name;
      size_t bytes;
      ValueType type;
      bool doubles;
      int values;
    } kinds[] = {{"8 bytes, bytea", 8, ValueType::bytea, false, kRandomValues},
                 {"9 bytes, bytea", 9, ValueType::bytea, false, kRandomValues},
                 {"9 bytes, unknown type", 9, ValueType::opaque, false, kRandomValues},
                 {"8 bytes, unknown type, amounts as float8", 8, ValueType::opaque, true, kRandomValues},
                 {"4 KiB, bytea", 4096, ValueType::bytea, false, kRandomValues / 500}};
    for (const auto& kind : kinds) {
      Samples samples(kSeed);
      size_t found = 0;
      for (int i = 0; i < kind.values; ++i) {
        std::string value;
        if (kind.doubles) {
          const double amount = static_cast<double>(samples.next() % 10000000000) / 100;
          const auto bits = std::bit_cast<uint64_t>(amount);
          for (int shift = 56; shift >= 0; shift -= 8) value += static_cast<char>(bits >> shift);
        } else {
          for (size_t k = 0; k < kind.bytes; ++k) value += static_cast<char>(samples.next());
        }
        found += look(value, kind.type, ValueFormat::binary).size();
      }
      const bool good = static_cast<double>(found) <= kRandomMax * static_cast<double>(kind.values);
      std::printf("| %s | %d | %zu%s |\n", kind.name, kind.values, found, held(good));
    }
  }

  // Beside the share that would be found if a right prefix, length and check digit were enough.
  void with_context() {
    std::printf("\n| needs context | under a key | after a word | without, of %d | |\n|---|---|---|---|---|\n",
                kSamples);
    Samples samples(kSeed);
    for (const ContextNumber& kind : context_numbers()) {
      int keyed = 0, worded = 0, bare = 0;
      for (int i = 0; i < kSamples; ++i) {
        const std::string number = make_context_number(kind, samples);
        keyed += finds("{\"card_number\":\"" + number + "\"}", number.size()) ? 1 : 0;
        worded += finds("paid by card no " + number + " today", number.size()) ? 1 : 0;
        bare += count("value: " + number + ";") > 0 ? 1 : 0;
      }
      constexpr size_t kWordDigitsMin = 13;  // docs/masking.md: of twelve digits only what stands under a key
      const bool good = keyed * 100 >= kSamples * kBrandMin && bare == 0 &&
                        (kind.length < kWordDigitsMin || worded * 100 >= kSamples * kBrandMin);
      std::printf("| %s | %d | %d | %d |%s |\n", kind.name, keyed, worded, bare, held(good));
    }
  }

  void codes() {
    const char* const forms[] = {"{\"%s\":\"#\"}", "{\"%s\": #}", "%s=#&x=1", "%s: #", "<%s>#</x>", "\"%s\"=>\"#\""};
    const char* const names[] = {"cvv",      "CVV2",         "cardCvc", "card_verification_value",
                                 "cvv_code", "securityCode", "cid"};
    const char* const others[] = {"pincode", "spin", "shipping", "card_id", "cvv_result", "price", "year", "cidr"};
    std::printf("\n| codes | found |\n|---|---|\n");
    const auto share = [&](const char* what, const char* const* list, size_t count_of_names, const char* before,
                           bool wanted) {
      size_t found = 0, all = 0;
      for (size_t i = 0; i < count_of_names; ++i) {
        for (const char* form : forms) {
          std::string text = form;
          text.replace(text.find("%s"), 2, list[i]);
          text.replace(text.find('#'), 1, "734");
          const bool code = std::string(list[i]) == "securityCode" || std::string(list[i]) == "cid";
          if (wanted && code && *before == '\0') continue;
          ++all;
          found += count(before + text) == (*before == '\0' ? 1u : 2u) ? 1 : 0;
        }
      }
      std::printf("| %s | %zu of %zu%s |\n", what, found, all, held(wanted ? found == all : found == 0));
    };
    share("under their key", names, std::size(names), "", true);
    share("the same, and names that need a card, behind one", names, std::size(names), "4111111111111111 ", true);
    share("under other keys", others, std::size(others), "", false);
    share("under other keys, behind a card", others, std::size(others), "4111111111111111 ", false);
  }

  // `trusting` believes keys (docs/decisions/0049).
  void look_alikes_left_alone(CardScanner& trusting) {
    std::printf(
        "\n| look-alike | found of %d | floor | under its key | the same, keys trusted |\n|---|---|---|---|---|\n",
        kSamples);
    for (const LookAlike& alike : look_alikes()) {
      Samples samples(kSeed);
      int found = 0, floor = 0, keyed = 0, trusted = 0;
      const bool has_key = std::string(alike.key) != "value";
      for (int i = 0; i < kSamples; ++i) {
        const std::string sample = alike.make(samples);
        floor += passes_without_context(sample) ? 1 : 0;
        found += count("value: " + sample + ";") > 0 ? 1 : 0;
        std::string text = "{\"" + std::string(alike.key) + "\":\"" + sample + "\"}";
        keyed += count(text) > 0 ? 1 : 0;
        trusted += look(trusting, text).empty() ? 0 : 1;
      }
      const bool good = alike.by_chance ? found <= floor * kOverFloorMax : found == 0;
      if (!has_key) {
        std::printf("| %s | %d%s | %d | | |\n", alike.name, found, held(good), floor);
        continue;
      }
      std::printf("| %s | %d%s | %d | %d | %d%s |\n", alike.name, found, held(good), floor, keyed, trusted,
                  held(trusted == 0));
    }
  }

  // The same texts for other detectors (tests/bench/presidio_quality.py): class, how many digits there are to find (0:
  // none), text; with a tab between them.
  static bool write_corpus(const char* path) {
    std::FILE* const out = std::fopen(path, "w");
    if (out == nullptr) return false;
    const auto line = [out](const std::string& name, size_t digits, const std::string& text) {
      if (text.find('\t') == std::string::npos) std::fprintf(out, "%s\t%zu\t%s\n", name.c_str(), digits, text.c_str());
    };
    for (const auto& [name, separator] : {std::pair{"plain", ""}, {"spaced", " "}, {"dashed", "-"}}) {
      for (const std::string& number : published_test_numbers())
        line(std::string("published, ") + name, number.size(), "card " + grouped(number, separator) + ", thanks");
    }
    Samples numbers(kSeed);
    for (const ContextNumber& kind : context_numbers()) {
      for (int i = 0; i < kPerRange; ++i) {
        const std::string number = make_context_number(kind, numbers);
        line(std::string("with a word: ") + kind.name, number.size(), "paid by card no " + number + " today");
      }
    }
    for (const LookAlike& alike : look_alikes()) {
      Samples samples(kSeed);
      for (int i = 0; i < kSamples; ++i) line(alike.name, 0, "value: " + alike.make(samples) + ";");
    }
    return std::fclose(out) == 0;
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
  std::vector<Finding> look(std::string& text, ValueType type = ValueType::text,
                            ValueFormat format = ValueFormat::text) {
    return look(scanner_, text, type, format);
  }
  static std::vector<Finding> look(CardScanner& scanner, std::string& text, ValueType type = ValueType::text,
                                   ValueFormat format = ValueFormat::text) {
    ValueView value{{reinterpret_cast<uint8_t*>(text.data()), text.size()}, type, format};
    std::vector<Finding> findings;
    scanner.scan({&value, 1}, findings, {});
    return findings;
  }
  CardScanner& scanner_;
  bool all_held_ = true;
};

}  // namespace

// usage: card_quality [--corpus FILE]   writes the texts to a file, and nothing else
int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "--corpus") {
    if (Report::write_corpus(argv[2])) return 0;
    std::fprintf(stderr, "%s cannot be written\n", argv[2]);
    return 2;
  }
  std::string why;
  const std::unique_ptr<CardScanner> scanner = CardScanner::create(why);
  const std::unique_ptr<CardScanner> trusting =
      CardScanner::create(why, {KeyedSecrets::everywhere, ForeignKeys::trusted});
  if (scanner == nullptr || trusting == nullptr) {
    std::fprintf(stderr, "card scanner: %s\n", why.c_str());
    return 2;
  }
  Report report(*scanner);
  report.published();
  report.brands();
  report.hidden();
  report.binary();
  report.random_bytes();
  report.with_context();
  report.codes();
  report.look_alikes_left_alone(*trusting);
  return report.all_held() ? 0 : 1;
}
