// WindowFinder with AVX2 and BMI2. See window_kernel.h.
#include "policies/cards/window_kernel.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "policies/cards/candidate.h"
#include "policies/cards/encoded_runs.h"
#include "policies/cards/issuer_table.h"
#include "policies/cards/packed_digits.h"

#define VECTOR __attribute__((target("avx2,bmi,bmi2,popcnt,lzcnt")))

namespace sluice::policies::cards {
namespace {

// Bytes as the compiler's own vector: additions and comparisons are the same text for every width.
constexpr size_t kLanes = 32;
typedef uint8_t Vector __attribute__((vector_size(kLanes)));

struct Marks {
  uint64_t digits, separators;
};
// Digits and masks; separators; what units begin with, other than these; zero bytes; '2' and '3'; 'I' to 'P', with
// which base64 of a digit begins; `:`, `=`, `>` and perhaps what lies between, which stand between a key and its value.
struct Signs {
  uint64_t digits, separators, special, zeros, twos_and_threes, quads, assignments;
};

struct Bytes64 {
  __m256i low, high;
};

VECTOR inline Bytes64 load(const uint8_t* at) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + 32))};
}
VECTOR inline Bytes64 load_some(const uint8_t* at, size_t count) {
  alignas(64) uint8_t bytes[64] = {};
  __builtin_memcpy(bytes, at, count);
  return load(bytes);
}

VECTOR inline __m256i equals(__m256i bytes, uint8_t value) {
  return _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(static_cast<char>(value)));
}
VECTOR inline __m256i in_range(__m256i bytes, uint8_t first, uint8_t count) {
  const __m256i shifted = _mm256_add_epi8(bytes, _mm256_set1_epi8(static_cast<char>(0x80 - first)));
  return _mm256_cmpgt_epi8(_mm256_set1_epi8(static_cast<char>(0x80 + count)), shifted);
}
// The separators of candidate.h, byte by byte: '-', '.', '/', blank, tab, underscore; of the longer ones 0x80,
// 0x90–0x94, 0xA0, 0xAF, 0xC2 and 0xE2.
VECTOR inline __m256i separators_in(__m256i bytes) {
  __m256i in = in_range(bytes, '-', 3);
  in = _mm256_or_si256(in,
                       _mm256_or_si256(equals(bytes, ' '), _mm256_or_si256(equals(bytes, '\t'), equals(bytes, '_'))));
  if (_mm256_movemask_epi8(bytes) != 0) {
    in = _mm256_or_si256(
        in, _mm256_or_si256(in_range(bytes, 0x90, 5), _mm256_or_si256(equals(bytes, 0x80), equals(bytes, 0xA0))));
    in = _mm256_or_si256(
        in, _mm256_or_si256(equals(bytes, 0xAF), _mm256_or_si256(equals(bytes, 0xC2), equals(bytes, 0xE2))));
  }
  return in;
}
VECTOR inline uint64_t bits_of(__m256i low, __m256i high) {
  return static_cast<uint32_t>(_mm256_movemask_epi8(low)) |
         static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(high))) << 32;
}
VECTOR inline Marks marks_of(const Bytes64& block) {
  return {bits_of(in_range(block.low, '0', 10), in_range(block.high, '0', 10)),
          bits_of(separators_in(block.low), separators_in(block.high))};
}
VECTOR inline uint64_t bytes_equal(const Bytes64& block, uint8_t value) {
  return bits_of(equals(block.low, value), equals(block.high, value));
}
VECTOR inline __m256i either(__m256i a, __m256i b) {
  return _mm256_or_si256(a, b);
}
// What the longer characters that matter begin with.
VECTOR inline __m256i leads_in(__m256i bytes) {
  __m256i in = either(in_range(bytes, 0xF0, 10), in_range(bytes, 0xE0, 4));
  in = either(in, either(equals(bytes, 0xEF), either(equals(bytes, 0xC2), equals(bytes, 0xD9))));
  return either(in, either(equals(bytes, 0xDB), equals(bytes, 0xDF)));
}
// Kinds of ASCII characters, by both halves of the byte: 0x81 a digit or a mask, 0x0e a separator, 0x70 what a unit may
// begin with.
constexpr uint8_t kDigits = 0x81, kSeparators = 0x0e, kSpecial = 0x70;
VECTOR inline __m256i kinds_of(__m256i bytes) {
  const __m256i by_low =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0x03, 0x01, 0x01, 0x01, 0x01, 0x11, 0x11, 0x01, 0x01, 0x05,
                                                static_cast<char>(0x80), 0x50, 0x20, 0x02, 0x02, 0x0a));
  const __m256i by_high = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0x04, 0x40, static_cast<char>(0x92), 0x01, 0, 0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  const __m256i high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(0x0f));
  return _mm256_and_si256(_mm256_shuffle_epi8(by_low, bytes), _mm256_shuffle_epi8(by_high, high));
}
VECTOR inline uint64_t kinds_in(__m256i low, __m256i high, uint8_t kinds) {
  const __m256i wanted = _mm256_set1_epi8(static_cast<char>(kinds)), zero = _mm256_setzero_si256();
  return ~bits_of(_mm256_cmpeq_epi8(_mm256_and_si256(low, wanted), zero),
                  _mm256_cmpeq_epi8(_mm256_and_si256(high, wanted), zero));
}
VECTOR inline __m256i twos_and_threes_in(__m256i bytes) {
  return equals(_mm256_and_si256(bytes, _mm256_set1_epi8(static_cast<char>(0xfe))), '2');
}
constexpr uint8_t kAssignments = 5;  // from ':' to '>'
VECTOR inline uint64_t assignments_in(const Bytes64& block) {
  return bits_of(in_range(block.low, ':', kAssignments), in_range(block.high, ':', kAssignments));
}
VECTOR inline Signs signs_of(const Bytes64& block) {
  const __m256i low = block.low, high = block.high, low_kinds = kinds_of(low), high_kinds = kinds_of(high);
  Signs signs{kinds_in(low_kinds, high_kinds, kDigits),
              kinds_in(low_kinds, high_kinds, kSeparators),
              kinds_in(low_kinds, high_kinds, kSpecial),
              bits_of(equals(low, 0), equals(high, 0)),
              bits_of(twos_and_threes_in(low), twos_and_threes_in(high)),
              bits_of(in_range(low, 'I', 8), in_range(high, 'I', 8)),
              assignments_in(block)};
  if (bits_of(low, high) != 0) signs.special |= bits_of(leads_in(low), leads_in(high));
  return signs;
}
// The signs of four blocks; false where nothing could be one: no digit, nothing a unit begins with, nothing beyond
// ASCII. Then only the assignments of the last block are told: the value may stand in the next one.
VECTOR inline bool signs_of_four(const uint8_t* at, Signs* signs) {
  const __m256i seven = _mm256_set1_epi8(7);
  __m256i kinds = _mm256_setzero_si256(), all = kinds;
  __m256i quads = _mm256_set1_epi8(static_cast<char>(0xff)), least = quads;
  for (size_t i = 0; i < 256; i += 32) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + i));
    kinds = either(kinds, kinds_of(bytes));
    all = either(all, bytes);
    least = _mm256_min_epu8(least, bytes);
    quads = _mm256_min_epu8(quads, _mm256_sub_epi8(bytes, _mm256_set1_epi8('I')));
  }
  const __m256i wanted = _mm256_and_si256(kinds, _mm256_set1_epi8(static_cast<char>(kDigits | kSpecial)));
  const __m256i any =
      either(_mm256_cmpeq_epi8(least, _mm256_setzero_si256()), _mm256_cmpeq_epi8(_mm256_min_epu8(quads, seven), quads));
  if (_mm256_testz_si256(wanted, wanted) != 0 && _mm256_movemask_epi8(either(any, all)) == 0) {
    signs[3].assignments = assignments_in(load(at + 192));
    return false;
  }
  for (size_t i = 0; i < 4; ++i) signs[i] = signs_of(load(at + 64 * i));
  return true;
}
VECTOR inline __m256i distance(const uint8_t* at) {
  const Bytes64 block = load(at);
  const __m256i zero = _mm256_set1_epi8('0');
  return _mm256_min_epu8(_mm256_sub_epi8(block.low, zero), _mm256_sub_epi8(block.high, zero));
}
VECTOR inline bool has_digits_256(const uint8_t* at) {
  const __m256i nearest = _mm256_min_epu8(_mm256_min_epu8(distance(at), distance(at + 64)),
                                          _mm256_min_epu8(distance(at + 128), distance(at + 192)));
  return _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_min_epu8(nearest, _mm256_set1_epi8(9)), nearest)) != 0;
}
VECTOR inline uint64_t mask_of(const Vector& vector) {
  return static_cast<uint32_t>(_mm256_movemask_epi8((__m256i)vector));
}
VECTOR inline uint64_t gather_bits(uint64_t bits, uint64_t mask) {
  return _pext_u64(bits, mask);
}
VECTOR inline uint64_t scatter_bits(uint64_t bits, uint64_t mask) {
  return _pdep_u64(bits, mask);
}
VECTOR inline void store_digits(uint8_t* out, const Bytes64& block, uint64_t digits) {
  alignas(32) uint64_t words[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(words), block.low);
  _mm256_store_si256(reinterpret_cast<__m256i*>(words + 4), block.high);
  for (size_t i = 0; i < 8; ++i, digits >>= 8) {
    const uint64_t here = digits & 0xff;
    const uint64_t bytes = _pdep_u64(here, 0x0101010101010101) * 0xff;
    const uint64_t values = _pext_u64(words[i], bytes) & 0x0f0f0f0f0f0f0f0f;
    __builtin_memcpy(out, &values, sizeof values);
    out += _mm_popcnt_u64(here);
  }
}

#include "policies/cards/window_kernel.inc"

}  // namespace

VECTOR size_t find_windows_avx2(WindowFinder& self, const uint8_t* bytes, size_t size, size_t from, WindowHit* hits,
                                size_t room, size_t& next) {
  return find_windows(self, bytes, size, from, hits, room, next);
}

VECTOR bool mark_signs_avx2(const uint8_t* bytes, size_t size, uint64_t* const marks[3]) {
  return find_signs(bytes, size, marks);
}

VECTOR Glance glance_avx2(const uint8_t* bytes, size_t size, GlanceTabs tabs, GlanceHits& hits) {
  return glance(bytes, size, tabs, hits);
}

}  // namespace sluice::policies::cards

#endif
