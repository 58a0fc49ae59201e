// PostgreSQL arrays on the wire (array_recv): a header (array_header.h), then each element as int32 length (-1 null)
// and bytes. An element is a value of its own, and may itself be larger than the window. What is malformed is looked at
// as bytes from there on.
#include <algorithm>
#include <optional>

#include "policies/cards/array_header.h"
#include "policies/cards/binary_types.h"
#include "policies/cards/value_part.h"

namespace sluice::policies::cards {
namespace {

constexpr size_t kLengthBytes = 4;
constexpr size_t kHeldElementBytesMax = 64;  // an element up to this size is waited for; a larger one streams

enum Mode : uint8_t { kHeader = 0, kElements = 1, kOpaque = 2, kWithinElement = 3 };

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
  // Between elements only what belongs to the array is kept.
  StreamMemory outer;
  outer.mode = kElements;
  outer.element_type = part.memory.element_type;
  outer.elements_left = part.memory.elements_left;
  if (!ends_here) {
    const StreamMemory& inner = element.memory;
    outer.mode = kWithinElement;
    outer.element_left = part.memory.element_left - static_cast<uint32_t>(decided);
    outer.left = inner.left;
    outer.hidden = inner.hidden;
    outer.quoted = inner.quoted, outer.escaped = inner.escaped, outer.in_long_token = inner.in_long_token;
    outer.element_mode = inner.mode, outer.element_begun = inner.begun;
  }
  part.memory = outer;
  return decided;
}

size_t ValueScanner::scan_array(Part& part) {
  const bool complete = part.ending == Ending::complete;
  StreamMemory& memory = part.memory;
  size_t at = 0;
  if (memory.mode == kHeader) {
    const std::optional<ArrayHeader> header = read_array_header(part.bytes);
    if (header && header->size == 0 && !complete) return 0;
    if (!header || header->size == 0) {
      memory.mode = kOpaque;
    } else {
      memory.mode = kElements;
      memory.element_type = static_cast<uint8_t>(type_within(header->type_oid));
      memory.elements_left = header->elements;
      at = header->size;
    }
  }
  while (memory.mode != kOpaque && at < part.bytes.size()) {
    if (memory.mode == kWithinElement) {
      at += scan_element(part, at);
      if (memory.mode == kWithinElement) return at;
      continue;
    }
    const size_t available = part.bytes.size() - at;
    if (available < kLengthBytes && !complete && memory.elements_left > 0) return at;
    const uint32_t length = available < kLengthBytes ? 0 : read_u32(part.bytes, at);
    const bool null = length == UINT32_MAX;
    if (memory.elements_left == 0 || available < kLengthBytes || (length > INT32_MAX && !null)) {
      memory.mode = kOpaque;
      break;
    }
    if (!null && !complete && length <= kHeldElementBytesMax && length > available - kLengthBytes) return at;
    at += kLengthBytes;
    --memory.elements_left;
    if (null || length == 0) continue;
    memory.element_left = length;
    memory.mode = kWithinElement;
  }
  if (memory.mode != kOpaque) return at;
  Part rest = part.behind(at);
  const size_t decided = scan_characters(rest);
  memory = rest.memory;
  return at + decided;
}

}  // namespace sluice::policies::cards
