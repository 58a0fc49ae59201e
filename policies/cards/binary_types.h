// What the binary forms of PostgreSQL's container types share: reading lengths, and what a type OID means for its
// bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "policies/cards/value.h"

namespace sluice::policies::cards {

// Containers within containers are followed this deep; what is deeper is looked at as bytes.
inline constexpr uint8_t kCompositeDepthMax = 8;

// Big-endian. REQUIRES: four bytes at `at`.
[[nodiscard]] inline uint32_t read_u32(std::span<const uint8_t> bytes, size_t at) {
  return static_cast<uint32_t>(bytes[at]) << 24 | static_cast<uint32_t>(bytes[at + 1]) << 16 |
         static_cast<uint32_t>(bytes[at + 2]) << 8 | bytes[at + 3];
}

// OIDs of pg_type.dat; they never change.
[[nodiscard]] ValueType type_of(uint32_t oid);

// Are these bytes exactly a record, a range, a multirange or an array?
[[nodiscard]] bool is_composite(std::span<const uint8_t> bytes);

}  // namespace sluice::policies::cards
