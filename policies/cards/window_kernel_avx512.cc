// WindowFinder with AVX-512 (BW, VL, VBMI, VBMI2). See window_kernel.h.
#include "policies/cards/window_kernel.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "policies/cards/issuer_table.h"

#define VECTOR __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx2,bmi,bmi2,popcnt,lzcnt")))

namespace sluice::policies::cards {
namespace {

// Bytes as the compiler's own vector: additions and comparisons are the same text for every width.
constexpr size_t kLanes = 64;
typedef uint8_t Vector __attribute__((vector_size(kLanes)));

struct Marks {
  uint64_t digits, separators;
};
struct Signs {
  uint64_t digits, separators, special, words, zeros, twos_and_threes;
};

using Bytes64 = __m512i;

// What each ASCII character is: 1 a digit, 2 a separator of candidate.h (blank, '-', '.', '/', tab, underscore).
constexpr uint8_t kDigit = 1, kSeparator = 2;
alignas(64) constexpr uint8_t kAscii[128] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

// For hidden forms: beside those, 4 a sign of its own, 8 base64, 16 zero, 32 '2' or '3'; and by what the longer
// characters that matter begin with.
constexpr uint8_t kSign = 4, kWord = 8, kZero = 16, kTwoOrThree = 32;
alignas(64) constexpr uint8_t kSigns[128] = {
    16, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0,  0, 0,  0, 0, 0,  0,  0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0,
    2,  0, 0, 0, 0, 4, 4, 0, 0, 0, 0, 4, 0, 10, 2, 10, 9, 9, 41, 41, 9, 9, 9, 9, 9, 9, 0, 0, 0, 0, 0, 0,
    0,  8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8,  8, 8,  8, 8, 8,  8,  8, 8, 8, 8, 8, 8, 8, 0, 4, 0, 0, 10,
    0,  8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8,  8, 8,  8, 8, 8,  8,  8, 8, 8, 8, 8, 8, 8, 0, 0, 0, 0, 0};
alignas(64) constexpr uint8_t kLeads[128] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1,
    1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0};

VECTOR inline Bytes64 load(const uint8_t* at) {
  return _mm512_loadu_si512(at);
}
VECTOR inline Bytes64 load_some(const uint8_t* at, size_t count) {
  return _mm512_maskz_loadu_epi8(_bzhi_u64(~uint64_t{0}, static_cast<unsigned>(count)), at);
}
VECTOR inline uint64_t equals(__m512i bytes, uint8_t value) {
  return _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(static_cast<char>(value)));
}
VECTOR inline Marks marks_of(const Bytes64& block) {
  const __m512i kinds = _mm512_permutex2var_epi8(_mm512_load_si512(kAscii), block, _mm512_load_si512(kAscii + 64));
  Marks marks{_mm512_test_epi8_mask(kinds, _mm512_set1_epi8(kDigit)),
              _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(kSeparator))};
  const uint64_t high = _mm512_movepi8_mask(block);
  if (high != 0) {  // the table knows ASCII; bytes of the longer separators: 0x80, 0x90–0x94, 0xA0, 0xAF, 0xC2, 0xE2
    marks.digits &= ~high;
    marks.separators &= ~high;
    const __m512i dashes = _mm512_sub_epi8(block, _mm512_set1_epi8(static_cast<char>(0x90)));
    marks.separators |= _mm512_cmplt_epu8_mask(dashes, _mm512_set1_epi8(5)) | equals(block, 0x80) |
                        equals(block, 0xA0) | equals(block, 0xAF) | equals(block, 0xC2) | equals(block, 0xE2);
  }
  return marks;
}
VECTOR inline Signs signs_of(const Bytes64& block) {
  const uint64_t high = _mm512_movepi8_mask(block);
  const __m512i kinds =
      _mm512_maskz_permutex2var_epi8(~high, _mm512_load_si512(kSigns), block, _mm512_load_si512(kSigns + 64));
  Signs signs{_mm512_test_epi8_mask(kinds, _mm512_set1_epi8(kDigit)),
              _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(kSeparator)),
              _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(kSign)),
              _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(kWord)),
              _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(kZero)),
              _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(kTwoOrThree))};
  if (high != 0) {
    const __m512i leads =
        _mm512_maskz_permutex2var_epi8(high, _mm512_load_si512(kLeads), block, _mm512_load_si512(kLeads + 64));
    signs.special |= _mm512_test_epi8_mask(leads, leads);
  }
  return signs;
}
VECTOR inline bool has_digits_256(const uint8_t* at) {
  const __m512i zero = _mm512_set1_epi8('0');
  const __m512i a = _mm512_min_epu8(_mm512_sub_epi8(load(at), zero), _mm512_sub_epi8(load(at + 64), zero));
  const __m512i b = _mm512_min_epu8(_mm512_sub_epi8(load(at + 128), zero), _mm512_sub_epi8(load(at + 192), zero));
  return _mm512_cmple_epu8_mask(_mm512_min_epu8(a, b), _mm512_set1_epi8(9)) != 0;
}
VECTOR inline uint64_t mask_of(const Vector& vector) {
  return _mm512_movepi8_mask((__m512i)vector);
}
VECTOR inline uint64_t gather_bits(uint64_t bits, uint64_t mask) {
  return _pext_u64(bits, mask);
}
VECTOR inline uint64_t scatter_bits(uint64_t bits, uint64_t mask) {
  return _pdep_u64(bits, mask);
}
VECTOR inline void store_digits(uint8_t* out, const Bytes64& block, uint64_t digits) {
  _mm512_storeu_si512(out, _mm512_and_si512(_mm512_maskz_compress_epi8(digits, block), _mm512_set1_epi8(0x0f)));
}

#include "policies/cards/window_kernel.inc"

}  // namespace

VECTOR size_t find_windows_avx512(WindowFinder& self, const uint8_t* bytes, size_t size, size_t from, WindowHit* hits,
                                  size_t room, size_t& next) {
  return find_windows(self, bytes, size, from, hits, room, next);
}

VECTOR bool may_hide_avx512(const uint8_t* bytes, size_t size) {
  return find_signs(bytes, size);
}

}  // namespace sluice::policies::cards

#endif
