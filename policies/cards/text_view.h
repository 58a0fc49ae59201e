// A stretch of text with what stood before it: the detector looks a bounded way to both sides of a candidate, and a
// value may come in parts. What stood before is kept as character classes, never as digits. Borrows; one call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "policies/cards/card_names.h"

namespace sluice::policies::cards {

// How far before a candidate the detector looks: a UUID that ends in it, and the byte before that.
inline constexpr size_t kLeftContextBytes = 40;
// Longest candidate: 19 digits with 18 separators of at most three bytes.
inline constexpr size_t kCandidateBytesMax = 19 + 18 * 3;
// How far behind the start of a candidate its verdict may depend on bytes: itself, another candidate that starts in its
// last digits, and the context behind that.
inline constexpr size_t kReachBytes = 2 * kCandidateBytesMax + 46;

// Are the bytes up to the end of the text all there are, or will more of the value follow?
enum class Ending : uint8_t { complete, more_follows };

[[nodiscard]] constexpr bool is_digit(int c) {
  return c >= '0' && c <= '9';
}
// A masked digit counts as a digit wherever context is looked at, so that masking does not change what its neighbours
// are.
[[nodiscard]] constexpr bool is_digit_or_mask(int c) {
  return is_digit(c) || c == '*';
}
[[nodiscard]] constexpr bool is_hex_letter(int c) {
  return (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// What the previous part of a value leaves for the next one.
struct LeftContext {
  uint8_t bytes[kLeftContextBytes] = {};
  uint8_t size = 0;

  // Moves on behind `seen`.
  void append(std::span<const uint8_t> seen) {
    const size_t taken = seen.size() < kLeftContextBytes ? seen.size() : kLeftContextBytes;
    const size_t kept = size < kLeftContextBytes - taken ? size : kLeftContextBytes - taken;
    std::memmove(bytes, bytes + (size - kept), kept);
    for (size_t i = 0; i < taken; ++i) {
      const uint8_t c = seen[seen.size() - taken + i];
      bytes[kept + i] = is_digit(c) ? '0' : c;
    }
    size = static_cast<uint8_t>(kept + taken);
  }
};

// Is a tab between digits a separator within a number, or the border between two fields?
enum class Tabs : uint8_t { join, part };

class TextView {
 public:
  static constexpr int kNone = -1;  // there is no byte

  TextView(std::span<const uint8_t> bytes, const LeftContext* left, Tabs tabs = Tabs::join,
           NameKind column = NameKind::none)
      : bytes_(bytes), left_(left), tabs_(tabs), column_(column) {}

  [[nodiscard]] size_t size() const { return bytes_.size(); }
  [[nodiscard]] const uint8_t* data() const { return bytes_.data(); }
  [[nodiscard]] std::span<const uint8_t> bytes() const { return bytes_; }
  [[nodiscard]] Tabs tabs() const { return tabs_; }
  // What the name of the column says that the text stands in.
  [[nodiscard]] NameKind column() const { return column_; }

  // The byte at `index`; negative indexes reach into what stood before; kNone before the value's start and behind the
  // text.
  [[nodiscard]] int at(ptrdiff_t index) const {
    if (index >= 0) return static_cast<size_t>(index) < bytes_.size() ? bytes_[static_cast<size_t>(index)] : kNone;
    if (left_ == nullptr || static_cast<size_t>(-index) > left_->size) return kNone;
    return left_->bytes[static_cast<size_t>(left_->size + index)];
  }

 private:
  std::span<const uint8_t> bytes_;
  const LeftContext* left_;
  Tabs tabs_;
  NameKind column_;
};

}  // namespace sluice::policies::cards
