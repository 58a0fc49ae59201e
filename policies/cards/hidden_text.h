// Card numbers hidden in text: where signs of it are (sign_blocks.h), the text is read as what it shows
// (hidden_unit.h), with a map back, and looked at again; runs of hex and base64 are decoded and looked at
// (encoded_runs.h). Comes after the plain look. Of what that found, digits that its masks would leave standing are
// hidden too where they would be part of a hidden number. One per thread; memory is kept between texts. Bounds: a
// text's own size.
//
// What is read is cores: stretches that show nothing but digits, separators and masks, with at least one unit in them
// that is not plain. What stands beside a core counts as it is written. So a core depends on no more of the text than
// itself and a few bytes to both sides, and a text that comes in parts is read as the whole one is.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "policies/cards/card_scanner.h"
#include "policies/cards/encoded_runs.h"
#include "policies/cards/hidden_finding.h"
#include "policies/cards/sign_blocks.h"
#include "policies/cards/text_scanner.h"
#include "policies/cards/value.h"

namespace sluice::policies::cards {

// What the looks for hidden numbers remember between the parts of a value, where one of them ends within a core or run.
struct HiddenMemory {
  LeftContext shown;    // of the core
  uint8_t within = 0;   // a core goes on
  uint8_t nothing = 0;  // bytes at its end so far that show nothing
  EncodedMemories encoded;
};

// What a text was found to hold by the plain look, and where it stands.
struct PlainLook {
  std::span<Finding> findings;  // in order; what their masks may leave standing is taken back where it would be found
  size_t base = 0;              // of the text, in their offsets
  size_t decided = 0;           // up to where it decided
  std::span<const Unsettled> together;  // where it must not be cut, besides within findings
};

class HiddenText {
 public:
  // Appends what is hidden in `text`, in order, and returns up to where both looks are decided. Findings that end
  // behind that do not count: the next part will find them again.
  size_t scan(TextScanner& scanner, const TextView& text, const SignBlocks& signs, const LeftContext& left,
              const HiddenMemory& memory, const PlainLook& plain, Ending ending, std::vector<HiddenFinding>& found);

  // Moves `memory` on to `cut`, at or before what the scan returned.
  void remember(size_t cut, HiddenMemory& memory);

  // A place at or before `at` where the text may be cut.
  [[nodiscard]] size_t settle(size_t at);

 private:
  struct Core {
    size_t start = 0, end = 0;  // bytes
    size_t next = 0;            // where to read on: behind `end` where something there is passed over
    bool open = false;          // it may go on behind the text
    size_t digits = 0;
  };
  void scan_cores(std::vector<HiddenFinding>& found);
  size_t take_core(size_t at, size_t floor, std::vector<HiddenFinding>& found);
  Core read_core(size_t start, size_t stop);
  void look(const Core& core, std::vector<HiddenFinding>& found);
  void look_at_shown(const Core& core, std::vector<HiddenFinding>& found);
  [[nodiscard]] bool meets_plain_finding(const Core& core);
  void apply_plain_masks(std::span<const uint8_t> masked);
  template <typename Look>
  void look_beside_masks(std::vector<HiddenFinding>& found, size_t start, size_t end, Look look);
  template <typename Visit>
  void for_plain_between(size_t start, size_t end, Visit visit);
  [[nodiscard]] bool has_digits_as_mask(size_t start, size_t end);
  void mask_again(size_t start, size_t end, MaskStyle style);
  void mask_one(const Finding& plain, size_t at, MaskStyle style);
  bool takes_back_shared(std::vector<HiddenFinding>& found, size_t first_found);
  bool take_back(const HiddenFinding& hidden);
  void put_in_order(std::vector<HiddenFinding>& found, size_t first_found) const;
  void note_unsettled(const Core& core);
  [[nodiscard]] LeftContext context_before(size_t start) const;
  std::span<const uint8_t> masked_text(MaskStyle style);

  // Of the scan that goes on. The text is the caller's.
  TextScanner* scanner_ = nullptr;
  TextView text_{{}, nullptr};
  const SignBlocks* signs_ = nullptr;
  const LeftContext* left_ = nullptr;
  HiddenMemory before_;
  PlainLook plain_;
  size_t next_plain_ = 0;
  Ending ending_ = Ending::complete;
  std::vector<Unsettled> unsettled_;
  std::vector<Unsettled> whole_;    // those of findings
  std::vector<size_t> long_cores_;  // starts of those that may be cut

  // The core that was read last: what it shows, and where each character of it begins and ends.
  std::vector<uint8_t> shown_;
  std::vector<uint32_t> from_, to_;
  size_t nothing_ = 0;  // bytes at its end that show nothing

  // The text as the plain look's mask leaves it, in the style that leaves most and in the one that leaves least.
  std::vector<uint8_t> masked_, masked_fully_;
  std::vector<uint8_t> unmasked_;  // what the core shows
  std::vector<TextFinding> text_found_;
  EncodedRuns runs_;
};

// Masks in place.
void mask_hidden(std::span<uint8_t> bytes, size_t digits, size_t first_kept, size_t last_kept);

}  // namespace sluice::policies::cards
