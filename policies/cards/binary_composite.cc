// PostgreSQL values that hold other values, in binary and without a type that names them: records and composites
// (record_send: int32 columns, then per column type OID, int32 length or -1, bytes), ranges (range_send: one byte of
// flags, then per bound int32 length and bytes), multiranges (int32 count, then per range int32 length and bytes),
// arrays of such, hstore, and tsvector. The type of such a column says nothing about its inside (composites have OIDs
// of their own), so the bytes are read as one of these forms where they are exactly that, from the first byte to the
// last. Whole values only; parts of larger ones are looked at as bytes.
#include <algorithm>
#include <string_view>

#include "policies/cards/array_header.h"
#include "policies/cards/binary_types.h"
#include "policies/cards/value_part.h"

namespace sluice::policies::cards {
namespace {

constexpr uint32_t kColumnsMax = 1664;  // MaxTupleAttributeNumber
constexpr uint32_t kRangesMax = 65'536;
constexpr uint8_t kEmpty = 0x01, kLowerInfinite = 0x08, kUpperInfinite = 0x10, kFlagsKnown = 0x1f;
constexpr uint32_t kUnknownType = 0, kTextType = 25;

// Calls element(offset, length, type OID) for each value inside. False where the bytes are not exactly this form.
template <typename Element>
bool walk_record(std::span<const uint8_t> bytes, Element element) {
  if (bytes.size() < 4) return false;
  const uint32_t columns = read_u32(bytes, 0);
  if (columns == 0 || columns > kColumnsMax) return false;
  size_t at = 4;
  for (uint32_t i = 0; i < columns; ++i) {
    if (bytes.size() - at < 8) return false;
    const uint32_t oid = read_u32(bytes, at), length = read_u32(bytes, at + 4);
    at += 8;
    if (length == UINT32_MAX) continue;
    if (length > bytes.size() - at) return false;
    element(at, length, oid);
    at += length;
  }
  return at == bytes.size();
}

template <typename Element>
bool walk_range(std::span<const uint8_t> bytes, size_t base, Element element) {
  if (bytes.empty() || (bytes[0] & ~kFlagsKnown) != 0) return false;
  size_t at = 1;
  for (const uint8_t infinite : {kLowerInfinite, kUpperInfinite}) {
    if ((bytes[0] & (kEmpty | infinite)) != 0) continue;
    if (bytes.size() - at < 4) return false;
    const uint32_t length = read_u32(bytes, at);
    at += 4;
    if (length > bytes.size() - at) return false;
    element(base + at, length, kUnknownType);
    at += length;
  }
  return at == bytes.size();
}

template <typename Element>
bool walk_multirange(std::span<const uint8_t> bytes, Element element) {
  if (bytes.size() < 4) return false;
  const uint32_t ranges = read_u32(bytes, 0);
  if (ranges == 0 || ranges > kRangesMax) return false;
  size_t at = 4;
  for (uint32_t i = 0; i < ranges; ++i) {
    if (bytes.size() - at < 4) return false;
    const uint32_t length = read_u32(bytes, at);
    at += 4;
    if (length > bytes.size() - at || !walk_range(bytes.subspan(at, length), at, element)) return false;
    at += length;
  }
  return at == bytes.size();
}

// array_send, of any element type: domains and composites have arrays with OIDs of their own too.
template <typename Element>
bool walk_array(std::span<const uint8_t> bytes, Element element) {
  const std::optional<ArrayHeader> header = read_array_header(bytes);
  if (!header || header->size == 0 || header->elements == 0 || header->elements > bytes.size()) return false;
  size_t at = header->size;
  for (uint32_t i = 0; i < header->elements; ++i) {
    if (bytes.size() - at < 4) return false;
    const uint32_t length = read_u32(bytes, at);
    at += 4;
    if (length == UINT32_MAX) continue;
    if (length > bytes.size() - at) return false;
    element(at, length, header->type_oid);
    at += length;
  }
  return at == bytes.size();
}

// hstore_send: int32 pairs, then per pair int32 length and key, int32 length (-1 null) and value.
template <typename Element>
bool walk_hstore(std::span<const uint8_t> bytes, Element element) {
  if (bytes.size() < 4) return false;
  const uint32_t pairs = read_u32(bytes, 0);
  if (pairs == 0 || pairs > bytes.size()) return false;
  size_t at = 4;
  for (uint64_t i = 0; i < 2 * uint64_t{pairs}; ++i) {
    if (bytes.size() - at < 4) return false;
    const uint32_t length = read_u32(bytes, at);
    at += 4;
    if (length == UINT32_MAX && i % 2 == 1) continue;
    if (length > bytes.size() - at) return false;
    element(at, length, kTextType);
    at += length;
  }
  return at == bytes.size();
}

// tsvectorsend: int32 lexemes, then per lexeme its characters, a NUL, uint16 positions, and two bytes for each.
template <typename Element>
bool walk_tsvector(std::span<const uint8_t> bytes, Element element) {
  if (bytes.size() < 4) return false;
  const uint32_t lexemes = read_u32(bytes, 0);
  if (lexemes == 0 || lexemes > bytes.size()) return false;
  size_t at = 4;
  for (uint32_t i = 0; i < lexemes; ++i) {
    const auto rest = bytes.subspan(at);
    const auto end = static_cast<size_t>(std::find(rest.begin(), rest.end(), uint8_t{0}) - rest.begin());
    if (rest.size() - end < 3) return false;
    const size_t positions = static_cast<size_t>(rest[end + 1]) << 8 | rest[end + 2];
    if (rest.size() - end - 3 < 2 * positions) return false;
    element(at, static_cast<uint32_t>(end), kTextType);
    at += end + 3 + 2 * positions;
  }
  return at == bytes.size();
}

template <typename Element>
bool walk(std::span<const uint8_t> bytes, Element element) {
  return walk_record(bytes, element) || walk_range(bytes, 0, element) || walk_multirange(bytes, element) ||
         walk_array(bytes, element) || walk_hstore(bytes, element) || walk_tsvector(bytes, element);
}

}  // namespace

bool is_composite(std::span<const uint8_t> bytes) {
  return walk(bytes, [](size_t, uint32_t, uint32_t) {});
}

bool begins_as_jsonb(std::span<const uint8_t> bytes) {
  constexpr uint8_t kVersion = 1;
  constexpr std::string_view kFirst = "{[\"-0123456789tfn";
  return bytes.size() >= 2 && bytes[0] == kVersion && kFirst.find(static_cast<char>(bytes[1])) != kFirst.npos;
}

bool begins_as_array(std::span<const uint8_t> bytes) {
  const std::optional<ArrayHeader> header = read_array_header(bytes);
  if (!header || header->elements == 0 || header->type_oid == kUnknownType) return false;
  // Of an element's length the upper half is nearly always empty, as that of a null is full.
  if (bytes.size() < header->size + 4) return false;
  const uint32_t length = read_u32(bytes, header->size);
  return length <= INT32_MAX || length == UINT32_MAX;
}

bool ValueScanner::scan_composite(Part& part) {
  if (part.memory.depth >= kCompositeDepthMax || !is_composite(part.bytes)) return false;
  const auto look = [&](size_t at, uint32_t length, uint32_t oid) {
    if (length == 0) return;
    Part inner = part.behind(at);
    inner.bytes = inner.bytes.first(length);
    inner.type = type_within(oid);
    // A bound has no type with it but what its range says.
    if (oid == kUnknownType && part.type == ValueType::integer_range) inner.type = ValueType::integer;
    inner.format = ValueFormat::binary;
    inner.ending = Ending::complete;
    inner.memory = {};
    inner.memory.depth = static_cast<uint8_t>(part.memory.depth + 1);
    scan_part(inner);
  };
  // One form only: the walks call `look` as they go, and a form that fails half-way must not have looked.
  const auto nothing = [](size_t, uint32_t, uint32_t) {};
  if (walk_record(part.bytes, nothing)) return walk_record(part.bytes, look);
  if (walk_range(part.bytes, 0, nothing)) return walk_range(part.bytes, 0, look);
  if (walk_multirange(part.bytes, nothing)) return walk_multirange(part.bytes, look);
  if (walk_array(part.bytes, nothing)) return walk_array(part.bytes, look);
  if (walk_hstore(part.bytes, nothing)) return walk_hstore(part.bytes, look);
  return walk_tsvector(part.bytes, look);
}

}  // namespace sluice::policies::cards
