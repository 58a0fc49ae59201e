// Finds card numbers in one text or one part of it. Several ways to the same findings: the scalar oracle looks at every
// digit group; the others ask a prefilter or the vector finder where to look. One TextScanner per thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "policies/cards/candidate.h"
#include "policies/cards/card_scanner.h"
#include "policies/cards/digit_prefilter.h"
#include "policies/cards/pattern_database.h"
#include "policies/cards/sign_blocks.h"
#include "policies/cards/text_view.h"
#include "policies/cards/window_kernel.h"

namespace sluice::policies::cards {

enum class Engine : uint8_t {
  automatic,  // the best that this CPU has
  scalar,     // the oracle
  digits,     // the digit prefilter alone
  patterns,   // Hyperscan, whatever the length
  portable,   // the digit prefilter, and behind it Hyperscan in long texts: where there are no vectors
  avx2,
  avx512,
};

struct TextFinding {
  size_t start = 0;
  Candidate candidate;
};

class TextScanner {
 public:
  // Null, with `why` set, where Hyperscan or the chosen vectors cannot be had.
  [[nodiscard]] static std::unique_ptr<TextScanner> create(Engine engine, ForeignKeys keys, std::string& why);

  // What starts there has the form of a card number. Does its key say that it is none (or `0x` before
  // it, that it is hexadecimal), and is that believed?
  [[nodiscard]] bool is_foreign(const TextView& text, size_t start) const;

  // Appends what is found, in order, and returns how many bytes are decided: all of them for a complete text, at most
  // kReachBytes fewer where more follows. Findings end before that.
  size_t scan(const TextView& text, Ending ending, std::vector<TextFinding>& found);

  // In the text that was scanned last: blocks in which runs of digits begin that packed_digits.h knows more of; empty
  // where there are none.
  [[nodiscard]] std::span<const uint64_t> tagged() const {
    return any_tagged_ ? std::span<const uint64_t>(tagged_) : std::span<const uint64_t>();
  }

  // Marks where hidden forms have to be looked for; `signs` are made fit for the text. Returns whether anything is.
  bool mark_signs(std::span<const uint8_t> bytes, SignBlocks& signs) const;
  // What one look at a short text tells (window_kernel.h): nothing is in it, hidden forms included; card numbers and
  // nothing else (appended to `found`); or that the scan has to be asked.
  [[nodiscard]] Glance glance(std::span<const uint8_t> bytes, Tabs tabs, std::vector<TextFinding>& found);
  // Marks as above, without saying where.
  [[nodiscard]] bool may_hide(std::span<const uint8_t> bytes);

 private:
  Stretch next_stretch_to_ask(std::span<const uint8_t> bytes, size_t from);
  TextScanner(Engine engine, ForeignKeys keys) : engine_(engine), keys_(keys) {}
  std::optional<size_t> scan_stretch(const TextView& text, size_t start, size_t end, size_t decidable,
                                     std::vector<TextFinding>& found);

  void begin_tags(std::span<const uint8_t> bytes);
  size_t scan_by_stretches(const TextView& text, size_t decidable, std::vector<TextFinding>& found,
                           std::optional<size_t>& undecided);
  size_t scan_by_windows(const TextView& text, size_t decidable, std::vector<TextFinding>& found);

  Engine engine_;
  ForeignKeys keys_;
  std::unique_ptr<PatternScanner> patterns_;
  WindowFinder::Find find_windows_ = nullptr;
  MarkSigns mark_signs_ = nullptr;
  GlanceAt glance_ = nullptr;
  SignBlocks short_signs_;
  std::vector<uint64_t> tagged_;
  bool any_tagged_ = false;
  std::unique_ptr<WindowFinder> finder_;
};

}  // namespace sluice::policies::cards
