// Start-up packets: what a client sends before any tagged message. A length (which counts itself), a code or version, a
// body.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "parsers/postgres/protocol.h"

namespace sluice::postgres {

enum class StartupKind : uint8_t {
  incomplete,  // more bytes are needed
  ssl_request,
  gss_enc_request,
  cancel_request,
  startup_message,
  direct_tls,           // a TLS record (sslnegotiation=direct)
  unsupported_version,  // a start-up message of another major version
  malformed,
};

struct StartupPacket {
  StartupKind kind = StartupKind::incomplete;
  size_t total_bytes = 0;
  uint16_t major = 0;
  uint16_t minor = 0;
  std::vector<std::pair<std::string_view, std::string_view>> parameters;  // startup_message; borrowed

  [[nodiscard]] std::string_view parameter(std::string_view name) const;
};

// Looks at the packet at the front of `bytes`.
[[nodiscard]] StartupPacket read_startup(std::span<const uint8_t> bytes);

// Does this value of the parameter `replication` ask for anything but an ordinary session? What is not surely "no" is
// yes.
[[nodiscard]] bool asks_for_replication(std::string_view value);

}  // namespace sluice::postgres
