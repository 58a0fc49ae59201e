#include "policies/cards/sign_blocks.h"

#include "policies/cards/encoded_runs.h"
#include "policies/cards/hidden_unit.h"
#include "policies/cards/text_view.h"
#include "policies/cards/text_words.h"

namespace sluice::policies::cards {
namespace {

constexpr size_t kGroupDigitsMin = 3;  // of a code

}  // namespace

bool mark_signs(std::span<const uint8_t> bytes, SignBlocks& signs) {
  uint64_t any = 0;
  const TextView text(bytes, nullptr);
  const auto mark = [&any](std::vector<uint64_t>& marks, size_t at) {
    const size_t block = at / kSignBlockBytes;
    marks[block / 64] |= uint64_t{1} << (block % 64);
    any = 1;
  };
  const auto counts = [&bytes](size_t at) { return is_digit_or_mask(bytes[at]); };
  size_t group = 0;
  size_t quads[4] = {}, pairs[2] = {}, triples[3] = {};  // lengths of what goes on, by place
  size_t third = 0;                                      // at modulo 3
  for (size_t at = 0; at < bytes.size(); ++at) {
    const uint8_t c = bytes[at];
    if (kUnitStarts.is[c] && !is_ascii_separator(c) && c != 0) mark(signs.units, at);
    if (counts(at) || is_ascii_separator(c)) {
      // Two or three separators, one or three zero bytes, between digits.
      size_t first = at;
      while (first > 0 && at - first < 3 && (is_ascii_separator(bytes[first - 1]) || bytes[first - 1] == 0)) --first;
      if (at - first >= 1 && first > 0) mark(signs.units, at);
    }
    group = is_digit(c) ? group + 1 : 0;
    if (group == kGroupDigitsMin) {
      const size_t first = at + 1 - kGroupDigitsMin;
      for (size_t i = 1; i <= kAssignedReachBytes && i <= first; ++i) {
        if (is_assignment(bytes[first - i])) mark(signs.keys, at);
      }
    }
    if (c == '\n' || (c == '\r' && text.at(static_cast<ptrdiff_t>(at) + 1) == '\n')) {
      const size_t whole = quads[at & 3];
      for (size_t& run : quads) run = 0;
      // Quads that end here may go on in the next line. (Of two bytes, the second one moves them on again.)
      quads[(at + 1) & 3] = whole;
    } else {
      for (size_t place = 0; place < 4; ++place) {
        size_t& run = quads[(at - place) & 3];
        run = (kQuadPlaces.of[c] >> place & 1) != 0 ? run + 1 : 0;
        if (run >= kBase64RunMin) mark(signs.runs, at);
      }
    }
    size_t& run = pairs[at & 1];
    size_t& spaced = triples[third];
    third = third == 2 ? 0 : third + 1;
    if (c == '2' || c == '3') {
      if (++run >= kPanDigitsMin) mark(signs.runs, at);
      if (++spaced >= kPanDigitsMin) mark(signs.runs, at);
    } else {
      run = spaced = 0;
    }
  }
  return any != 0;
}

}  // namespace sluice::policies::cards
