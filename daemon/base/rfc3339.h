// Times as people and programs read them: RFC 3339 in UTC with nanoseconds, "2026-11-21T09:30:00.123456789Z".
// Pure functions; the present is passed in. Range: years 1678 to 2262, what 64 bits of nanoseconds hold.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice {

// `utc_ns`: nanoseconds since 1970-01-01 UTC. Always nine digits after the point.
[[nodiscard]] std::string format_rfc3339(int64_t utc_ns);

// Accepts RFC 3339 with any offset and up to nine digits of fraction, 'T' or a space between, and a date alone
// (midnight UTC). nullopt: not such a time, or out of range.
[[nodiscard]] std::optional<int64_t> parse_rfc3339(std::string_view text);

// What --since and --until take: RFC 3339; "now", "today", "yesterday" (midnight UTC); or how long ago: "90s", "15m",
// "1h", "7d", "2w".
[[nodiscard]] std::optional<int64_t> parse_time_argument(std::string_view text, int64_t now_utc_ns);

}  // namespace sluice
