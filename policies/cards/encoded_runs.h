// Card numbers within base64 (also over the ends of its lines) and hex (also with a blank, colon or dash between two
// bytes), anywhere in a text. What is decoded is not everything that could be base64, but
// runs whose bytes are all digits, blanks and punctuation (their high halves are 2 or 3): those a card number with
// ASCII separators is made of. In base64 that is one place in 2^34 of random text, so nothing else is decoded.
//
// In base64 (RFC 4648, sections 4 and 5) four characters hold three bytes. A character at the first place of such a
// quad begins with a byte's high half, one at the second ends with one, those at the third and fourth share one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "policies/cards/hidden_finding.h"
#include "policies/cards/sign_blocks.h"
#include "policies/cards/text_scanner.h"

namespace sluice::policies::cards {

// Thirteen bytes lie in at least so many characters that fit their places.
inline constexpr size_t kBase64RunMin = 17;

// Of base64, by character; -1 for the rest.
constexpr std::array<int8_t, 256> make_sextets() {
  std::array<int8_t, 256> table{};
  for (int8_t& value : table) value = -1;
  for (int8_t i = 0; i < 26; ++i) table['A' + i] = i, table['a' + i] = static_cast<int8_t>(26 + i);
  for (int8_t i = 0; i < 10; ++i) table['0' + i] = static_cast<int8_t>(52 + i);
  table['+'] = table['-'] = 62;
  table['/'] = table['_'] = 63;
  return table;
}
inline constexpr std::array<int8_t, 256> kSextets = make_sextets();

// At which places of a quad a character fits: bit n for place n.
struct QuadPlaces {
  uint8_t of[256] = {};
  constexpr QuadPlaces() {
    for (size_t c = 0; c < 256; ++c) {
      if (kSextets[c] < 0) continue;
      const auto sextet = static_cast<uint8_t>(kSextets[c]);
      const bool fits[] = {sextet >> 3 == 1, (sextet >> 1 & 7) == 1, (sextet & 3) == 0, sextet >= 32};
      for (size_t place = 0; place < 4; ++place) of[c] |= static_cast<uint8_t>(fits[place] ? 1 << place : 0);
    }
  }
};
inline constexpr QuadPlaces kQuadPlaces;

// The end of a line within base64 (RFC 2045, section 6.8; RFC 7468): `\n` or `\r\n` behind a line of base64. Returns
// how many bytes it has there, 0 where it is none. With more to follow, also of a `\r` that ends the text.
[[nodiscard]] size_t base64_line_end(const TextView& text, ptrdiff_t at, Ending ending);
// So many characters of base64 stand before it.
inline constexpr size_t kBase64LineMin = 16;

[[nodiscard]] constexpr bool separates_hex(uint8_t c) {
  return c == ' ' || c == ':' || c == '-';
}

// What a long run leaves for the next part of a value: classes of the bytes that it decoded to, and at which place the
// next character stands.
struct EncodedMemory {
  uint8_t bytes[16] = {};
  uint8_t size = 0;
  uint8_t place = 0;
};

struct EncodedMemories {
  EncodedMemory base64, hex, spaced_hex;
};

class EncodedRuns {
 public:
  // Appends what is found in the marked blocks of `text`, by kind of run and then in order. With more to follow, adds
  // to `unsettled` the stretches within which the text must not be cut.
  void scan(TextScanner& scanner, const TextView& text, const SignBlocks& signs, const EncodedMemories& before,
            Ending ending, std::vector<HiddenFinding>& found, std::vector<Unsettled>& unsettled);

  // What the kinds of run leave where the text is cut at `cut`.
  static void remember(const TextView& text, size_t cut, EncodedMemories& memories);

 private:
  struct Run {
    size_t start, end;
    size_t place;  // of the character at `start`
    enum class Kind : uint8_t { base64, hex, spaced_hex } kind;
    bool open;  // it may go on behind the text
  };
  // Characters that fit so far, by how the quads, pairs or triples of a run lie.
  struct Lane {
    size_t start = 0, count = 0;
    size_t place = 0;      // of the character at `start`
    bool goes_on = false;  // the run began in the part before, and so far only the end of its line is here
  };
  void scan_base64(size_t from, size_t block, size_t& done);
  void end_lane(Lane& lane, size_t end, bool open, size_t& done);
  void scan_hex(Run::Kind kind, size_t from, size_t block, size_t& done);
  void note_open_ends();
  void leave_glued_pairs(size_t& digits);
  void look(const Run& run);

  // Of the scan that goes on.
  TextScanner* scanner_ = nullptr;
  TextView view_{{}, nullptr};
  std::span<const uint8_t> text_;
  const EncodedMemories* before_ = nullptr;
  Ending ending_ = Ending::complete;
  std::vector<HiddenFinding>* found_ = nullptr;
  std::vector<Unsettled>* unsettled_ = nullptr;

  std::vector<uint8_t> decoded_;
  std::vector<uint32_t> from_;
  std::vector<TextFinding> text_found_;
};

// Decodes a finding with `digits` digits and `tail` bytes behind them, has it masked and puts back what changed.
void mask_base64(std::span<uint8_t> bytes, size_t digits, size_t tail,
                 const std::function<void(std::span<uint8_t>)>& mask);

}  // namespace sluice::policies::cards
