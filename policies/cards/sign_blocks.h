// Where in a text hidden card numbers (hidden_text.h, encoded_runs.h) and values under keys (secrets.h) have to be
// looked for: one bit per block of 64 bytes. A superset: what is not marked hides nothing. Kept between texts, so that
// nothing is allocated once warm.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sluice::policies::cards {

inline constexpr size_t kSignBlockBytes = 64;

struct SignBlocks {
  std::vector<uint64_t> units;  // a unit that is not plain may start here, or at most kSignReachBytes before
  std::vector<uint64_t> keys;   // the third digit of a short group stands here, and shortly before it `:`, `=` or `>`
  std::vector<uint64_t> runs;   // a run of base64 or hex that may hold a card number goes on here

  // Makes room for a text of `size` bytes, with nothing marked.
  void reset(size_t size) {
    const size_t words = (size / kSignBlockBytes + 64) / 64;
    if (units.size() < words) {
      units.resize(words);
      runs.resize(words);
      keys.resize(words);
    }
    for (size_t i = 0; i < words; ++i) units[i] = runs[i] = keys[i] = 0;
  }
  // REQUIRES: reset() for the same size.
  void mark_all(size_t size) {
    for (size_t i = 0; i < (size / kSignBlockBytes + 64) / 64; ++i) units[i] = runs[i] = keys[i] = ~uint64_t{0};
  }
};

// Doubled separators and zero bytes are marked where the digit behind them stands.
inline constexpr size_t kSignReachBytes = 8;
// A run of hex or base64 may have begun so far before the block that is marked.
inline constexpr size_t kRunReachBytes = 64;

// Marks without vectors. Returns whether anything is marked. REQUIRES: room for `size` bytes, nothing marked.
bool mark_signs(std::span<const uint8_t> bytes, SignBlocks& signs);

// The first marked block at or behind `block`; `count` where there is none.
[[nodiscard]] inline size_t next_marked(std::span<const uint64_t> marks, size_t block, size_t count) {
  while (block < count) {
    const uint64_t rest = marks[block / 64] >> (block % 64);
    if (rest != 0) {
      const size_t next = block + static_cast<size_t>(__builtin_ctzll(rest));
      return next < count ? next : count;
    }
    block = (block / 64 + 1) * 64;
  }
  return count;
}

}  // namespace sluice::policies::cards
