// PostgreSQL arrays on the wire (array_recv): int32 dimensions, int32 flags, element type OID, per dimension int32 size
// and int32 lower bound; then each element as int32 length (-1 null) and bytes. An element is a value of its own, and
// may itself be larger than the window. What is malformed is looked at as bytes from there on.
#include <algorithm>
#include <optional>

#include "policies/cards/value_part.h"

namespace sluice::policies::cards {
namespace {

constexpr size_t kHeaderBytes = 12, kDimensionBytes = 8, kLengthBytes = 4;
constexpr uint32_t kDimensionsMax = 6;       // MAXDIM
constexpr size_t kHeldElementBytesMax = 64;  // an element up to this size is waited for; a larger one streams

enum Mode : uint8_t { kHeader = 0, kElements = 1, kOpaque = 2, kWithinElement = 3 };

uint32_t read_u32(std::span<const uint8_t> bytes, size_t at) {
  return static_cast<uint32_t>(bytes[at]) << 24 | static_cast<uint32_t>(bytes[at + 1]) << 16 |
         static_cast<uint32_t>(bytes[at + 2]) << 8 | bytes[at + 3];
}

// OIDs of pg_type.dat; they never change.
ValueType type_of(uint32_t oid) {
  switch (oid) {
    case 20:
    case 21:
    case 23:
    case 26:
      return ValueType::integer;  // int8, int2, int4, oid
    case 700:
    case 701:
      return ValueType::floating;  // float4, float8
    case 1700:
      return ValueType::numeric;
    case 17:
      return ValueType::bytea;
    case 114:
      return ValueType::json;
    case 3802:
      return ValueType::jsonb;
    case 18:
    case 19:
    case 25:
    case 142:
    case 705:
    case 1042:
    case 1043:
      return ValueType::text;  // char … varchar
    default:
      return ValueType::opaque;
  }
}

// Size of the header, 0 where more bytes are needed, nothing where it is malformed.
std::optional<size_t> header_size(std::span<const uint8_t> bytes) {
  if (bytes.size() < kHeaderBytes) return 0;
  const uint32_t dimensions = read_u32(bytes, 0), flags = read_u32(bytes, 4);
  if (dimensions > kDimensionsMax || flags > 1) return std::nullopt;
  const size_t size = kHeaderBytes + dimensions * kDimensionBytes;
  return bytes.size() < size ? 0 : size;
}

}  // namespace

// What is left of an element that streams. Returns how many bytes are decided.
size_t ValueScanner::scan_element(Part& part, size_t at) {
  const size_t available = std::min<size_t>(part.memory.element_left, part.bytes.size() - at);
  Part element = part.behind(at);
  element.bytes = element.bytes.first(available);
  element.type = static_cast<ValueType>(part.memory.element_type);
  element.format = ValueFormat::binary;
  // An element that the value's end cuts short is malformed; it is looked at as far as it goes.
  const bool ends_here = available == part.memory.element_left || part.ending == Ending::complete;
  element.ending = ends_here ? Ending::complete : Ending::more_follows;
  element.memory.mode = part.memory.element_mode;
  element.memory.begun = part.memory.element_begun;
  size_t decided = scan_part(element);
  if (ends_here) decided = available;
  const StreamMemory outer = part.memory;
  part.memory = element.memory;
  part.memory.mode = kWithinElement;
  part.memory.begun = outer.begun;
  part.memory.element_mode = element.memory.mode;
  part.memory.element_begun = element.memory.begun;
  part.memory.element_type = outer.element_type;
  part.memory.element_left = outer.element_left - static_cast<uint32_t>(decided);
  if (ends_here) {
    part.memory = StreamMemory{};
    part.memory.mode = kElements;
    part.memory.element_type = outer.element_type;
  }
  return decided;
}

size_t ValueScanner::scan_array(Part& part) {
  const bool complete = part.ending == Ending::complete;
  size_t at = 0;
  if (part.memory.mode == kHeader) {
    const std::optional<size_t> size = header_size(part.bytes);
    if (size && *size == 0 && !complete) return 0;
    if (!size || *size == 0) {
      part.memory.mode = kOpaque;
    } else {
      part.memory.mode = kElements;
      part.memory.element_type = static_cast<uint8_t>(type_of(read_u32(part.bytes, 8)));
      at = *size;
    }
  }
  while (part.memory.mode != kOpaque && at < part.bytes.size()) {
    if (part.memory.mode == kWithinElement) {
      const size_t decided = scan_element(part, at);
      at += decided;
      if (part.memory.mode == kWithinElement) return at;
      continue;
    }
    if (part.bytes.size() - at < kLengthBytes) {
      if (!complete) return at;
      part.memory.mode = kOpaque;
      break;
    }
    const uint32_t length = read_u32(part.bytes, at);
    const size_t available = part.bytes.size() - at - kLengthBytes;
    if (length == UINT32_MAX) {
      at += kLengthBytes;
      continue;
    }
    if (length > INT32_MAX || (complete && length > available)) {
      part.memory.mode = kOpaque;
      break;
    }
    if (length > available && length <= kHeldElementBytesMax) return at;
    at += kLengthBytes;
    part.memory.element_left = length;
    part.memory.element_mode = part.memory.element_begun = 0;
    part.memory.left = LeftContext{};
    part.memory.mode = kWithinElement;
    if (length == 0) part.memory.mode = kElements;
  }
  if (part.memory.mode != kOpaque) return at;
  Part rest = part.behind(at);
  const size_t decided = scan_characters(rest);
  part.memory = rest.memory;
  return at + decided;
}

}  // namespace sluice::policies::cards
