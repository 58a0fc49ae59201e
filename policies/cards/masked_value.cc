#include "policies/cards/masked_value.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <iterator>

namespace sluice::policies {
namespace {

constexpr size_t kCharactersMin = 13, kCharactersMax = 19;
constexpr size_t kLastKept = 4;

bool is_digit(uint8_t c) {
  return c >= '0' && c <= '9';
}
bool is_separator(uint8_t c) {
  return c == ' ' || c == '-' || c == '.' || c == '/' || c == '_' || c == '\t';
}

constexpr size_t kFirstKept[] = {0, 6, 8};
constexpr size_t kStarsMin[] = {0, 3, 2};

// Stars in a row, with what digits may belong to them: other digits may stand a separator away.
struct Row {
  bool before[std::size(kFirstKept)] = {};  // so many digits before the stars, and none right before those
  size_t stars = 0;
  bool behind[kLastKept + 1] = {};  // so many digits behind, and neither digit nor star right behind those
  size_t end = 0;

  [[nodiscard]] bool is_masked_card() const {
    for (size_t i = 0; i < std::size(kFirstKept); ++i) {
      for (size_t last = 0; last <= kLastKept; ++last) {
        const size_t all = kFirstKept[i] + stars + last;
        const bool fits = before[i] && behind[last] && all >= kCharactersMin && all <= kCharactersMax;
        if (fits && (kFirstKept[i] != 0 ? stars >= kStarsMin[i] : last == kLastKept)) return true;
      }
    }
    return false;
  }
};

// Digits before `at`, single separators between them.
void look_before(std::span<const uint8_t> bytes, size_t at, Row& row) {
  for (size_t digits = 0; digits <= kFirstKept[std::size(kFirstKept) - 1]; ++digits) {
    const bool digit_before = at > 0 && is_digit(bytes[at - 1]);
    for (size_t i = 0; i < std::size(kFirstKept); ++i) {
      if (digits == kFirstKept[i] && !digit_before) row.before[i] = true;
    }
    if (!digit_before && at >= 2 && is_separator(bytes[at - 1]) && is_digit(bytes[at - 2])) --at;
    if (at == 0 || !is_digit(bytes[at - 1])) return;
    --at;
  }
}

void look_behind(std::span<const uint8_t> bytes, size_t at, Row& row) {
  const auto is = [&](size_t place, auto test) { return place < bytes.size() && test(bytes[place]); };
  const auto is_star = [](uint8_t c) { return c == '*'; };
  for (size_t digits = 0; digits <= kLastKept; ++digits) {
    if (!is(at, is_digit) && !is(at, is_star)) row.behind[digits] = true;
    if (is(at, is_separator) && is(at + 1, is_digit)) ++at;
    if (!is(at, is_digit)) return;
    ++at;
  }
}

// REQUIRES: no star stands before the one at `star` in its row.
Row row_around(std::span<const uint8_t> bytes, size_t star) {
  Row row;
  look_before(bytes, star, row);
  size_t at = star;
  while (at < bytes.size()) {
    if (bytes[at] == '*') {
      ++row.stars;
    } else if (!is_separator(bytes[at]) || at + 1 >= bytes.size() || bytes[at + 1] != '*') {
      break;
    }
    ++at;
  }
  row.end = at;
  look_behind(bytes, at, row);
  return row;
}

}  // namespace

bool holds_masked_card(std::span<const uint8_t> bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    const void* const found = std::memchr(bytes.data() + at, '*', bytes.size() - at);
    if (found == nullptr) return false;
    const Row row = row_around(bytes, static_cast<size_t>(static_cast<const uint8_t*>(found) - bytes.data()));
    if (row.is_masked_card()) return true;
    at = row.end;
  }
  return false;
}

bool MaskedCardStream::holds(std::span<const uint8_t> piece) {
  const size_t taken = std::min(piece.size(), kReachBytes);
  std::copy_n(piece.begin(), taken, joined_.begin() + static_cast<ptrdiff_t>(tail_bytes_));
  const size_t joined = tail_bytes_ + taken;
  const bool found = (tail_bytes_ > 0 && holds_masked_card({joined_.data(), joined})) || holds_masked_card(piece);
  // The last bytes of all that came so far.
  if (piece.size() >= kReachBytes) {
    std::copy_n(piece.end() - static_cast<ptrdiff_t>(kReachBytes), kReachBytes, joined_.begin());
    tail_bytes_ = kReachBytes;
  } else {
    tail_bytes_ = std::min(joined, kReachBytes);
    std::copy_n(joined_.begin() + static_cast<ptrdiff_t>(joined - tail_bytes_), tail_bytes_, joined_.begin());
  }
  return found;
}

}  // namespace sluice::policies
