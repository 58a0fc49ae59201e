// Giving up root. From become() on, the process runs as the account, keeps only the capabilities named, can gain none
// (no_new_privs), and leaves no memory image (no core dumps, no ptrace by its own user). Called once, before the first
// thread; there is no way back, and a half-done change is an error after which the process has to end.
#pragma once

#include <string>

#include "daemon/base/result.h"
#include "daemon/privilege/account.h"
#include "daemon/privilege/capability_set.h"

namespace sluice::privilege {

// Where the process is not root already its user stays, whoever `account` is.
[[nodiscard]] Status become(const Account& account, CapabilitySet keep);

// No core dump may hold what passes through.
[[nodiscard]] Status forbid_memory_images();

}  // namespace sluice::privilege
