// Searches one text of any length in windows, without changing or keeping it. Memory is one window, whatever the input.
// One per thread, used again for every text; borrows the scanner.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/scan/byte_source.h"
#include "policies/cards/card_scanner.h"

namespace sluice::scan {

// A finding as people and scripts see it: never with a digit that the mask hides.
struct TextHit {
  uint64_t offset = 0;  // bytes from the start of the text
  uint64_t line = 0;    // from 1
  policies::Finding finding;
  std::string_view name;  // of its kind: "pan", or that of a pattern; lives as long as the scanner
  std::string masked;     // "411111******1111"
};

class TextSearch {
 public:
  using OnHit = std::function<void(const TextHit&)>;

  explicit TextSearch(policies::CardScanner& scanner);

  // Begins a text: reads its first window. What stands there tells how it is packed.
  [[nodiscard]] Result<std::span<const uint8_t>> begin(ByteSource& source);
  // Searches it to its end. `bytes` counts what was looked at, also where an error ends it.
  [[nodiscard]] Status run(ByteSource& source, const OnHit& on_hit, uint64_t& bytes);

 private:
  [[nodiscard]] Status fill(ByteSource& source);
  void look(policies::ValuePart part, const OnHit& on_hit);
  [[nodiscard]] uint64_t line_at(size_t offset);

  policies::CardScanner& scanner_;
  std::unique_ptr<uint8_t[]> window_;
  size_t held_ = 0;
  bool ended_ = false;
  uint64_t offset_ = 0;  // of the window's first byte, in the text
  uint64_t lines_ = 0;   // line feeds before counted_
  size_t counted_ = 0;   // in the window
  size_t settled_ = 0;
  policies::StreamState state_;
  std::vector<policies::Finding> findings_;
};

// Line feeds in `bytes`.
[[nodiscard]] uint64_t count_lines(std::span<const uint8_t> bytes);

}  // namespace sluice::scan
