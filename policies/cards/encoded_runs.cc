#include "policies/cards/encoded_runs.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "policies/cards/encoded_bytes.h"

namespace sluice::policies::cards {
namespace {

constexpr std::string_view kStandardAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr size_t kHexRunMin = 2 * kPanDigitsMin;

bool fits(uint8_t c, size_t place) {
  return (kQuadPlaces.of[c] >> place & 1) != 0;
}
bool is_two_or_three(uint8_t c) {
  return c == '2' || c == '3';
}
bool goes_on_as_hex(uint8_t c, size_t place) {
  return place == 0 ? is_two_or_three(c) : hex_value(c) >= 0;
}

// The byte that begins in the character at `at`, which stands at `place`; -1 where none does or its end is not there.
int base64_byte(std::span<const uint8_t> text, size_t at, size_t place) {
  if (place == 3 || at + 1 >= text.size()) return -1;
  const int8_t first = kSextets[text[at]], second = kSextets[text[at + 1]];
  if (first < 0 || second < 0) return -1;
  const int both = static_cast<uint8_t>(first) << 6 | static_cast<uint8_t>(second);  // twelve bits
  return both >> (4 - 2 * static_cast<int>(place)) & 0xFF;
}
int hex_byte(std::span<const uint8_t> text, size_t at, size_t place) {
  if (place == 1 || at + 1 >= text.size()) return -1;
  const int high = hex_value(text[at]), low = hex_value(text[at + 1]);
  return high < 0 || low < 0 ? -1 : high << 4 | low;
}

LeftContext left_of(const EncodedMemory& memory) {
  LeftContext left;
  std::memcpy(left.bytes, memory.bytes, memory.size);
  left.size = memory.size;
  return left;
}

// Where the run of characters that fit ends at `end` began, not more than `reach` before. `place` is that of the
// character at `end`.
template <typename Fits>
size_t run_start(std::span<const uint8_t> text, size_t end, size_t place, size_t period, size_t reach, Fits fits_at) {
  size_t start = end;
  while (start > 0 && end - start < reach) {
    place = (place + period - 1) % period;
    if (!fits_at(text[start - 1], place)) break;
    --start;
  }
  return start;
}

template <typename Fits, typename ByteAt>
void remember_run(std::span<const uint8_t> text, size_t cut, size_t period, Fits fits_at, ByteAt byte_at,
                  EncodedMemory& memory) {
  constexpr size_t kLookBack = 2 * sizeof(memory.bytes);
  const EncodedMemory before = memory;
  memory = EncodedMemory{};
  size_t longest = 0;
  for (size_t place = 0; place < period && cut < text.size(); ++place) {
    if (!fits_at(text[cut], place)) continue;
    const size_t start = run_start(text, cut, place, period, kLookBack, fits_at);
    const size_t place_at_start = (place + 4 * period * kLookBack - (cut - start)) % period;
    const bool goes_on = start == 0 && before.size != 0 && place_at_start == before.place;
    if (cut - start <= longest) continue;
    longest = cut - start;
    LeftContext left = goes_on ? left_of(before) : LeftContext{};
    for (size_t at = start; at < cut; ++at) {
      const int byte = byte_at(text, at, (place_at_start + at - start) % period);
      if (byte < 0) continue;
      const auto one = static_cast<uint8_t>(byte);
      left.append({&one, 1});
    }
    memory.size = static_cast<uint8_t>(std::min<size_t>(left.size, sizeof memory.bytes));
    std::memcpy(memory.bytes, left.bytes + left.size - memory.size, memory.size);
    memory.place = static_cast<uint8_t>(place);
  }
}

}  // namespace

void EncodedRuns::scan(TextScanner& scanner, std::span<const uint8_t> text, const SignBlocks& signs,
                       const EncodedMemory& base64, const EncodedMemory& hex, Ending ending,
                       std::vector<HiddenFinding>& found, std::vector<Unsettled>& unsettled) {
  scanner_ = &scanner, text_ = text, before_base64_ = &base64, before_hex_ = &hex, ending_ = ending;
  found_ = &found, unsettled_ = &unsettled;
  const size_t blocks = (text.size() + kSignBlockBytes - 1) / kSignBlockBytes;
  size_t done_base64 = 0, done_hex = 0;
  for (size_t block = next_marked(signs.runs, 0, blocks); block < blocks;
       block = next_marked(signs.runs, block + 1, blocks)) {
    const size_t start = block * kSignBlockBytes;
    const size_t from = start > kRunReachBytes ? start - kRunReachBytes : 0;
    scan_base64(std::max(done_base64, from), block, done_base64);
    scan_hex(std::max(done_hex, from), block, done_hex);
  }
  if (ending == Ending::complete) return;
  // What fits at the text's end may go on.
  const size_t size = text.size();
  for (size_t place = 0; place < 4; ++place) {
    const size_t start = run_start(text, size, place, 4, kHeldRunBytesMax, fits);
    if (start < size && size - start < kHeldRunBytesMax) unsettled.push_back({start, size + 1});
  }
  for (size_t place = 0; place < 2; ++place) {
    const size_t start = run_start(text, size, place, 2, kHeldRunBytesMax, goes_on_as_hex);
    if (start < size && size - start < kHeldRunBytesMax) unsettled.push_back({start, size + 1});
  }
}

void EncodedRuns::remember(std::span<const uint8_t> text, size_t cut, EncodedMemory& base64, EncodedMemory& hex) {
  remember_run(text, cut, 4, fits, base64_byte, base64);
  remember_run(text, cut, 2, goes_on_as_hex, hex_byte, hex);
}

// All four ways in which quads may lie: what was encoded need not begin where a run does.
void EncodedRuns::scan_base64(size_t from, size_t block, size_t& done) {
  size_t runs[4] = {};
  const size_t marked_end = (block + 1) * kSignBlockBytes;
  const auto end_run = [&](size_t lane, size_t end, bool open) {
    const size_t start = end - runs[lane];
    if (runs[lane] >= kBase64RunMin) {
      look({start, end, (start - lane) & 3, FindingForm::base64, open});
      done = end;
    }
    runs[lane] = 0;
  };
  size_t at = from;
  for (; at < text_.size(); ++at) {
    const uint8_t places = kQuadPlaces.of[text_[at]];
    size_t longest = 0;
    for (size_t place = 0; place < 4; ++place) {
      const size_t lane = (at - place) & 3;
      if ((places >> place & 1) != 0)
        longest = std::max(longest, ++runs[lane]);
      else if (runs[lane] != 0)
        end_run(lane, at, false);
    }
    if (at >= marked_end && longest == 0) return;
  }
  for (size_t lane = 0; lane < 4; ++lane) end_run(lane, at, ending_ == Ending::more_follows);
}

void EncodedRuns::scan_hex(size_t from, size_t block, size_t& done) {
  size_t runs[2] = {};
  const size_t marked_end = (block + 1) * kSignBlockBytes;
  const auto end_run = [&](size_t lane, size_t end, bool open) {
    const size_t start = end - runs[lane];
    if (runs[lane] >= kHexRunMin) {
      look({start, end, 0, FindingForm::hex, open});
      done = end;
    }
    runs[lane] = 0;
  };
  size_t at = from;
  for (; at < text_.size(); ++at) {
    size_t longest = 0;
    for (size_t lane = 0; lane < 2; ++lane) {
      const size_t place = (at - lane) & 1;
      if (goes_on_as_hex(text_[at], place) && (runs[lane] != 0 || place == 0))
        longest = std::max(longest, ++runs[lane]);
      else if (runs[lane] != 0)
        end_run(lane, at, false);
    }
    if (at >= marked_end && longest == 0) return;
  }
  for (size_t lane = 0; lane < 2; ++lane) end_run(lane, at, ending_ == Ending::more_follows);
}

// Decodes one run and looks at its bytes.
void EncodedRuns::look(const Run& run) {
  const bool base64 = run.form == FindingForm::base64;
  const size_t period = base64 ? 4 : 2;
  decoded_.clear();
  from_.clear();
  size_t digits = 0;
  for (size_t at = run.start; at < run.end; ++at) {
    const size_t place = (run.place + at - run.start) % period;
    const int byte = base64 ? base64_byte(text_, at, place) : hex_byte(text_, at, place);
    if (byte < 0) continue;
    decoded_.push_back(static_cast<uint8_t>(byte));
    from_.push_back(static_cast<uint32_t>(at));
    digits += is_digit(byte) ? 1 : 0;
  }
  const size_t length = run.end - run.start;
  size_t starts_end = decoded_.size();
  if (ending_ == Ending::more_follows && run.open) {
    if (length < kHeldRunBytesMax) {
      unsettled_->push_back({run.start, run.end + 1});
    } else {
      starts_end = decoded_.size() > kShownReach ? decoded_.size() - kShownReach : 0;
      unsettled_->push_back({starts_end < from_.size() ? from_[starts_end] : run.start, run.end + 1});
    }
  } else if (ending_ == Ending::more_follows && length < kHeldRunBytesMax) {
    unsettled_->push_back({run.start, run.end});
  }
  if (digits < kPanDigitsMin) return;
  const EncodedMemory& before = base64 ? *before_base64_ : *before_hex_;
  // Of a pair of hex that was cut, the second character is passed over: the byte counts as one before.
  const size_t first = !base64 && before.place == 1 ? 1 : 0;
  const bool goes_on = before.size != 0 && run.start == first && (first == 1 || before.place == run.place);
  const LeftContext left = goes_on ? left_of(before) : LeftContext{};
  text_found_.clear();
  scanner_->scan(TextView(decoded_, &left), Ending::complete, text_found_);
  for (const TextFinding& finding : text_found_) {
    if (finding.start >= starts_end) break;
    // The two characters that hold a byte of base64 may hold bits of its neighbours, which stay.
    found_->push_back(
        {from_[finding.start], from_[finding.candidate.end - 1] + size_t{2}, finding.candidate, run.form});
  }
}

void mask_base64(std::span<uint8_t> bytes, size_t digits, size_t first_kept, size_t last_kept) {
  // The finding's characters begin with the one that holds its first byte's first bit; how many bits of that
  // character belong to a byte before follows from how many bytes the characters hold. Each of the three is tried: the
  // right one has as many digits as the finding, and begins and ends with one.
  const auto bit_at = [&](size_t bit) { return kSextets[bytes[bit / 6]] >> (5 - bit % 6) & 1; };
  for (size_t skip = 0; skip < 6; skip += 2) {
    const size_t count = (bytes.size() * 6 - skip) / 8;
    const auto byte_at = [&](size_t index) {
      unsigned value = 0;
      for (size_t i = 0; i < 8; ++i) value = value << 1 | static_cast<unsigned>(bit_at(skip + index * 8 + i));
      return value;
    };
    size_t held = 0;
    for (size_t i = 0; i < count; ++i) held += is_digit(static_cast<int>(byte_at(i))) ? 1 : 0;
    if (held != digits || !is_digit(static_cast<int>(byte_at(0))) || !is_digit(static_cast<int>(byte_at(count - 1))))
      continue;
    size_t digit = 0;
    for (size_t i = 0; i < count; ++i) {
      if (!is_digit(static_cast<int>(byte_at(i)))) continue;
      const bool hide = digit >= first_kept && digit + last_kept < digits;
      ++digit;
      for (size_t b = 0; hide && b < 8; ++b) {
        const size_t bit = skip + i * 8 + b;
        uint8_t& character = bytes[bit / 6];
        const auto value = static_cast<uint8_t>(kSextets[character]);
        const unsigned place = 1u << (5 - bit % 6);
        const unsigned changed = ('*' >> (7 - b) & 1) != 0 ? value | place : value & ~place;
        if (changed != value) character = static_cast<uint8_t>(kStandardAlphabet[changed]);
      }
    }
    return;
  }
}

}  // namespace sluice::policies::cards
