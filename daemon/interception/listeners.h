// The sockets that redirected connections reach, in the daemon's own network namespace.
//
// IPv4: one socket on the wildcard address, bound to the loopback device, so that it answers on all of 127.64.0.0/16
// and cannot be reached from outside. IPv6: one on ::1, for sockets that cannot speak IPv4. Neither has SO_REUSEADDR or
// SO_REUSEPORT: nobody can bind the same port to a more specific address and catch redirected connections (tested).
// Control thread only.
#pragma once

#include <vector>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace sluice::interception {

struct Listener {
  UniqueFd fd;
  int family = 0;  // AF_INET or AF_INET6
};

inline constexpr int kListenBacklog = 4096;  // the kernel cuts it to net.core.somaxconn

// Opens both. Without IPv6 on loopback there is the IPv4 one alone: IPv6-only sockets then follow when_down.
[[nodiscard]] Result<std::vector<Listener>> open_listening_sockets();

}  // namespace sluice::interception
