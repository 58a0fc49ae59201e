// Where in a long text may a card number start? The vector part of the detector: it walks over the bytes 64 at a time,
// and where 13 digits stand close enough together it checks issuer and check digit of every window of digit groups at
// once. It answers with starting places, a superset of those at which candidate_at says yes; it decides nothing.
//
// One implementation per vector width, from the same text (window_kernel.inc), chosen at run time. A WindowFinder is
// working memory: one per thread. No limits on the text's length; no input is slow.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::policies::cards {

// A place where the candidate routine has to be asked.
// No initial values: hundreds of them stand on the stack of every scan, and to clear them cost a third of a short row's
// time [measured].
struct WindowHit {
  size_t start;  // a digit
  // Digits of an unbroken run whose length, issuer and check digit are known to be right; 0 where nothing is.
  uint8_t checked_digits;
  uint16_t first_four;  // of those
  bool needs_words;     // its check digit is wrong: it counts only where words or the column say so
};

enum class VectorLevel : uint8_t { none, avx2, avx512 };
// What this CPU has (CPUID and the operating system's consent).
[[nodiscard]] VectorLevel vector_level();

class WindowFinder {
 public:
  // Fills `hits` with the next places at or behind `from`, in order, and returns how many. `next` is where to go on:
  // `size` where all was looked at. REQUIRES: room >= kRoomMin.
  using Find = size_t (*)(WindowFinder& self, const uint8_t* bytes, size_t size, size_t from, WindowHit* hits,
                          size_t room, size_t& next);

  static constexpr size_t kRoomMin = 64;

  // Null where the CPU (or this build) has no such instructions.
  [[nodiscard]] static Find choose(VectorLevel level);

  // Digits looked at together, and those behind them that a window may need.
  static constexpr size_t kDigitsMax = 512;
  static constexpr size_t kPaddingDigits = 192;
  static constexpr size_t kWords = (kDigitsMax + kPaddingDigits) / 64;
  // A digit at least every fourth byte, and what is started while there is room.
  static constexpr size_t kBlocksMax = 4 * (kDigitsMax + 64) / 64 + 1;

  // Working memory of the implementations: the digits of some groups without what stands between them, sums of two,
  // four and eight of them with every second doubled (modulo 10), where groups start and end, and where the digits
  // came from (64 bytes each).
  struct Block {
    uint64_t digits;  // which bytes are digits
    size_t offset;
    size_t first;  // index of its first digit
  };
  alignas(64) uint8_t digits[kDigitsMax + kPaddingDigits] = {};
  alignas(64) uint8_t pairs[kDigitsMax + kPaddingDigits] = {};
  alignas(64) uint8_t fours[kDigitsMax + kPaddingDigits] = {};
  alignas(64) uint8_t eights[kDigitsMax + kPaddingDigits] = {};
  uint64_t starts[kWords + 1] = {};
  uint64_t ends[kWords + 1] = {};
  Block blocks[kBlocksMax] = {};

  // One bit per byte of a tile: digits; digits and what may stand between two. The word before the tile's first
  // stands in front.
  static constexpr size_t kTileWords = 32;
  uint64_t tile_digits[kTileWords + 2] = {};
  uint64_t tile_joined[kTileWords + 2] = {};
  uint16_t tile_places[kTileWords * 64 / 13 + 64] = {};  // of each stretch's 13th byte

  // The caller's: blocks of 64 bytes in which a run of digits begins that is a part of an EMV data object or a message
  // (mark_tags()), as far as was looked; they are set, never cleared.
  uint64_t* tagged = nullptr;
  bool any_tagged = false;
  bool any_long_run = false;  // of an implementation
};

size_t find_windows_avx2(WindowFinder& self, const uint8_t* bytes, size_t size, size_t from, WindowHit* hits,
                         size_t room, size_t& next);
size_t find_windows_avx512(WindowFinder& self, const uint8_t* bytes, size_t size, size_t from, WindowHit* hits,
                           size_t room, size_t& next);

// Marks the blocks of 64 bytes in which hidden forms and keys have to be looked for: one bit each in units, runs and
// keys (SignBlocks), which have room for them and are zero. Returns whether anything is marked.
using MarkSigns = bool (*)(const uint8_t* bytes, size_t size, uint64_t* const marks[3]);
[[nodiscard]] MarkSigns choose_mark_signs(VectorLevel level);  // null as above
bool mark_signs_avx2(const uint8_t* bytes, size_t size, uint64_t* const marks[3]);
bool mark_signs_avx512(const uint8_t* bytes, size_t size, uint64_t* const marks[3]);

// One look at a short text, for the many fields and rows of a result.
enum class Glance : uint8_t {
  nothing,  // no card number in any form
  few,      // too few digits for a card number, and no sign of hidden ones: nothing, also not as a number
  cards,    // unbroken card numbers between neutral bytes, and nothing else
  ask,
};
enum class GlanceTabs : uint8_t { join, part };
inline constexpr size_t kGlanceBytesMax = 256;
struct GlanceHits {
  static constexpr size_t kMax = 8;
  WindowHit hits[kMax] = {};
  size_t count = 0;
};
// REQUIRES: size <= kGlanceBytesMax. `hits` is set for `cards`.
using GlanceAt = Glance (*)(const uint8_t* bytes, size_t size, GlanceTabs tabs, GlanceHits& hits);
[[nodiscard]] GlanceAt choose_glance(VectorLevel level);  // null as above
Glance glance_avx2(const uint8_t* bytes, size_t size, GlanceTabs tabs, GlanceHits& hits);
Glance glance_avx512(const uint8_t* bytes, size_t size, GlanceTabs tabs, GlanceHits& hits);

}  // namespace sluice::policies::cards
