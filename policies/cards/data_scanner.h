// A CardScanner that looks for other data too (data_patterns.h): cards first, by the scanner behind it, then one run of
// Hyperscan over the values that are characters. What is masked is every byte that some match covers; a finding is a
// run of overlapping matches of one pattern. Numbers in columns of numbers, dates and bytea are not looked at. Where no
// pattern is asked for there is no such scanner, and nothing costs anything. One per thread. Memory: runs of one value.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "policies/cards/card_scanner.h"
#include "policies/cards/data_patterns.h"

namespace sluice::policies {

// A scanner of its own, for the command line. Null, with `why` set, where it cannot be made.
[[nodiscard]] std::unique_ptr<CardScanner> create_data_scanner(std::shared_ptr<const DataPatterns> patterns,
                                                               std::string& why, DetectorOptions options = {});

// The scanners of one worker: that for cards alone, and one for each set of patterns that its sessions need.
class ScannerDesk {
 public:
  explicit ScannerDesk(CardScanner& cards) : cards_(cards) {}

  // Valid until `patterns` is no longer held by anyone and another one is asked for. Falls back to null where memory
  // for a scratch is not to be had: the caller must not go on without it.
  [[nodiscard]] CardScanner* scanner_for(const std::shared_ptr<const DataPatterns>& patterns, DataSet wanted);

 private:
  struct Kept {
    std::weak_ptr<const DataPatterns> patterns;
    DataSet wanted;
    std::shared_ptr<CardScanner> scanner;
  };
  CardScanner& cards_;
  std::vector<Kept> kept_;
};

}  // namespace sluice::policies
