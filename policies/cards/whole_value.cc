#include "policies/cards/whole_value.h"

#include <algorithm>

namespace sluice::policies {
namespace {

// A PostgreSQL numeric in binary without digits: their number, weight, sign and scale, two bytes each (numeric_send).
constexpr size_t kNumericZeroBytes = 8;

void stars(std::span<uint8_t> bytes) {
  std::fill(bytes.begin(), bytes.end(), '*');
}
void zeros(std::span<uint8_t> bytes) {
  std::fill(bytes.begin(), bytes.end(), uint8_t{0});
}

// "12.5e-3" becomes "00.0e-0"; what is no number in digits (Infinity) says nothing about one.
void zero_digits(std::span<uint8_t> bytes) {
  for (uint8_t& byte : bytes) {
    if (byte >= '0' && byte <= '9') byte = '0';
  }
}

void json_string(std::span<uint8_t> bytes) {
  if (bytes.size() == 1) {
    bytes[0] = '0';
  } else if (!bytes.empty()) {
    stars(bytes);
    bytes.front() = bytes.back() = '"';
  }
}

// `\x` and the hex of stars; the other form of bytea may hold stars as they are.
void bytea_text(std::span<uint8_t> bytes) {
  if (bytes.size() < 2 || bytes[0] != '\\' || bytes[1] != 'x') return stars(bytes);
  for (size_t i = 2; i < bytes.size(); ++i) bytes[i] = i % 2 == 0 ? '2' : 'a';
}

std::optional<size_t> text_form(std::span<uint8_t> bytes, ValueType type, WholeNumbers numbers) {
  switch (type) {
    case ValueType::text:
    case ValueType::copy_row:
      stars(bytes);
      return bytes.size();
    case ValueType::integer:
    case ValueType::numeric:
    case ValueType::floating:
      if (numbers == WholeNumbers::null) return std::nullopt;
      zero_digits(bytes);
      return bytes.size();
    case ValueType::bytea:
      bytea_text(bytes);
      return bytes.size();
    case ValueType::json:
    case ValueType::jsonb:
      json_string(bytes);
      return bytes.size();
    default:
      return std::nullopt;
  }
}

std::optional<size_t> binary_form(std::span<uint8_t> bytes, ValueType type, WholeNumbers numbers) {
  switch (type) {
    case ValueType::text:
    case ValueType::bytea:
      stars(bytes);
      return bytes.size();
    case ValueType::integer:
    case ValueType::floating:
      if (numbers == WholeNumbers::null) return std::nullopt;
      zeros(bytes);
      return bytes.size();
    case ValueType::numeric:
      if (numbers == WholeNumbers::null || bytes.size() < kNumericZeroBytes) return std::nullopt;
      zeros(bytes.first(kNumericZeroBytes));
      return kNumericZeroBytes;
    case ValueType::json:
      json_string(bytes);
      return bytes.size();
    case ValueType::jsonb:  // a version byte, then text
      if (bytes.size() < 2) return std::nullopt;
      json_string(bytes.subspan(1));
      return bytes.size();
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<size_t> mask_whole(std::span<uint8_t> bytes, ValueType type, ValueFormat format, WholeNumbers numbers) {
  if (bytes.empty()) return 0;
  return format == ValueFormat::text ? text_form(bytes, type, numbers) : binary_form(bytes, type, numbers);
}

void mask_whole_part(std::span<uint8_t> bytes, ValueType type, ValueFormat format, uint64_t before, uint64_t behind) {
  if (bytes.empty()) return;
  if (format == ValueFormat::text && type == ValueType::bytea) {
    for (size_t i = 0; i < bytes.size(); ++i) {
      const uint64_t at = before + i;
      bytes[i] = at == 0 ? '\\' : at == 1 ? 'x' : at % 2 == 0 ? '2' : 'a';
    }
    return;
  }
  const bool is_json = type == ValueType::json || type == ValueType::jsonb;
  const uint64_t opening = type == ValueType::jsonb && format == ValueFormat::binary ? 1 : 0;
  const uint8_t version = before == 0 ? bytes.front() : 0;
  if (format == ValueFormat::binary && !is_json && type != ValueType::text && type != ValueType::bytea) {
    zeros(bytes);
    return;
  }
  stars(bytes);
  if (!is_json) return;
  if (before == 0 && opening == 1) bytes.front() = version;
  if (before <= opening && opening - before < bytes.size()) bytes[opening - before] = '"';
  if (behind == 0) bytes.back() = '"';
}

}  // namespace sluice::policies
