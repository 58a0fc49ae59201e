// WindowFinder with AVX-512 (BW, VL, VBMI, VBMI2). See window_kernel.h.
#include "policies/cards/window_kernel.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "policies/cards/candidate.h"
#include "policies/cards/encoded_runs.h"
#include "policies/cards/issuer_table.h"
#include "policies/cards/packed_digits.h"

#define VECTOR __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx2,bmi,bmi2,popcnt,lzcnt")))

namespace sluice::policies::cards {
namespace {

// Bytes as the compiler's own vector: additions and comparisons are the same text for every width.
constexpr size_t kLanes = 64;
typedef uint8_t Vector __attribute__((vector_size(kLanes)));

struct Marks {
  uint64_t digits, separators;
};
// Digits and masks; separators; what units begin with, other than these; zero bytes; '2' and '3'; 'I' to 'P', with
// which base64 of a digit begins; `:`, `=`, `>` and perhaps what lies between, which stand between a key and its value.
struct Signs {
  uint64_t digits, separators, special, zeros, twos_and_threes, quads, assignments;
};

using Bytes64 = __m512i;

// What each ASCII character is: 1 a digit, 2 a separator of candidate.h (blank, '-', '.', '/', tab, underscore).
constexpr uint8_t kDigit = 1, kSeparator = 2;
alignas(64) constexpr uint8_t kAscii[128] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

// For hidden forms and keys: 1 a digit or a mask, 2 a separator, 4 what a unit may begin with, 8 ':', '=' and '>', 16
// zero, 32 '2' or '3', 64 'I' to 'P'; and by what the longer characters that matter begin with.
constexpr uint8_t kSign = 4, kAssignment = 8, kZero = 16, kTwoOrThree = 32, kQuad = 64;
constexpr uint8_t kNotCalm = kDigit | kSign | kZero | kQuad;
alignas(64) constexpr uint8_t kSigns[128] = {
    16, 0, 0, 0, 0, 0, 0, 0, 0, 2,  0,  0,  0,  0,  0,  0,  0,  0, 0,  0,  0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0,
    2,  0, 0, 0, 0, 4, 4, 0, 0, 0,  1,  4,  0,  2,  2,  2,  1,  1, 33, 33, 1, 1, 1, 1, 1, 1, 8, 0, 0, 8, 8, 0,
    0,  0, 0, 0, 0, 0, 0, 0, 0, 64, 64, 64, 64, 64, 64, 64, 64, 0, 0,  0,  0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 2,
    0,  0, 0, 0, 0, 0, 0, 0, 0, 0,  0,  0,  0,  0,  0,  0,  0,  0, 0,  0,  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
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
VECTOR inline uint64_t bytes_equal(const Bytes64& block, uint8_t value) {
  return equals(block, value);
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
// One value in every byte: read from memory, constants cost no register and no broadcast in the loop.
struct Everywhere {
  alignas(64) uint8_t bytes[64];
  constexpr explicit Everywhere(uint8_t value) : bytes() {
    for (uint8_t& byte : bytes) byte = value;
  }
};
constexpr Everywhere kDigits(kDigit), kSeparators(kSeparator), kSpecials(kSign), kZeros(kZero), kTwos(kTwoOrThree),
    kQuads(kQuad), kAssignments(kAssignment), kAnySign(kNotCalm);
VECTOR inline uint64_t kinds_in(__m512i kinds, const Everywhere& wanted) {
  return _mm512_test_epi8_mask(kinds, _mm512_load_si512(wanted.bytes));
}
VECTOR inline Signs signs_in(__m512i block, __m512i kinds, bool any_high) {
  uint64_t leads_here = 0;
  if (any_high) {
    const uint64_t high = _mm512_movepi8_mask(block);
    kinds = _mm512_maskz_mov_epi8(~high, kinds);
    const __m512i leads =
        _mm512_maskz_permutex2var_epi8(high, _mm512_load_si512(kLeads), block, _mm512_load_si512(kLeads + 64));
    leads_here = _mm512_test_epi8_mask(leads, leads);
  }
  return {kinds_in(kinds, kDigits),     kinds_in(kinds, kSeparators), kinds_in(kinds, kSpecials) | leads_here,
          kinds_in(kinds, kZeros),      kinds_in(kinds, kTwos),       kinds_in(kinds, kQuads),
          kinds_in(kinds, kAssignments)};
}
VECTOR inline __m512i kinds_of(__m512i block) {
  return _mm512_permutex2var_epi8(_mm512_load_si512(kSigns), block, _mm512_load_si512(kSigns + 64));
}
VECTOR inline Signs signs_of(const Bytes64& block) {
  return signs_in(block, kinds_of(block), true);
}
// The signs of four blocks; false where nothing could be one: no digit, nothing a unit begins with, nothing beyond
// ASCII. Then only the assignments of the last block are told: the value may stand in the next one.
VECTOR inline bool signs_of_four(const uint8_t* at, Signs* signs) {
  const __m512i a = load(at), b = load(at + 64), c = load(at + 128), d = load(at + 192);
  const __m512i ka = kinds_of(a), kb = kinds_of(b), kc = kinds_of(c), kd = kinds_of(d);
  const __m512i all = _mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d));
  const __m512i kinds = _mm512_or_si512(_mm512_or_si512(ka, kb), _mm512_or_si512(kc, kd));
  const bool any_high = _mm512_movepi8_mask(all) != 0;
  if (!any_high && kinds_in(kinds, kAnySign) == 0) {
    signs[3].assignments = kinds_in(kd, kAssignments);
    return false;
  }
  signs[0] = signs_in(a, ka, any_high);
  signs[1] = signs_in(b, kb, any_high);
  signs[2] = signs_in(c, kc, any_high);
  signs[3] = signs_in(d, kd, any_high);
  return true;
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

VECTOR bool mark_signs_avx512(const uint8_t* bytes, size_t size, uint64_t* const marks[3]) {
  return find_signs(bytes, size, marks);
}

VECTOR Glance glance_avx512(const uint8_t* bytes, size_t size, GlanceTabs tabs, GlanceHits& hits) {
  return glance(bytes, size, tabs, hits);
}

}  // namespace sluice::policies::cards

#endif
