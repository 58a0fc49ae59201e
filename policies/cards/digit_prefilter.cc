#include "policies/cards/digit_prefilter.h"

#include <array>
#include <bit>
#include <cstring>

#include "policies/cards/issuer_table.h"
#include "policies/cards/text_view.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace sluice::policies::cards {
namespace {

// Digits, separators of one byte, and every byte of the longer ones (U+00A0, U+2010–2014, U+202F).
constexpr std::array<bool, 256> make_stretch_bytes() {
  std::array<bool, 256> set{};
  for (uint8_t c = '0'; c <= '9'; ++c) set[c] = true;
  for (uint8_t c : {' ', '-', '.', '/', '\t', '_'}) set[c] = true;
  for (unsigned c : {0xC2u, 0xA0u, 0xE2u, 0x80u, 0x90u, 0x91u, 0x92u, 0x93u, 0x94u, 0xAFu}) set[c] = true;
  return set;
}
constexpr std::array<bool, 256> kStretchBytes = make_stretch_bytes();

constexpr size_t kStretchRun = 12;  // consecutive stretch bytes that make a stretch worth a look (a candidate has 13)

#if defined(__SSE2__)

uint32_t digit_mask(__m128i bytes) {
  // Shifts '0'–'9' to the bottom of the signed range, so that one signed comparison tells them.
  const __m128i shifted = _mm_add_epi8(bytes, _mm_set1_epi8(static_cast<char>(0x80 - '0')));
  return static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmplt_epi8(shifted, _mm_set1_epi8(static_cast<char>(0x80 + 10)))));
}

__m128i equals(__m128i bytes, uint8_t value) {
  return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(static_cast<char>(value)));
}

// Digits and '-', '.', '/' are one range (0x2D–0x39); the longer separators: 0x80, 0x90–0x94 and 0xA0, 0xAF, 0xC2,
// 0xE2.
uint32_t stretch_mask(__m128i bytes) {
  const __m128i shifted = _mm_add_epi8(bytes, _mm_set1_epi8(static_cast<char>(0x80 - 0x2D)));
  __m128i in = _mm_cmplt_epi8(shifted, _mm_set1_epi8(static_cast<char>(0x80 + 13)));
  in = _mm_or_si128(in, _mm_or_si128(equals(bytes, ' '), _mm_or_si128(equals(bytes, '\t'), equals(bytes, '_'))));
  if (_mm_movemask_epi8(bytes) != 0) {  // not all ASCII
    const __m128i dashes = _mm_add_epi8(bytes, _mm_set1_epi8(static_cast<char>(0x80 - 0x90)));
    in = _mm_or_si128(in, _mm_cmplt_epi8(dashes, _mm_set1_epi8(static_cast<char>(0x80 + 5))));
    in = _mm_or_si128(in, _mm_or_si128(equals(bytes, 0x80), equals(bytes, 0xA0)));
    in = _mm_or_si128(in, _mm_or_si128(equals(bytes, 0xAF), _mm_or_si128(equals(bytes, 0xC2), equals(bytes, 0xE2))));
  }
  return static_cast<uint32_t>(_mm_movemask_epi8(in));
}

__m128i load(const uint8_t* at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

uint64_t stretch_mask_64(const uint8_t* at) {
  return uint64_t{stretch_mask(load(at))} | uint64_t{stretch_mask(load(at + 16))} << 16 |
         uint64_t{stretch_mask(load(at + 32))} << 32 | uint64_t{stretch_mask(load(at + 48))} << 48;
}

#endif

// Where kStretchRun set bits in a row end, over a border between two words: bit i of the answer says that the run's
// last bit is i of `now`.
uint64_t runs_ending(uint64_t before, uint64_t now) {
  const auto step = [&](unsigned by) {
    const uint64_t shifted_now = (now << by) | (before >> (64 - by));
    const uint64_t shifted_before = before << by;
    now &= shifted_now;
    before &= shifted_before;
  };
  step(1);
  step(2);
  step(4);
  step(4);
  return now;
}

size_t count_digits_scalar(std::span<const uint8_t> bytes) {
  size_t count = 0;
  for (uint8_t c : bytes) count += is_digit(c) ? 1 : 0;
  return count;
}

}  // namespace

bool has_many_digits(std::span<const uint8_t> bytes) {
#if defined(__SSE2__)
  if (bytes.size() >= 16) {
    size_t count = 0, i = 0;
    for (; i + 16 <= bytes.size(); i += 16) {
      count += static_cast<size_t>(std::popcount(digit_mask(load(bytes.data() + i))));
      if (count >= kPanDigitsMin) return true;
    }
    if (i == bytes.size()) return false;
    const size_t again = 16 - (bytes.size() - i);  // bytes that the last, overlapping load sees a second time
    const uint32_t last = digit_mask(load(bytes.data() + bytes.size() - 16)) >> again;
    return count + static_cast<size_t>(std::popcount(last)) >= kPanDigitsMin;
  }
#endif
  return count_digits_scalar(bytes) >= kPanDigitsMin;
}

Stretch stretch_around(std::span<const uint8_t> bytes, size_t from, size_t hit) {
  Stretch stretch{hit, hit};
  while (stretch.start > from && kStretchBytes[bytes[stretch.start - 1]]) --stretch.start;
  while (stretch.end < bytes.size() && kStretchBytes[bytes[stretch.end]]) ++stretch.end;
  return stretch;
}

Stretch next_stretch(std::span<const uint8_t> bytes, size_t from) {
  const Stretch none{bytes.size(), bytes.size()};
  size_t i = from;
#if defined(__SSE2__)
  uint64_t before = 0;
  for (; i + 64 <= bytes.size(); i += 64) {
    const uint64_t now = stretch_mask_64(bytes.data() + i);
    const uint64_t ends = runs_ending(before, now);
    if (ends != 0) return stretch_around(bytes, from, i + static_cast<size_t>(std::countr_zero(ends)) + 1);
    before = now;
  }
  size_t run = static_cast<size_t>(std::countl_one(before));
#else
  size_t run = 0;
#endif
  for (; i < bytes.size(); ++i) {
    run = kStretchBytes[bytes[i]] ? run + 1 : 0;
    if (run >= kStretchRun) return stretch_around(bytes, from, i + 1);
  }
  return none;
}

}  // namespace sluice::policies::cards
