// Tells from the first bytes of a file whether it has to be unpacked before it can be searched: names lie. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace sluice::scan {

// Bytes from the start that are enough to tell.
inline constexpr size_t kPackingBytes = 512;

struct Packing {
  enum class Kind : uint8_t {
    none,      // searched as it is
    unpacked,  // compressed, or an archive: unpacker.h
    foreign,   // compressed in a way that nothing here reads: reported
  };
  Kind kind = Kind::none;
  std::string_view name;  // "gzip", "zip", "rar" …
};

[[nodiscard]] Packing packing_of(std::span<const uint8_t> first_bytes);

}  // namespace sluice::scan
