#include "policies/cards/encoded_bytes.h"

#include <algorithm>

#include "policies/cards/value_part.h"

namespace sluice::policies::cards {
namespace {

// Decoded at a time; far more than what the detector holds back.
constexpr size_t kDecodedBytesMax = 16384;
static_assert(kDecodedBytesMax > 4 * kReachBytes);

enum Mode : uint8_t { kUndecided = 0, kHex = 1, kEscapes = 2, kCharacters = 3 };

constexpr size_t kHexPrefixBytes = 2;  // "\x"

}  // namespace

int hex_value(int c) {
  if (is_digit(c)) return c - '0';
  if (is_hex_letter(c)) return (c | 0x20) - 'a' + 10;
  return -1;
}

EscapedByte read_escaped(std::span<const uint8_t> bytes, size_t at) {
  if (bytes[at] != '\\') return {bytes[at], 1};
  if (at + 1 >= bytes.size()) return {'\\', 0};
  if (bytes[at + 1] == '\\') return {'\\', 2};
  unsigned value = 0;
  for (size_t i = 1; i <= 3; ++i) {
    if (at + i >= bytes.size()) return {'\\', 0};
    const uint8_t c = bytes[at + i];
    if (c < '0' || c > '7') return {'\\', 1};
    value = value * 8 + (c - '0');
  }
  return {static_cast<uint8_t>(value), 4};
}

size_t ValueScanner::scan_bytea_text(Part& part) {
  size_t from = 0;
  if (part.memory.mode == kUndecided) {
    if (part.bytes.size() < kHexPrefixBytes && part.ending == Ending::more_follows) return 0;
    const bool hex = part.bytes.size() >= kHexPrefixBytes && part.bytes[0] == '\\' && part.bytes[1] == 'x';
    part.memory.mode = hex ? kHex : kEscapes;
    from = hex ? kHexPrefixBytes : 0;
  }
  if (part.memory.mode == kHex) return scan_hex(part, from);
  if (part.memory.mode == kEscapes) return scan_octal_escapes(part);
  return scan_characters(part);
}

size_t ValueScanner::scan_hex(Part& part, size_t from) {
  size_t at = from;
  while (true) {
    decoded_.clear();
    size_t end = at;
    bool malformed = false;
    while (end + 1 < part.bytes.size() && decoded_.size() < kDecodedBytesMax) {
      const int high = hex_value(part.bytes[end]), low = hex_value(part.bytes[end + 1]);
      malformed = high < 0 || low < 0;
      if (malformed) break;
      decoded_.push_back(static_cast<uint8_t>(high << 4 | low));
      end += 2;
    }
    const bool block_full = !malformed && end + 1 < part.bytes.size();
    const Ending ending = malformed ? Ending::complete : block_full ? Ending::more_follows : part.ending;
    const size_t first_finding = part.findings->size();
    Part bytes{decoded_, ValueType::bytea, ValueFormat::binary, ending,        part.memory,
               0,        part.value,       part.column,         part.findings, part.name};
    const size_t decided = scan_bytes(bytes);
    part.memory = bytes.memory;
    for (size_t i = first_finding; i < part.findings->size(); ++i) {
      Finding& finding = (*part.findings)[i];
      finding.offset = static_cast<uint32_t>(part.base + at + 2 * size_t{finding.offset});
      finding.length *= 2;
      finding.rest *= 2;
      finding.held_as = HeldAs::hex;
    }
    at += 2 * decided;
    if (block_full) continue;
    if (!malformed) return at;
    // Not hex after all: what follows is looked at as it stands.
    part.memory.mode = kCharacters;
    part.memory.left = LeftContext{};
    part.memory.hidden = HiddenMemory{};
    Part rest = part.behind(at);
    const size_t rest_decided = scan_characters(rest);
    part.memory = rest.memory;
    return at + rest_decided;
  }
}

size_t ValueScanner::scan_octal_escapes(Part& part) {
  size_t at = 0;
  while (true) {
    decoded_.clear();
    decoded_from_.clear();
    size_t end = at;
    bool cut = false;  // within an escape whose rest is still to come
    while (end < part.bytes.size() && decoded_.size() < kDecodedBytesMax && !cut) {
      EscapedByte byte = read_escaped(part.bytes, end);
      cut = byte.bytes == 0 && part.ending == Ending::more_follows;
      if (cut) break;
      decoded_.push_back(byte.value);
      decoded_from_.push_back(static_cast<uint32_t>(end));
      end += std::max<size_t>(byte.bytes, 1);
    }
    decoded_from_.push_back(static_cast<uint32_t>(end));
    const bool block_full = !cut && end < part.bytes.size();
    const Ending ending = block_full ? Ending::more_follows : part.ending;
    text_found_.clear();
    const size_t decided = text_->scan(TextView(decoded_, &part.memory.left), ending, text_found_);
    for (const TextFinding& found : text_found_) {
      const size_t first = decoded_from_[found.start], last = decoded_from_[found.candidate.end];
      part.add(first, last - first, found.candidate.digits, found.candidate.brand, FindingForm::octal_escapes,
               found.candidate.last_kept, found.candidate.tail);
    }
    part.memory.left.append(std::span<const uint8_t>(decoded_).first(decided));
    at = decoded_from_[decided];
    if (!block_full) return at;
  }
}

}  // namespace sluice::policies::cards
