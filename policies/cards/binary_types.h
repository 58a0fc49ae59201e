// What the binary forms of PostgreSQL's types share: reading lengths, and telling a form by the bytes alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "policies/cards/numbers.h"
#include "policies/cards/postgres_types.h"
#include "policies/cards/value.h"

namespace sluice::policies::cards {

// Containers within containers are followed this deep; what is deeper is looked at as bytes.
inline constexpr uint8_t kCompositeDepthMax = 8;

// Big-endian. REQUIRES: four bytes at `at`.
[[nodiscard]] inline uint32_t read_u32(std::span<const uint8_t> bytes, size_t at) {
  return static_cast<uint32_t>(bytes[at]) << 24 | static_cast<uint32_t>(bytes[at + 1]) << 16 |
         static_cast<uint32_t>(bytes[at + 2]) << 8 | bytes[at + 3];
}

// The type of a value within other bytes, as those name it. Bytes may be made up to look like a container, so what it
// calls inert is looked at as characters.
[[nodiscard]] inline ValueType type_within(uint32_t type_oid) {
  const ValueType type = postgres_value_type(type_oid);
  return type == ValueType::inert ? ValueType::text : type;
}

// Are these bytes exactly a record, a range, a multirange, an array, an hstore or a tsvector?
[[nodiscard]] bool is_composite(std::span<const uint8_t> bytes);

// Do these bytes begin as jsonb does, with its version and the first character of JSON?
[[nodiscard]] bool begins_as_jsonb(std::span<const uint8_t> bytes);

// Is this the beginning of an array with elements?
[[nodiscard]] bool begins_as_array(std::span<const uint8_t> bytes);

// Eight bytes of unknown type that hold a card number as an int8 or a float8, and nothing else that is usual:
// docs/decisions/0026-bytes-of-unknown-type.md.
struct EightBytesFinding {
  NumberFinding number;
  FindingForm form;
};
[[nodiscard]] std::optional<EightBytesFinding> find_in_eight_bytes(std::span<const uint8_t> bytes);

}  // namespace sluice::policies::cards
