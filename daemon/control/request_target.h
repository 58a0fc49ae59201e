// The target of a control request, "/v1/events?since_ns=5&filter=type%3Dx", taken apart and put together (RFC 3986,
// sections 2.1 and 3.4; '+' stands for itself). Pure functions over bounded input.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::control {

// Longest request target that is looked at (bytes); a filter expression is the longest thing in it.
inline constexpr size_t kRequestTargetBytesMax = 16 * 1024;

struct RequestTarget {
  std::string path;                          // decoded
  std::map<std::string, std::string> query;  // decoded; a name that comes twice is an error
};

// nullopt: too long, a bad percent escape, a NUL, or a repeated name.
[[nodiscard]] std::optional<RequestTarget> parse_request_target(std::string_view text);

// Everything but unreserved characters becomes %XX.
[[nodiscard]] std::string percent_encode(std::string_view text);

}  // namespace sluice::control
