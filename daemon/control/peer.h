// Who is at the other end of the control socket, as the kernel says (SO_PEERCRED), and what that caller may do.
// Reading is for whoever can open the socket (mode 0660, group sluice-admin); changing something is checked once more
// here, because a socket can be handed on. Stateless; any thread.
#pragma once

#include "daemon/base/result.h"
#include "daemon/control/operations.h"

namespace sluice::control {

inline constexpr const char* kAdminGroup = "sluice-admin";

// Fails where the kernel does not say who it is: such a caller is refused.
[[nodiscard]] Result<Caller> identify_peer(int fd);

// True for root, for the daemon's own user, and for members of the admin group.
[[nodiscard]] bool may_change(const Caller& caller);

}  // namespace sluice::control
