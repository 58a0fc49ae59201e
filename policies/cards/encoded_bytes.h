// bytea in text form: single steps of the two encodings that PostgreSQL has (byteaout): hex, and backslash escapes.
// Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice::policies::cards {

// 0–15, or -1.
[[nodiscard]] int hex_value(int c);

struct EscapedByte {
  uint8_t value = 0;
  size_t bytes = 0;  // that stand for it; 0 where the rest of an escape is not there yet
};
// REQUIRES: at < bytes.size(). A backslash that starts no escape stands for itself.
[[nodiscard]] EscapedByte read_escaped(std::span<const uint8_t> bytes, size_t at);

}  // namespace sluice::policies::cards
