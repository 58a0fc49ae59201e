// A scanner that knows two card numbers, so that tests of the builder do not depend on the detector.
#pragma once

#include <algorithm>
#include <string_view>

#include "policies/cards/card_scanner.h"

namespace sluice::events {

inline constexpr std::string_view kTestPan = "4111111111111111";
inline constexpr std::string_view kMaskedPan = "411111******1111";

class FakeScanner final : public policies::CardScanner {
 public:
  void scan(std::span<const policies::ValueView> values, std::vector<policies::Finding>& findings,
            std::span<size_t>) override {
    ++scans;
    findings.clear();
    for (size_t i = 0; i < values.size(); ++i) {
      const std::string_view text(reinterpret_cast<const char*>(values[i].bytes.data()), values[i].bytes.size());
      bytes_seen += text.size();
      for (size_t at = text.find(kTestPan); at != std::string_view::npos; at = text.find(kTestPan, at + 1)) {
        policies::Finding finding;
        finding.value = static_cast<uint32_t>(i);
        finding.offset = static_cast<uint32_t>(at);
        finding.length = static_cast<uint32_t>(kTestPan.size());
        findings.push_back(finding);
      }
    }
  }
  void mask(std::span<policies::ValueView> values, std::span<const policies::Finding> findings,
            policies::MaskStyle) override {
    for (const policies::Finding& finding : findings) {
      std::copy(kMaskedPan.begin(), kMaskedPan.end(), values[finding.value].bytes.begin() + finding.offset);
    }
  }

  size_t scans = 0;
  size_t bytes_seen = 0;
};

}  // namespace sluice::events
