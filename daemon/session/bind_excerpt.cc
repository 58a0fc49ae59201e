#include "daemon/session/bind_excerpt.h"

#include <algorithm>
#include <charconv>

namespace sluice::session {
namespace {

using policies::ValueFormat;
using policies::ValuePart;
using policies::ValueType;

// Two's complement, big-endian, as the wire has it; decimal is what a person searches for.
void write_integer(std::span<const uint8_t> bytes, std::string& out) {
  uint64_t bits = (bytes[0] & 0x80) != 0 ? UINT64_MAX : 0;
  for (const uint8_t byte : bytes) bits = (bits << 8) | byte;
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, static_cast<int64_t>(bits));
  out.assign(digits, end.ptr);
}

void write_hex(std::span<const uint8_t> bytes, std::string& out) {
  static constexpr char kDigits[] = "0123456789abcdef";
  out.assign("\\x");
  for (const uint8_t byte : bytes) {
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
}

// A value as text. Binary forms that are text inside are shown as it, integers in decimal, the rest in hex.
void write_value(const BindValue& value, std::span<const uint8_t> masked, std::string& out) {
  const auto as_text = [&](std::span<const uint8_t> bytes) {
    out.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  if (value.format == ValueFormat::text) return as_text(masked);
  switch (value.type) {
    case ValueType::text:
    case ValueType::json:
      return as_text(masked);
    case ValueType::jsonb:
      return as_text(masked.empty() ? masked : masked.subspan(1));  // a version byte comes first
    case ValueType::integer:
      if (masked.size() == value.bytes_total && !masked.empty() && masked.size() <= 8)
        return write_integer(masked, out);
      break;
    default:
      break;
  }
  write_hex(masked.first(std::min(masked.size(), BindExcerpt::kKeptBytes / 2)), out);
}

}  // namespace

void BindExcerpt::collect(std::span<const BindValue> values) {
  copies_.clear();
  views_.clear();
  streams_.assign(values.size(), {});
  size_t total = 0;
  for (const BindValue& value : values) total += std::min(value.bytes.size(), kScannedBytes);
  copies_.reserve(total);  // the views below point into it
  for (size_t i = 0; i < values.size(); ++i) {
    const BindValue& value = values[i];
    const size_t size = value.is_null ? 0 : std::min(value.bytes.size(), kScannedBytes);
    const size_t at = copies_.size();
    copies_.insert(copies_.end(), value.bytes.data(), value.bytes.data() + size);
    policies::ValueView view;
    view.bytes = {copies_.data() + at, size};
    view.type = value.type;
    view.format = value.format;
    view.column = static_cast<uint16_t>(i);
    if (!value.is_null && size < value.bytes_total) {
      view.part = ValuePart::first;
      view.stream = &streams_[i];
    }
    views_.push_back(view);
  }
}

void BindExcerpt::add(std::span<const BindValue> values, policies::NameKind secrets, policies::CardScanner& scanner,
                      events::EventBuilder& event) {
  const size_t shown = std::min(values.size(), events::kBindValuesMax);
  collect(values.first(shown));
  for (policies::ValueView& view : views_) view.name = secrets;
  settled_.assign(shown, 0);
  if (shown > 0) {
    scanner.scan(views_, findings_, settled_);
    if (!findings_.empty()) scanner.mask(views_, findings_, policies::MaskStyle::bin6_last4);
  }
  uint64_t sizes_unknown = 0;
  for (size_t i = 0; i < shown; ++i) {
    if (values[i].is_null) {
      event.bind_value({}, UINT64_MAX);
      continue;
    }
    // Only what the detector has settled may be kept: an undecided tail could be the first digits of a card number.
    const size_t kept = std::min(settled_[i], kKeptBytes);
    write_value(values[i], views_[i].bytes.first(kept), text_);
    const bool size_known = values[i].bytes_total != kBytesTotalUnknown;
    sizes_unknown += size_known ? 0 : 1;
    event.bind_value(text_, size_known ? values[i].bytes_total : values[i].bytes.size());
  }
  for (size_t i = shown; i < values.size(); ++i)
    event.bind_value({}, UINT64_MAX);  // counted by the builder as left out
  if (sizes_unknown > 0) event.counter("bind_sizes_unknown", sizes_unknown);
}

}  // namespace sluice::session
