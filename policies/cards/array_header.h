// The header of a PostgreSQL array on the wire (array_recv): int32 dimensions, int32 flags, element type OID, per
// dimension int32 size and int32 lower bound. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace sluice::policies::cards {

inline constexpr size_t kArrayHeaderBytesMax = 12 + 6 * 8;  // of MAXDIM dimensions

struct ArrayHeader {
  size_t size = 0;  // bytes; 0 where more are needed
  uint32_t elements = 0;
  uint32_t type_oid = 0;
};

// Reads the header at the front of `bytes`. Nothing where it is malformed.
[[nodiscard]] std::optional<ArrayHeader> read_array_header(std::span<const uint8_t> bytes);

}  // namespace sluice::policies::cards
