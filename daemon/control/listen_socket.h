// Makes the control socket: its directory, its mode, its group. A socket that a dead process left behind is replaced;
// one that is answered is not. Called once at start, before any other thread exists.
#pragma once

#include <string>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace sluice::control {

// A listening, close-on-exec, non-blocking socket at `path`: mode 0660, group sluice-admin where that exists.
[[nodiscard]] Result<UniqueFd> listen_unix(const std::string& path);

}  // namespace sluice::control
