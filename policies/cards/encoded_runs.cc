#include "policies/cards/encoded_runs.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "policies/cards/encoded_bytes.h"

namespace sluice::policies::cards {
namespace {

constexpr std::string_view kStandardAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool fits(uint8_t c, size_t place) {
  return (kQuadPlaces.of[c] >> place & 1) != 0;
}
bool is_two_or_three(uint8_t c) {
  return c == '2' || c == '3';
}
// Does a character fit at this place of a pair, or of a pair and what separates it from the next?
bool fits_hex(uint8_t c, size_t place) {
  return place == 0 ? is_two_or_three(c) : place == 1 ? hex_value(c) >= 0 : separates_hex(c);
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
  if (place != 0 || at + 1 >= text.size()) return -1;
  const int high = hex_value(text[at]), low = hex_value(text[at + 1]);
  return high < 0 || low < 0 ? -1 : high << 4 | low;
}

LeftContext left_of(const EncodedMemory& memory) {
  LeftContext left;
  std::memcpy(left.bytes, memory.bytes, memory.size);
  left.size = memory.size;
  return left;
}

// Where a run begins, and at which place of its period.
struct RunStart {
  size_t start, place;
};

// How the kinds of run are read.
struct HexRuns {
  size_t period;
  [[nodiscard]] static bool fits(const TextView& text, size_t at, size_t place) {
    return fits_hex(text.data()[at], place);
  }
  [[nodiscard]] static size_t line_end_before(const TextView& /*text*/, size_t /*at*/, size_t /*place*/) { return 0; }
  [[nodiscard]] static int byte(std::span<const uint8_t> text, size_t at, size_t place) {
    return hex_byte(text, at, place);
  }
};
struct Base64Runs {
  size_t period = 4;
  // Also what ends a line between two quads.
  [[nodiscard]] static bool fits(const TextView& text, size_t at, size_t place) {
    return cards::fits(text.data()[at], place) ||
           (place == 0 && base64_line_end(text, static_cast<ptrdiff_t>(at), Ending::more_follows) != 0);
  }
  [[nodiscard]] static size_t line_end_before(const TextView& text, size_t at, size_t place) {
    if (place != 0) return 0;
    for (size_t bytes = 2; bytes > 0; --bytes) {
      if (at < bytes) continue;
      const auto first = static_cast<ptrdiff_t>(at - bytes);
      // Of `\r\n` that is cut in two, the first half too.
      const bool half = bytes == 1 && text.data()[at - 1] == '\r' && text.at(static_cast<ptrdiff_t>(at)) == '\n';
      if (half && base64_line_end(text, first, Ending::more_follows) == 2) return 1;
      if (base64_line_end(text, first, Ending::more_follows) == bytes) return bytes;
    }
    return 0;
  }
  [[nodiscard]] static int byte(std::span<const uint8_t> text, size_t at, size_t place) {
    return base64_byte(text, at, place);
  }
};

// Where the run of characters that fit ends at `end` began, not more than `reach` before. `place` is that of the
// character at `end`.
template <typename Runs>
RunStart run_start(const TextView& text, size_t end, size_t place, size_t reach, const Runs& runs) {
  size_t start = end;
  while (start > 0 && end - start < reach) {
    if (const size_t line_end = runs.line_end_before(text, start, place); line_end != 0) {
      start -= line_end;
      continue;
    }
    const size_t before = (place + runs.period - 1) % runs.period;
    const uint8_t c = text.data()[start - 1];
    if (c == '\n' || c == '\r' || !runs.fits(text, start - 1, before)) break;
    place = before;
    --start;
  }
  return {start, place};
}

template <typename Runs>
void remember_run(const TextView& text, size_t cut, const Runs& runs, EncodedMemory& memory) {
  constexpr size_t kLookBack = 3 * sizeof(memory.bytes);
  const EncodedMemory before = memory;
  memory = EncodedMemory{};
  size_t longest = 0;
  for (size_t place = 0; place < runs.period && cut < text.size(); ++place) {
    if (!runs.fits(text, cut, place)) continue;
    const RunStart run = run_start(text, cut, place, kLookBack, runs);
    const bool goes_on = run.start == 0 && before.size != 0 && run.place == before.place;
    if (cut - run.start <= longest) continue;
    longest = cut - run.start;
    LeftContext left = goes_on ? left_of(before) : LeftContext{};
    size_t at_place = run.place;
    for (size_t at = run.start; at < cut; ++at) {
      if (text.data()[at] == '\n' || text.data()[at] == '\r') continue;
      const int byte = runs.byte(text.bytes(), at, at_place);
      at_place = (at_place + 1) % runs.period;
      if (byte < 0) continue;
      const auto one = static_cast<uint8_t>(byte);
      left.append({&one, 1});
    }
    memory.size = static_cast<uint8_t>(std::min<size_t>(left.size, sizeof memory.bytes));
    std::memcpy(memory.bytes, left.bytes + left.size - memory.size, memory.size);
    memory.place = static_cast<uint8_t>(place);
  }
}

constexpr Base64Runs kBase64;
constexpr HexRuns kHex{2}, kSpacedHex{3};

}  // namespace

size_t base64_line_end(const TextView& text, ptrdiff_t at, Ending ending) {
  const auto size = static_cast<ptrdiff_t>(text.size());
  size_t bytes = text.at(at) == '\n' ? 1 : 0;
  if (text.at(at) == '\r' && text.at(at + 1) == '\n') bytes = 2;
  if (text.at(at) == '\r' && at + 1 == size && ending == Ending::more_follows) bytes = 1;
  if (bytes == 0) return 0;
  const bool half = text.at(at) == '\n' && text.at(at - 1) == '\r';
  const ptrdiff_t line = half ? at - 1 : at;
  for (size_t i = 1; i <= kBase64LineMin; ++i) {
    const int c = text.at(line - static_cast<ptrdiff_t>(i));
    if (c < 0 || kSextets[static_cast<size_t>(c)] < 0) return 0;
  }
  return bytes;
}

void EncodedRuns::scan(TextScanner& scanner, const TextView& text, const SignBlocks& signs,
                       const EncodedMemories& before, Ending ending, std::vector<HiddenFinding>& found,
                       std::vector<Unsettled>& unsettled) {
  scanner_ = &scanner, view_ = text, text_ = text.bytes(), before_ = &before, ending_ = ending;
  found_ = &found, unsettled_ = &unsettled;
  const size_t blocks = (text.size() + kSignBlockBytes - 1) / kSignBlockBytes;
  size_t done_base64 = 0, done_hex = 0, done_spaced = 0;
  for (size_t block = next_marked(signs.runs, 0, blocks); block < blocks;
       block = next_marked(signs.runs, block + 1, blocks)) {
    const size_t start = block * kSignBlockBytes;
    const size_t from = start > kRunReachBytes ? start - kRunReachBytes : 0;
    scan_base64(std::max(done_base64, from), block, done_base64);
    scan_hex(Run::Kind::hex, std::max(done_hex, from), block, done_hex);
    scan_hex(Run::Kind::spaced_hex, std::max(done_spaced, from), block, done_spaced);
  }
  if (ending == Ending::more_follows) note_open_ends();
}

// What fits at the text's end may go on.
void EncodedRuns::note_open_ends() {
  const size_t size = text_.size();
  const auto note = [&](const auto& runs) {
    for (size_t place = 0; place < runs.period; ++place) {
      const size_t start = run_start(view_, size, place, kHeldRunBytesMax, runs).start;
      if (start < size && size - start < kHeldRunBytesMax) unsettled_->push_back({start, size + 1});
    }
  };
  note(kBase64);
  note(kHex);
  note(kSpacedHex);
}

void EncodedRuns::remember(const TextView& text, size_t cut, EncodedMemories& memories) {
  remember_run(text, cut, kBase64, memories.base64);
  remember_run(text, cut, kHex, memories.hex);
  remember_run(text, cut, kSpacedHex, memories.spaced_hex);
}

void EncodedRuns::end_lane(Lane& lane, size_t end, bool open, size_t& done) {
  if (lane.count >= kBase64RunMin) {
    look({lane.start, end, lane.place, Run::Kind::base64, open});
    done = end;
  }
  lane = Lane{};
}

// All four ways in which quads may lie: what was encoded need not begin where a run does.
void EncodedRuns::scan_base64(size_t from, size_t block, size_t& done) {
  Lane lanes[4];
  const size_t marked_end = (block + 1) * kSignBlockBytes;
  size_t at = from;
  while (at < text_.size()) {
    const size_t line_end =
        text_[at] == '\n' || text_[at] == '\r' ? base64_line_end(view_, static_cast<ptrdiff_t>(at), ending_) : 0;
    if (line_end != 0) {
      // Goes on in the lane whose quads end here.
      Lane whole = lanes[at & 3];
      lanes[at & 3] = Lane{};
      for (Lane& lane : lanes) end_lane(lane, at, false, done);
      if (at == 0 && before_->base64.size != 0 && before_->base64.place == 0) whole = {0, 0, 0, true};
      at += line_end;
      lanes[at & 3] = whole;
      continue;
    }
    const uint8_t places = kQuadPlaces.of[text_[at]];
    size_t longest = 0;
    for (size_t place = 0; place < 4; ++place) {
      Lane& lane = lanes[(at - place) & 3];
      if ((places >> place & 1) != 0) {
        if (lane.count == 0 && !lane.goes_on) lane = {at, 0, place, false};
        longest = std::max(longest, ++lane.count);
      } else if (lane.count != 0 || lane.goes_on) {
        end_lane(lane, at, false, done);
      }
    }
    if (at >= marked_end && longest == 0) return;
    ++at;
  }
  for (Lane& lane : lanes) end_lane(lane, text_.size(), ending_ == Ending::more_follows, done);
}

void EncodedRuns::scan_hex(Run::Kind kind, size_t from, size_t block, size_t& done) {
  const size_t period = kind == Run::Kind::hex ? kHex.period : kSpacedHex.period;
  const size_t least = period * kPanDigitsMin - (period - 2);  // the last byte needs nothing behind it
  size_t runs[3] = {};
  const size_t marked_end = (block + 1) * kSignBlockBytes;
  const auto end_run = [&](size_t lane, size_t end, bool open) {
    const size_t start = end - runs[lane];
    if (runs[lane] >= least) {
      look({start, end, 0, kind, open});
      done = end;
    }
    runs[lane] = 0;
  };
  size_t at = from;
  for (; at < text_.size(); ++at) {
    size_t longest = 0;
    for (size_t lane = 0; lane < period; ++lane) {
      const size_t place = (at + period - lane) % period;
      if (fits_hex(text_[at], place) && (runs[lane] != 0 || place == 0))
        longest = std::max(longest, ++runs[lane]);
      else if (runs[lane] != 0)
        end_run(lane, at, false);
    }
    if (at >= marked_end && longest == 0) return;
  }
  for (size_t lane = 0; lane < period; ++lane) end_run(lane, at, ending_ == Ending::more_follows);
}

// A pair at an end of the run that more digits or letters of hex are glued to is no byte of it: they would be a number
// of their own once the pair is masked, and with them masked the pair would be something else.
void EncodedRuns::leave_glued_pairs(size_t& digits) {
  const auto is_glued = [this](ptrdiff_t at) { return is_digit_or_mask(view_.at(at)) || is_hex_letter(view_.at(at)); };
  if (!from_.empty() && is_glued(static_cast<ptrdiff_t>(from_.back()) + 2)) {
    digits -= is_digit(decoded_.back()) ? 1 : 0;
    decoded_.pop_back();
    from_.pop_back();
  }
  if (!from_.empty() && is_glued(static_cast<ptrdiff_t>(from_.front()) - 1)) {
    digits -= is_digit(decoded_.front()) ? 1 : 0;
    decoded_.erase(decoded_.begin());
    from_.erase(from_.begin());
  }
}

// Decodes one run and looks at its bytes.
void EncodedRuns::look(const Run& run) {
  const bool base64 = run.kind == Run::Kind::base64;
  const size_t period = base64 ? kBase64.period : run.kind == Run::Kind::hex ? kHex.period : kSpacedHex.period;
  decoded_.clear();
  from_.clear();
  size_t digits = 0, next_place = run.place;
  for (size_t at = run.start; at < run.end; ++at) {
    if (text_[at] == '\n' || text_[at] == '\r') continue;
    const size_t place = next_place;
    next_place = (next_place + 1) % period;
    const int byte = base64 ? base64_byte(text_, at, place) : hex_byte(text_, at, place);
    if (byte < 0) continue;
    decoded_.push_back(static_cast<uint8_t>(byte));
    from_.push_back(static_cast<uint32_t>(at));
    digits += is_digit(byte) ? 1 : 0;
  }
  if (run.kind == Run::Kind::spaced_hex) leave_glued_pairs(digits);
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
  const EncodedMemory& before = base64                       ? before_->base64
                                : run.kind == Run::Kind::hex ? before_->hex
                                                             : before_->spaced_hex;
  // Of a pair of hex that was cut, what is left is passed over: the byte counts as one before.
  const size_t first = !base64 && before.place != 0 ? period - before.place : 0;
  const bool goes_on = before.size != 0 && run.start == first && (first != 0 || before.place == run.place);
  const LeftContext left = goes_on ? left_of(before) : LeftContext{};
  text_found_.clear();
  scanner_->scan(TextView(decoded_, &left), Ending::complete, text_found_);
  for (const TextFinding& finding : text_found_) {
    if (finding.start >= starts_end) break;
    // The two characters that hold a byte of base64 may hold bits of its neighbours, which stay.
    found_->push_back({from_[finding.start], from_[finding.candidate.end - 1] + size_t{2}, finding.candidate,
                       base64 ? FindingForm::base64 : FindingForm::hex});
  }
}

namespace {

// The longest finding: number and track data.
constexpr size_t kBase64FindingMax = 256;
static_assert(kBase64FindingMax > (kCandidateBytesMax + kTrackTailBytesMax) * 4 / 3 + 2);

size_t decode_base64(std::span<const uint8_t> sextets, size_t skipped_bits, std::span<uint8_t> out) {
  const size_t count = std::min((sextets.size() * 6 - skipped_bits) / 8, out.size());
  for (size_t i = 0; i < count; ++i) {
    unsigned value = 0;
    for (size_t b = 0; b < 8; ++b) {
      const size_t bit = skipped_bits + i * 8 + b;
      value = value << 1 | (sextets[bit / 6] >> (5 - bit % 6) & 1u);
    }
    out[i] = static_cast<uint8_t>(value);
  }
  return count;
}

void encode_base64(std::span<const uint8_t> bytes, size_t skipped_bits, std::span<uint8_t> sextets) {
  for (size_t i = 0; i < bytes.size() * 8; ++i) {
    const size_t bit = skipped_bits + i;
    const unsigned place = 1u << (5 - bit % 6), sextet = sextets[bit / 6];
    sextets[bit / 6] = static_cast<uint8_t>((bytes[i / 8] >> (7 - i % 8) & 1) != 0 ? sextet | place : sextet & ~place);
  }
}

}  // namespace

void mask_base64(std::span<uint8_t> bytes, size_t digits, size_t tail,
                 const std::function<void(std::span<uint8_t>)>& mask) {
  std::array<uint8_t, kBase64FindingMax> before, sextets, decoded;
  std::array<uint16_t, kBase64FindingMax> from;
  size_t size = 0;
  for (size_t i = 0; i < bytes.size() && size < sextets.size(); ++i) {
    if (kSextets[bytes[i]] < 0) continue;  // the end of a line
    before[size] = sextets[size] = static_cast<uint8_t>(kSextets[bytes[i]]);
    from[size++] = static_cast<uint16_t>(i);
  }
  // The finding's characters begin with the one that holds its first byte's first bit; how many bits of that
  // character belong to a byte before follows from how many bytes the characters hold. Each of the three is tried: the
  // right one has as many digits as the finding, and begins and ends with one.
  const std::span<uint8_t> held(sextets.data(), size);
  for (size_t skip = 0; skip < 6; skip += 2) {
    const size_t count = decode_base64(held, skip, decoded);
    if (count <= tail) return;
    const std::span<uint8_t> all(decoded.data(), count), number = all.first(count - tail);
    const auto is = [](uint8_t c) { return is_digit(c); };
    if (static_cast<size_t>(std::count_if(number.begin(), number.end(), is)) != digits) continue;
    if (!is_digit(number.front()) || !is_digit(number.back())) continue;
    mask(all);
    encode_base64(all, skip, held);
    for (size_t i = 0; i < size; ++i) {
      if (sextets[i] != before[i]) bytes[from[i]] = static_cast<uint8_t>(kStandardAlphabet[sextets[i]]);
    }
    return;
  }
}

}  // namespace sluice::policies::cards
