// Makes the control socket: its directory, its mode, its group. A socket that a dead process left behind is replaced;
// one that is answered is not. Called once at start, before any other thread exists.
#pragma once

#include <sys/types.h>

#include <string>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace sluice::control {

// A bound, close-on-exec, non-blocking socket at `path`: mode 0660, of `owner` and of the group sluice-admin where that
// exists. It does not listen yet.
[[nodiscard]] Result<UniqueFd> bind_unix(const std::string& path, uid_t owner);

}  // namespace sluice::control
