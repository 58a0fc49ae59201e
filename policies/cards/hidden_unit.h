// One character of a text as people hide it: percent-encoding, HTML entities, \u and \x escapes, digits and blanks of
// other scripts, EBCDIC digits, and what shows nothing at all (zero-width characters, terminal escapes, the zero bytes
// of UTF-16). Pure; any thread. docs/masking.md lists the forms.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice::policies::cards {

// Longest form of one character (`\\\\\\\\u0034`), and most bytes that are passed over at a time.
inline constexpr size_t kUnitBytesMax = 14;
// Most bytes that show nothing between two characters of a number; what goes on for longer ends it.
inline constexpr size_t kNothingBytesMax = 16;

struct Unit {
  enum class Kind : uint8_t {
    plain,      // the byte stands for itself
    character,  // `bytes` bytes stand for one character
    nothing,    // they show nothing
    cut,        // more bytes are needed to tell
  };
  Kind kind = Kind::plain;
  uint8_t bytes = 1;
  uint8_t character = 0;  // ASCII; what is no digit, separator or mask is 0x7F
};

[[nodiscard]] constexpr bool is_ascii_separator(int c) {
  return c == ' ' || c == '-' || c == '.' || c == '/' || c == '\t' || c == '_';
}

// Can a unit that is not plain begin with this byte?
struct UnitStarts {
  bool is[256] = {};
  constexpr UnitStarts() {
    for (uint8_t c : {'%', '&', '\\', '\x1b', '\0', '+', ' ', '-', '.', '/', '\t', '_'}) is[c] = true;
    for (unsigned c : {0x40u, 0x60u, 0xC2u, 0xD9u, 0xDBu, 0xDFu, 0xE0u, 0xE1u, 0xE2u, 0xE3u, 0xEFu}) is[c] = true;
    for (unsigned c = 0xF0; c <= 0xF9; ++c) is[c] = true;
  }
};
inline constexpr UnitStarts kUnitStarts;

// Reads the unit at `at`; `before` are the two bytes before it, -1 where there are none (the nearer one first).
// REQUIRES: at < bytes.size().
[[nodiscard]] Unit read_unit(std::span<const uint8_t> bytes, size_t at, const int before[2], bool more_follows);

// Overwrites a unit that is a digit with a star in the same form and of the same length.
void mask_unit(std::span<uint8_t> unit);

}  // namespace sluice::policies::cards
