// Addresses of targets, as the configuration writes them: "10.20.0.5:5432", "[fd00::5]:5432", "10.30.0.0/16:5432",
// "[fd00::/64]:5432". Threading: none. Limits: kAddressBytesMax.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/config/config.h"

namespace sluice::config {

inline constexpr size_t kAddressBytesMax = 128;

// Why a text is no address, in the form of a problem.
struct AddressError {
  std::string message;
  std::string hint;
};

// v4-mapped IPv6 addresses (RFC 4291, 2.5.5.2) become the IPv4 ones they stand for. `endpoint` is untouched on failure.
[[nodiscard]] std::optional<AddressError> parse_endpoint(std::string_view text, Endpoint& endpoint);

// The form of an address that something listens on: "127.0.0.1:9464", "[::1]:9464", "0.0.0.0:9464"; no networks, no
// names, no port 0. nullopt: it is one.
[[nodiscard]] std::optional<AddressError> check_listen_address(std::string_view text);

// An order in which endpoints of one port stand together, and a network before all that lie in it.
[[nodiscard]] bool before(const Endpoint& a, const Endpoint& b);

// True where some address and port belongs to both.
[[nodiscard]] bool overlap(const Endpoint& a, const Endpoint& b);

}  // namespace sluice::config
