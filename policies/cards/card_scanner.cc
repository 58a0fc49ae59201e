#include "policies/cards/card_scanner.h"

#include <algorithm>
#include <cassert>
#include <cctype>
#include <cstring>
#include <utility>

#include "policies/cards/card_scanner_engine.h"
#include "policies/cards/encoded_bytes.h"
#include "policies/cards/hidden_text.h"
#include "policies/cards/mask_finding.h"
#include "policies/cards/numbers.h"
#include "policies/cards/secrets.h"
#include "policies/cards/value_scanner.h"

namespace sluice::policies {
namespace {

using cards::is_digit;
using cards::ValueScanner;

constexpr size_t kFirstKept = 6, kFirstKeptLong = 8;
constexpr uint8_t kMask = '*';
constexpr size_t kShownBytesMax = 64;  // of a finding of a pattern

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

void mask_characters(std::span<uint8_t> bytes, const Kept& kept) {
  if (bytes.size() == kept.digits && kept.first + kept.last <= kept.digits) {  // no separators
    std::memset(bytes.data() + kept.first, kMask, kept.digits - kept.first - kept.last);
    return;
  }
  size_t digit = 0;
  for (uint8_t& c : bytes) {
    if (is_digit(c) && !kept.keeps(digit++)) c = kMask;
  }
}

void mask_hex(std::span<uint8_t> bytes, const Kept& kept) {
  size_t digit = 0;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    const int value = cards::hex_value(bytes[i]) << 4 | cards::hex_value(bytes[i + 1]);
    if (!is_digit(value) || kept.keeps(digit++)) continue;
    bytes[i] = '2';  // 0x2A is '*'
    bytes[i + 1] = 'a';
  }
}

void mask_octal_escapes(std::span<uint8_t> bytes, const Kept& kept) {
  size_t digit = 0;
  for (size_t i = 0; i < bytes.size();) {
    const cards::EscapedByte byte = cards::read_escaped(bytes, i);
    const size_t length = byte.bytes == 0 ? 1 : byte.bytes;
    if (is_digit(byte.value) && !kept.keeps(digit++)) {
      if (length == 1) {
        bytes[i] = kMask;
      } else {
        bytes[i + 1] = '0', bytes[i + 2] = '5', bytes[i + 3] = '2';  // \052 is '*'
      }
    }
    i += length;
  }
}

}  // namespace

namespace cards {

void mask_finding(std::span<uint8_t> bytes, const Finding& finding, MaskStyle style) {
  const Kept kept(finding, style);
  switch (finding.form) {
    case FindingForm::characters:
      return mask_characters(bytes, kept);
    case FindingForm::decimal:
      return mask_number_text(bytes, finding.digits, style);
    case FindingForm::int8_binary:
      return mask_int8(bytes, style);
    case FindingForm::numeric_binary:
      return mask_numeric(bytes, style);
    case FindingForm::float8_binary:
      return mask_float8(bytes, style);
    case FindingForm::hex:
      return mask_hex(bytes, kept);
    case FindingForm::hidden:
      return mask_hidden(bytes, kept.digits, kept.first, kept.last);
    case FindingForm::base64:
      return mask_base64(bytes, kept.digits, kept.first, kept.last);
    case FindingForm::octal_escapes:
      return mask_octal_escapes(bytes, kept);
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
  if (finding.form != FindingForm::characters && finding.form != FindingForm::decimal)
    return std::string(finding.digits, static_cast<char>(kMask));
  for (uint8_t c : bytes.subspan(finding.offset, finding.length)) {
    if (is_digit(c)) shown += kept.keeps(shown.size()) ? static_cast<char>(c) : static_cast<char>(kMask);
  }
  return shown;
}

}  // namespace sluice::policies
