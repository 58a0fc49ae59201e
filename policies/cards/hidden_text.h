// Card numbers hidden in text: the text is read as what it shows (hidden_unit.h), with a map back, and looked at again;
// runs of hex and base64 are decoded and looked at. Comes after the plain look and never touches what that found. One
// per thread; memory is kept between texts. Bounds: a text's own size.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "policies/cards/text_scanner.h"
#include "policies/cards/value.h"

namespace sluice::policies::cards {

// How much of a run of hex or base64 a part holds back, so that the run is looked at whole.
inline constexpr size_t kHeldRunBytesMax = 1024;

struct HiddenFinding {
  size_t start = 0, end = 0;
  Candidate candidate;
  FindingForm form = FindingForm::hidden;
};

class HiddenText {
 public:
  // Could anything be hidden here? A quick look; true for what only may be.
  [[nodiscard]] static bool may_hide(std::span<const uint8_t> bytes);

  // Appends what is hidden in `text` (as the plain look's mask leaves it), in order, and moves `decided` down to where
  // nothing is cut. `raw_left` and `shown_left` are what stood before the text and what that showed.
  void scan(TextScanner& scanner, const TextView& text, const LeftContext& raw_left, const LeftContext& shown_left,
            Ending ending, size_t& decided, std::vector<HiddenFinding>& found);

  // What the first `count` bytes of the text scanned last show, for the context of what follows.
  void append_shown(size_t count, LeftContext& left) const;
  // A place at or before `at` where a unit starts.
  [[nodiscard]] size_t unit_start(size_t at) const;

 private:
  struct Step {
    size_t shown, raw;  // from here on both count alike, up to the next step
  };
  void show(const TextView& text, const LeftContext& raw_left, bool more_follows);
  [[nodiscard]] size_t raw_of(size_t shown) const;
  [[nodiscard]] size_t raw_end_of(size_t shown) const;
  void scan_runs(TextScanner& scanner, std::span<const uint8_t> text, std::vector<HiddenFinding>& found);
  void scan_base64(TextScanner& scanner, std::span<const uint8_t> run, size_t at, std::vector<HiddenFinding>& found);
  void scan_hex(TextScanner& scanner, std::span<const uint8_t> run, size_t at, std::vector<HiddenFinding>& found);

  std::vector<uint8_t> shown_;
  std::vector<Step> steps_;
  size_t raw_end_ = 0;  // of what shown_ stands for
  std::vector<uint8_t> decoded_;
  std::vector<TextFinding> text_found_;
};

// Masks in place.
void mask_hidden(std::span<uint8_t> bytes, size_t digits, size_t first_kept, size_t last_kept);
void mask_base64(std::span<uint8_t> bytes, size_t digits, size_t first_kept, size_t last_kept);

}  // namespace sluice::policies::cards
