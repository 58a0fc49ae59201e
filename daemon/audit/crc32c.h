// CRC-32C (Castagnoli; RFC 3720 appendix B.4), in hardware where the CPU has SSE 4.2, else by table. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice::audit {

// Checksum of `bytes` continued from `crc` (0 to start): crc32c(b, crc32c(a)) is that of a ‖ b.
[[nodiscard]] uint32_t crc32c(std::string_view bytes, uint32_t crc = 0);
// The same by table; there for CPUs without the instruction and for the test that both agree.
[[nodiscard]] uint32_t crc32c_by_table(std::string_view bytes, uint32_t crc = 0);

}  // namespace sluice::audit
