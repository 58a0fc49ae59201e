// Card numbers within base64 and hex, anywhere in a text. What is decoded is not everything that could be base64, but
// runs whose bytes are all digits, blanks and punctuation (their high halves are 2 or 3): those a card number with
// ASCII separators is made of. In base64 that is one place in 2^34 of random text, so nothing else is decoded.
//
// In base64 (RFC 4648, sections 4 and 5) four characters hold three bytes. A character at the first place of such a
// quad begins with a byte's high half, one at the second ends with one, those at the third and fourth share one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
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

// What a long run leaves for the next part of a value: classes of the bytes that it decoded to, and at which place the
// next character stands.
struct EncodedMemory {
  uint8_t bytes[16] = {};
  uint8_t size = 0;
  uint8_t place = 0;
};

class EncodedRuns {
 public:
  // Appends what is found in the marked blocks of `text`, by kind of run and then in order. With more to follow, adds
  // to `unsettled` the stretches within which the text must not be cut. `bound` is where the plain look stopped.
  void scan(TextScanner& scanner, std::span<const uint8_t> text, const SignBlocks& signs, const EncodedMemory& base64,
            const EncodedMemory& hex, Ending ending, std::vector<HiddenFinding>& found,
            std::vector<Unsettled>& unsettled);

  // What the two kinds of run leave where the text is cut at `cut`.
  static void remember(std::span<const uint8_t> text, size_t cut, EncodedMemory& base64, EncodedMemory& hex);

 private:
  struct Run {
    size_t start, end;
    size_t place;  // of the character at `start`
    FindingForm form;
    bool open;  // it may go on behind the text
  };
  void scan_base64(size_t from, size_t block, size_t& done);
  void scan_hex(size_t from, size_t block, size_t& done);
  void look(const Run& run);

  // Of the scan that goes on.
  TextScanner* scanner_ = nullptr;
  std::span<const uint8_t> text_;
  const EncodedMemory* before_base64_ = nullptr;
  const EncodedMemory* before_hex_ = nullptr;
  Ending ending_ = Ending::complete;
  std::vector<HiddenFinding>* found_ = nullptr;
  std::vector<Unsettled>* unsettled_ = nullptr;

  std::vector<uint8_t> decoded_;
  std::vector<uint32_t> from_;
  std::vector<TextFinding> text_found_;
};

// Masks in place.
void mask_base64(std::span<uint8_t> bytes, size_t digits, size_t first_kept, size_t last_kept);

}  // namespace sluice::policies::cards
