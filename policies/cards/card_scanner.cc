#include "policies/cards/card_scanner.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cctype>
#include <cstring>
#include <utility>

#include "policies/cards/card_scanner_engine.h"
#include "policies/cards/encoded_bytes.h"
#include "policies/cards/hidden_text.h"
#include "policies/cards/hidden_unit.h"
#include "policies/cards/mask_finding.h"
#include "policies/cards/numbers.h"
#include "policies/cards/packed_digits.h"
#include "policies/cards/secrets.h"
#include "policies/cards/track_data.h"
#include "policies/cards/value_scanner.h"

namespace sluice::policies {
namespace {

using cards::is_digit;
using cards::ValueScanner;

constexpr size_t kFirstKept = 6, kFirstKeptLong = 8;
constexpr uint8_t kMask = '*';
constexpr size_t kShownBytesMax = 64;  // of a finding of a pattern
// The longest finding within bytes that are held as hex: 37 characters in their longest form, with what shows nothing
// between them.
constexpr size_t kHexFindingBytesMax = 2048;
static_assert(kHexFindingBytesMax >= (19 + 18) * (cards::kUnitBytesMax + cards::kNothingBytesMax));

// Which digits of a finding stay.
struct Kept {
  size_t first = 0, last = 0, digits = 0;

  Kept(const Finding& finding, MaskStyle style) : digits(finding.digits) {
    if (style == MaskStyle::bin6_last4) first = kFirstKept;
    if (style == MaskStyle::bin8_last4) first = kFirstKeptLong;
    first = std::min<size_t>(first, finding.first_kept);
    if (style != MaskStyle::full) last = finding.last_kept;
  }
  [[nodiscard]] bool keeps(size_t digit) const { return digit < first || digit + last >= digits; }
};

void mask_digits(std::span<uint8_t> bytes, const Kept& kept) {
  if (bytes.size() == kept.digits && kept.first + kept.last <= kept.digits) {  // no separators
    std::memset(bytes.data() + kept.first, kMask, kept.digits - kept.first - kept.last);
    return;
  }
  size_t digit = 0;
  for (uint8_t& c : bytes) {
    if (is_digit(c) && !kept.keeps(digit++)) c = kMask;
  }
}

void mask_characters(std::span<uint8_t> bytes, const Finding& finding, const Kept& kept) {
  const size_t tail = std::min<size_t>(finding.tail, bytes.size());
  mask_digits(bytes.first(bytes.size() - tail), kept);
  cards::mask_track_tail(bytes.last(tail));
}

// Decodes hex, with what stands between its bytes passed over, masks what it holds, and writes back what changed.
template <typename Mask>
void mask_within_hex(std::span<uint8_t> text, Mask mask) {
  std::array<uint8_t, kHexFindingBytesMax> decoded, before;
  std::array<uint16_t, kHexFindingBytesMax> from;
  size_t size = 0;
  for (size_t i = 0; i + 1 < text.size() && size < decoded.size();) {
    const int high = cards::hex_value(text[i]), low = cards::hex_value(text[i + 1]);
    if (high < 0 || low < 0) {
      ++i;
      continue;
    }
    decoded[size] = before[size] = static_cast<uint8_t>(high << 4 | low);
    from[size++] = static_cast<uint16_t>(i);
    i += 2;
  }
  mask(std::span(decoded).first(size));
  constexpr char kHex[] = "0123456789abcdef";
  for (size_t i = 0; i < size; ++i) {
    if ((decoded[i] ^ before[i]) >> 4 != 0) text[from[i]] = static_cast<uint8_t>(kHex[decoded[i] >> 4]);
    if (((decoded[i] ^ before[i]) & 0xF) != 0) text[from[i] + 1u] = static_cast<uint8_t>(kHex[decoded[i] & 0xF]);
  }
}

void mask_octal_escapes(std::span<uint8_t> bytes, const Finding& finding, const Kept& kept) {
  size_t digit = 0;
  for (size_t i = 0; i < bytes.size();) {
    const cards::EscapedByte byte = cards::read_escaped(bytes, i);
    const size_t length = byte.bytes == 0 ? 1 : byte.bytes;
    const bool hides = digit == finding.digits  // track data
                           ? byte.value != '=' && byte.value != '^'
                           : is_digit(byte.value) && !kept.keeps(digit++);
    if (hides && length == 1) {
      bytes[i] = kMask;
    } else if (hides && length == 4) {
      bytes[i + 1] = '0', bytes[i + 2] = '5', bytes[i + 3] = '2';  // \052 is '*'
    }
    i += length;
  }
}

}  // namespace

namespace cards {

void mask_finding(std::span<uint8_t> bytes, const Finding& finding, MaskStyle style) {
  const Kept kept(finding, style);
  if (finding.held_as == HeldAs::hex) {
    return mask_within_hex(bytes, [&](std::span<uint8_t> decoded) {
      Finding within = finding;
      within.held_as = HeldAs::bytes;
      mask_finding(decoded, within, style);
    });
  }
  switch (finding.form) {
    case FindingForm::characters:
      return mask_characters(bytes, finding, kept);
    case FindingForm::packed_decimal:
    case FindingForm::tagged_decimal:
      return mask_packed(bytes, finding, style);
    case FindingForm::tagged_hex:
      return mask_within_hex(bytes, [&](std::span<uint8_t> decoded) { mask_packed(decoded, finding, style); });
    case FindingForm::decimal:
      return mask_number_text(bytes, finding.digits, style, finding.filler);
    case FindingForm::int8_binary:
      return mask_int8(bytes, style);
    case FindingForm::numeric_binary:
      return mask_numeric(bytes, style);
    case FindingForm::float8_binary:
      return mask_float8(bytes, style);
    case FindingForm::hex:
      return mask_within_hex(bytes, [&](std::span<uint8_t> decoded) { mask_characters(decoded, finding, kept); });
    case FindingForm::hidden:
      return mask_hidden(bytes, kept.digits, kept.first, kept.last);
    case FindingForm::base64:
      return mask_base64(bytes, finding.digits, finding.tail,
                         [&](std::span<uint8_t> decoded) { mask_characters(decoded, finding, kept); });
    case FindingForm::octal_escapes:
      return mask_octal_escapes(bytes, finding, kept);
    default:
      return cover(bytes, finding.form);
  }
}

}  // namespace cards

namespace {

class Scanner final : public CardScanner {
 public:
  explicit Scanner(std::unique_ptr<ValueScanner> values) : values_(std::move(values)) {}

  void scan(std::span<const ValueView> values, std::vector<Finding>& findings, std::span<size_t> settled) override {
    assert(settled.empty() || settled.size() == values.size());
    findings.clear();
    for (size_t i = 0; i < values.size(); ++i) {
      assert(!settled.empty() || values[i].part == ValuePart::whole);
      const size_t decided = values_->scan(values[i], static_cast<uint32_t>(i), findings);
      if (!settled.empty()) settled[i] = decided;
    }
  }

  void mask(std::span<ValueView> values, std::span<const Finding> findings, MaskStyle style) override {
    for (const Finding& finding : findings) {
      assert(finding.value < values.size());
      const std::span<uint8_t> bytes = values[finding.value].bytes;
      assert(finding.offset <= bytes.size() && finding.length <= bytes.size() - finding.offset);
      cards::mask_finding(bytes.subspan(finding.offset, finding.length), finding, style);
    }
  }

 private:
  std::unique_ptr<ValueScanner> values_;
};

}  // namespace

std::unique_ptr<CardScanner> create_card_scanner(cards::Engine engine, std::string& why, DetectorOptions options) {
  std::unique_ptr<ValueScanner> values = ValueScanner::create(engine, options, why);
  if (values == nullptr) return nullptr;
  return std::make_unique<Scanner>(std::move(values));
}

std::unique_ptr<CardScanner> CardScanner::create(std::string& why, DetectorOptions options) {
  return create_card_scanner(cards::Engine::automatic, why, options);
}

std::optional<MaskStyle> parse_mask_style(std::string_view word) {
  if (word == "bin6_last4") return MaskStyle::bin6_last4;
  if (word == "last4") return MaskStyle::last4;
  if (word == "full") return MaskStyle::full;
  if (word == "bin8_last4") return MaskStyle::bin8_last4;
  return std::nullopt;
}

size_t mask_text(CardScanner& scanner, std::string& text, MaskStyle style) {
  ValueView value;
  value.bytes = {reinterpret_cast<uint8_t*>(text.data()), text.size()};
  std::vector<Finding> findings;
  scanner.scan({&value, 1}, findings, {});
  if (!findings.empty()) scanner.mask({&value, 1}, findings, style);
  return findings.size();
}

std::string_view CardScanner::kind_name(const Finding& finding) const {
  return to_string(finding.kind);
}

std::string masked_digits(std::span<const uint8_t> bytes, const Finding& finding, MaskStyle style) {
  if (!has_brand(finding.kind)) {
    std::string stars;
    for (const uint8_t c : bytes.subspan(finding.offset, std::min<size_t>(finding.length, kShownBytesMax)))
      stars += c > ' ' && c < 0x7f && std::isalnum(c) == 0 && c != '"' && c != '\\' ? static_cast<char>(c) : '*';
    return stars;
  }
  const Kept kept(finding, style);
  std::string shown;
  const bool shows = finding.form == FindingForm::characters || finding.form == FindingForm::decimal;
  if (!shows || finding.held_as != HeldAs::bytes) return std::string(finding.digits, static_cast<char>(kMask));
  const size_t length = finding.length - std::min<size_t>(finding.tail, finding.length);
  for (uint8_t c : bytes.subspan(finding.offset, length)) {
    if (is_digit(c)) shown += kept.keeps(shown.size()) ? static_cast<char>(c) : static_cast<char>(kMask);
  }
  return shown;
}

}  // namespace sluice::policies
