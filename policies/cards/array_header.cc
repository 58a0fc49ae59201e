#include "policies/cards/array_header.h"

#include "policies/cards/binary_types.h"

namespace sluice::policies::cards {
namespace {
constexpr size_t kFixedBytes = 12, kDimensionBytes = 8;
constexpr uint32_t kDimensionsMax = 6;  // MAXDIM
static_assert(kArrayHeaderBytesMax == kFixedBytes + kDimensionsMax * kDimensionBytes);
}  // namespace

std::optional<ArrayHeader> read_array_header(std::span<const uint8_t> bytes) {
  if (bytes.size() < kFixedBytes) return ArrayHeader{};
  const uint32_t dimensions = read_u32(bytes, 0), flags = read_u32(bytes, 4);
  if (dimensions > kDimensionsMax || flags > 1) return std::nullopt;
  const size_t size = kFixedBytes + dimensions * kDimensionBytes;
  if (bytes.size() < size) return ArrayHeader{};
  uint64_t elements = dimensions == 0 ? 0 : 1;
  for (size_t at = kFixedBytes; at < size; at += kDimensionBytes) {
    elements *= read_u32(bytes, at);
    if (elements > INT32_MAX) return std::nullopt;
  }
  return ArrayHeader{size, static_cast<uint32_t>(elements), read_u32(bytes, 8)};
}

}  // namespace sluice::policies::cards
