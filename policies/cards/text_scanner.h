// Finds card numbers in one text or one part of it. Three ways to the same findings: the scalar oracle looks at every
// digit group; the others ask a prefilter where to look. One TextScanner per thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "policies/cards/candidate.h"
#include "policies/cards/digit_prefilter.h"
#include "policies/cards/pattern_database.h"
#include "policies/cards/text_view.h"

namespace sluice::policies::cards {

enum class Engine : uint8_t {
  automatic,  // the digit prefilter, and behind it Hyperscan in long texts
  scalar,     // the oracle
  digits,     // the digit prefilter, whatever the length
  patterns,   // Hyperscan, whatever the length
};

struct TextFinding {
  size_t start = 0;
  Candidate candidate;
};

class TextScanner {
 public:
  // Null, with `why` set, where Hyperscan cannot be had.
  [[nodiscard]] static std::unique_ptr<TextScanner> create(Engine engine, std::string& why);

  // Appends what is found, in order, and returns how many bytes are decided: all of them for a complete text, at most
  // kReachBytes fewer where more follows. Findings end before that.
  size_t scan(const TextView& text, Ending ending, std::vector<TextFinding>& found);

 private:
  Stretch next_stretch_to_ask(std::span<const uint8_t> bytes, size_t from);
  explicit TextScanner(Engine engine) : engine_(engine) {}
  std::optional<size_t> scan_stretch(const TextView& text, size_t start, size_t end, size_t decidable,
                                     std::vector<TextFinding>& found);

  Engine engine_;
  std::unique_ptr<PatternScanner> patterns_;
};

}  // namespace sluice::policies::cards
