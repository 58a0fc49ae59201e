#include "policies/cards/hidden_text.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "policies/cards/encoded_bytes.h"
#include "policies/cards/hidden_unit.h"

namespace sluice::policies::cards {
namespace {

// Of base64 (RFC 4648, sections 4 and 5), by character; -1 for the rest.
constexpr std::array<int8_t, 256> make_sextets() {
  std::array<int8_t, 256> table{};
  for (int8_t& value : table) value = -1;
  for (int8_t i = 0; i < 26; ++i) table['A' + i] = i, table['a' + i] = static_cast<int8_t>(26 + i);
  for (int8_t i = 0; i < 10; ++i) table['0' + i] = static_cast<int8_t>(52 + i);
  table['+'] = table['-'] = 62;
  table['/'] = table['_'] = 63;
  return table;
}
constexpr std::array<int8_t, 256> kSextets = make_sextets();
constexpr std::string_view kStandardAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr size_t kRunMin = kEncodedRunMin;
constexpr size_t kHexRunMin = 2 * kPanDigitsMin;
// A run is decoded in pieces of this size, which overlap by more than a candidate and its context.
constexpr size_t kPieceChars = 16384, kOverlapChars = 512;

bool enough_digits(std::span<const uint8_t> bytes) {
  size_t count = 0;
  for (uint8_t c : bytes) count += is_digit(c) ? 1 : 0;
  return count >= kPanDigitsMin;
}

}  // namespace

bool HiddenText::may_hide(std::span<const uint8_t> bytes) {
  static const MayHide vectors = choose_may_hide(vector_level());
  if (vectors != nullptr) return vectors(bytes.data(), bytes.size());
  size_t run = 0;
  for (uint8_t c : bytes) {
    run = kSextets[c] >= 0 ? run + 1 : 0;
    if (run >= kRunMin || c == '%' || c == '&' || c == '\\' || c == 0x1b || c == '+' || c == 0 || c >= 0xC2)
      return true;
  }
  for (size_t i = 2; i < bytes.size(); ++i) {
    const bool two = (bytes[i] == ' ' || bytes[i] == '-') && bytes[i - 1] == ' ' && is_digit(bytes[i - 2]);
    const bool other = !is_digit(bytes[i]) && !is_digit(bytes[i - 1]) && is_digit(bytes[i - 2]);
    if (two || (other && kUnitStarts.is[bytes[i]] && kUnitStarts.is[bytes[i - 1]])) return true;
  }
  return false;
}

void HiddenText::show(const TextView& text, const LeftContext& raw_left, bool more_follows) {
  const std::span<const uint8_t> bytes = text.bytes();
  const TextView raw(bytes, &raw_left);
  shown_.clear();
  steps_.assign(1, {0, 0});
  size_t at = 0, plain_from = 0;
  const auto take_plain = [&](size_t end) {
    shown_.insert(shown_.end(), bytes.begin() + static_cast<ptrdiff_t>(plain_from),
                  bytes.begin() + static_cast<ptrdiff_t>(end));
  };
  while (at < bytes.size()) {
    const uint8_t c = bytes[at];
    const bool separator = c == ' ' || c == '-' || c == '.' || c == '/' || c == '\t' || c == '_';
    if (!kUnitStarts.is[c] || (separator && text.tabs() == Tabs::part)) {
      ++at;
      continue;
    }
    const auto place = static_cast<ptrdiff_t>(at);
    const int before[2] = {raw.at(place - 1), raw.at(place - 2)};
    const Unit unit = read_unit(bytes, at, before, more_follows);
    if (unit.kind == Unit::Kind::plain) {
      ++at;
      continue;
    }
    take_plain(at);
    if (unit.kind == Unit::Kind::cut) {
      raw_end_ = at;
      return;
    }
    steps_.push_back({shown_.size(), at});
    if (unit.kind == Unit::Kind::character) shown_.push_back(unit.character);
    at += unit.bytes;
    steps_.push_back({shown_.size(), at});
    plain_from = at;
  }
  take_plain(at);
  raw_end_ = at;
}

size_t HiddenText::raw_of(size_t shown) const {
  if (shown >= shown_.size()) return raw_end_;
  const auto behind = std::upper_bound(steps_.begin(), steps_.end(), shown,
                                       [](size_t value, const Step& step) { return value < step.shown; });
  const Step& step = *(behind - 1);
  return step.raw + (shown - step.shown);
}

// Just behind the unit that is shown at `shown` − 1.
size_t HiddenText::raw_end_of(size_t shown) const {
  const auto step = std::lower_bound(steps_.begin(), steps_.end(), shown,
                                     [](const Step& a, size_t value) { return a.shown < value; });
  if (step != steps_.end() && step->shown == shown) return step->raw;
  const Step& before = *(step - 1);
  return before.raw + (shown - before.shown);
}

size_t HiddenText::unit_start(size_t at) const {
  if (at >= raw_end_) return raw_end_;
  const auto behind = std::upper_bound(steps_.begin(), steps_.end(), at,
                                       [](size_t value, const Step& step) { return value < step.raw; });
  const Step& step = *(behind - 1);
  const bool is_unit = behind != steps_.end() && behind->shown - step.shown != behind->raw - step.raw;
  return is_unit ? step.raw : at;
}

void HiddenText::append_shown(size_t count, LeftContext& left) const {
  const auto behind = std::upper_bound(steps_.begin(), steps_.end(), count,
                                       [](size_t value, const Step& step) { return value < step.raw; });
  const Step& step = *(behind - 1);
  const size_t shown = count >= raw_end_ ? shown_.size() : step.shown + (count - step.raw);
  left.append(std::span(shown_).first(std::min(shown, shown_.size())));
}

void HiddenText::scan(TextScanner& scanner, const TextView& text, const LeftContext& raw_left,
                      const LeftContext& shown_left, Ending ending, size_t& decided,
                      std::vector<HiddenFinding>& found) {
  const bool more_follows = ending == Ending::more_follows;
  show(text, raw_left, more_follows);
  text_found_.clear();
  const size_t shown_decided = scanner.scan(TextView(shown_, &shown_left, text.tabs()), ending, text_found_);
  for (const TextFinding& finding : text_found_) {
    found.push_back({raw_of(finding.start), raw_end_of(finding.candidate.end), finding.candidate, FindingForm::hidden});
  }
  if (more_follows) decided = std::min(decided, raw_of(shown_decided));
  scan_runs(scanner, text.bytes(), found);
  std::stable_sort(found.begin(), found.end(),
                   [](const HiddenFinding& a, const HiddenFinding& b) { return a.start < b.start; });
  size_t end = 0;
  std::erase_if(found, [&](const HiddenFinding& finding) {
    const bool overlaps = finding.start < end;
    if (!overlaps) end = finding.end;
    return overlaps;
  });
  if (!more_follows) return;
  // A run of base64 or hex is looked at whole where it can be held back.
  const std::span<const uint8_t> bytes = text.bytes();
  size_t start = decided;
  const size_t limit = bytes.size() > kHeldRunBytesMax ? bytes.size() - kHeldRunBytesMax : 0;
  while (start > limit && kSextets[bytes[start - 1]] >= 0) --start;
  if (start > limit || start == 0) decided = std::min(decided, start);
}

// Runs that may be the base64 of digits (never two digits side by side) or their hex (every second one is 2 or 3).
void HiddenText::scan_runs(TextScanner& scanner, std::span<const uint8_t> text, std::vector<HiddenFinding>& found) {
  size_t base64 = 0, hex[2] = {0, 0}, hex_start = 0;  // lengths of what goes on; hex by odd and even places
  bool hex_likely = false;
  const auto in_pieces = [&](size_t start, size_t end, auto scan) {
    for (size_t piece = start; piece < end; piece += kPieceChars - kOverlapChars) {
      scan(text.subspan(piece, std::min(kPieceChars, end - piece)), piece);
      if (piece + kPieceChars >= end) break;
    }
  };
  for (size_t at = 0; at <= text.size(); ++at) {
    const int c = at < text.size() ? text[at] : TextView::kNone;
    const bool word = c >= 0 && kSextets[static_cast<size_t>(c)] >= 0;
    const bool two_digits = is_digit(c) && at > 0 && is_digit(text[at - 1]);
    if (!word || two_digits) {
      if (base64 >= kRunMin)
        in_pieces(at - base64, at, [&](auto run, size_t start) { scan_base64(scanner, run, start, found); });
      base64 = word ? 1 : 0;
    } else {
      ++base64;
    }
    if (hex_value(c) < 0) {
      if (hex_likely) in_pieces(hex_start, at, [&](auto run, size_t start) { scan_hex(scanner, run, start, found); });
      hex_likely = false;
      hex_start = at + 1;
      hex[0] = hex[1] = 0;
      continue;
    }
    size_t& run = hex[at & 1];
    run = c == '2' || c == '3' ? run + 1 : 0;
    hex_likely |= run >= kPanDigitsMin;
  }
}

// All four phases: what was encoded need not begin where the run does.
void HiddenText::scan_base64(TextScanner& scanner, std::span<const uint8_t> run, size_t at,
                             std::vector<HiddenFinding>& found) {
  for (size_t phase = 0; phase < 4; ++phase) {
    decoded_.clear();
    for (size_t i = phase; i + 1 < run.size(); i += 4) {
      const auto sextet = [&](size_t k) {
        return i + k < run.size() ? static_cast<unsigned>(kSextets[run[i + k]]) : 0u;
      };
      const unsigned bits = sextet(0) << 18 | sextet(1) << 12 | sextet(2) << 6 | sextet(3);
      decoded_.push_back(static_cast<uint8_t>(bits >> 16));
      if (i + 2 < run.size()) decoded_.push_back(static_cast<uint8_t>(bits >> 8));
      if (i + 3 < run.size()) decoded_.push_back(static_cast<uint8_t>(bits));
    }
    if (!enough_digits(decoded_)) continue;
    text_found_.clear();
    scanner.scan(TextView(decoded_, nullptr), Ending::complete, text_found_);
    for (const TextFinding& finding : text_found_) {
      // The characters that hold the first and the last byte; both may hold bits of a neighbour, which stay.
      const size_t first = phase + finding.start * 8 / 6, last = phase + (finding.candidate.end * 8 - 1) / 6;
      found.push_back({at + first, at + last + 1, finding.candidate, FindingForm::base64});
    }
  }
}

void HiddenText::scan_hex(TextScanner& scanner, std::span<const uint8_t> run, size_t at,
                          std::vector<HiddenFinding>& found) {
  for (size_t start = 0; start + kHexRunMin <= run.size();) {
    if (hex_value(run[start]) < 0) {
      ++start;
      continue;
    }
    size_t end = start;
    while (end < run.size() && hex_value(run[end]) >= 0) ++end;
    for (size_t phase = 0; phase < 2 && end - start >= kHexRunMin; ++phase) {
      decoded_.clear();
      for (size_t i = start + phase; i + 1 < end; i += 2)
        decoded_.push_back(static_cast<uint8_t>(hex_value(run[i]) << 4 | hex_value(run[i + 1])));
      if (!enough_digits(decoded_)) continue;
      text_found_.clear();
      scanner.scan(TextView(decoded_, nullptr), Ending::complete, text_found_);
      for (const TextFinding& finding : text_found_) {
        found.push_back({at + start + phase + 2 * finding.start, at + start + phase + 2 * finding.candidate.end,
                         finding.candidate, FindingForm::hex});
      }
    }
    start = end;
  }
}

void mask_hidden(std::span<uint8_t> bytes, size_t digits, size_t first_kept, size_t last_kept) {
  size_t digit = 0;
  for (size_t at = 0; at < bytes.size();) {
    const int before[2] = {at > 0 ? bytes[at - 1] : TextView::kNone, at > 1 ? bytes[at - 2] : TextView::kNone};
    Unit unit = kUnitStarts.is[bytes[at]] ? read_unit(bytes, at, before, false) : Unit{};
    if (unit.kind == Unit::Kind::plain) unit.character = bytes[at];
    // A masked EBCDIC digit no longer tells that its neighbour is one.
    if (bytes[at] >= 0xF0 && bytes[at] <= 0xF9 && unit.bytes == 1)
      unit.character = static_cast<uint8_t>('0' + bytes[at] - 0xF0);
    if (unit.kind != Unit::Kind::nothing && is_digit(unit.character)) {
      if (digit >= first_kept && digit + last_kept < digits) mask_unit(bytes.subspan(at, unit.bytes));
      ++digit;
    }
    at += unit.bytes;
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
        const auto value = static_cast<unsigned>(kSextets[character]);
        const unsigned place = 1u << (5 - bit % 6);
        const unsigned changed = ('*' >> (7 - b) & 1) != 0 ? value | place : value & ~place;
        if (changed != value) character = static_cast<uint8_t>(kStandardAlphabet[changed]);
      }
    }
    return;
  }
}

}  // namespace sluice::policies::cards
