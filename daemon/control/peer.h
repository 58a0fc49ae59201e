// Who is at the other end of the control socket, as the kernel says (SO_PEERCRED), and what that caller may do.
// Reading is for whoever can open the socket (mode 0660, group sluice-admin); changing something is checked once more
// here, because a socket can be handed on. Stateless; any thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "daemon/base/result.h"
#include "daemon/control/operations.h"

namespace sluice::control {

inline constexpr const char* kAdminGroup = "sluice-admin";

// What a process runs; empty where that cannot be told. This one reads /proc, as far as this process may.
using ExecutablePath = std::function<std::string(pid_t)>;
[[nodiscard]] std::string executable_path(pid_t pid);

// Fails where the kernel does not say who it is: such a caller is refused.
[[nodiscard]] Result<Caller> identify_peer(int fd, const ExecutablePath& executable_path);

// True for root, for the daemon's own user, and for members of the admin group.
[[nodiscard]] bool may_change(const Caller& caller);

}  // namespace sluice::control
