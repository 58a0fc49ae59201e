// A text of any length, read in windows: what `sluice mask` and `sluice scan` run over files and pipes. Memory is one
// window, whatever the input. One TextStream per text; one thread; borrows the scanner.
//
//   TextStream stream(scanner, MaskStyle::bin6_last4);
//   while (…) { n = read(fd, stream.room().data(), stream.room().size()); write(out, stream.take(n, …, findings)); }
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policies/cards/card_scanner.h"

namespace sluice::policies {

// A finding as people and scripts see it: never with a digit that the mask hides.
struct ReportedFinding {
  uint64_t offset = 0;  // bytes from the start of the text
  uint32_t length = 0;
  FindingKind kind = FindingKind::pan;
  std::string_view name;  // of the kind; lives as long as the scanner
  Brand brand = Brand::visa;
  uint8_t digits = 0;
  std::string masked;  // digits alone: "411111******1111"
};

class TextStream {
 public:
  enum class More : uint8_t { follows, ended };

  TextStream(CardScanner& scanner, MaskStyle style);

  // Where the next bytes of the text go; never empty. Valid until take().
  [[nodiscard]] std::span<uint8_t> room();
  // Takes `count` bytes that now stand in room(), appends what is found, and returns the masked bytes that are decided.
  // Valid until room(). REQUIRES: count <= room().size(); nothing is taken after More::ended.
  [[nodiscard]] std::span<const uint8_t> take(size_t count, More more, std::vector<ReportedFinding>& findings);

 private:
  CardScanner& scanner_;
  MaskStyle style_;
  std::vector<uint8_t> window_;
  size_t held_ = 0;      // bytes at the front that are not decided yet
  size_t settled_ = 0;   // bytes at the front that take() gave out
  uint64_t offset_ = 0;  // of the window's first byte, in the text
  bool begun_ = false;
  StreamState state_;
  std::vector<Finding> findings_;
};

}  // namespace sluice::policies
