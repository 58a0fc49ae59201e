// The system calls that each of the two processes may make (seccomp). An allow-list: what is not on it fails with
// EPERM, so that a library's new habit is an error and not an outage; what only somebody who has taken the process over
// would call (another program, another process's memory, kernel modules, namespaces) kills the process, and the kernel
// then decides about connections by when_down. Irrevocable, for all threads of the process, those to come included.
//
// Builds with sanitizers have no filter, because their runtimes need calls of their own; filters_system_calls() says
// so.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "daemon/base/result.h"

namespace sluice::privilege {

enum class FilteredProcess : uint8_t { daemon, helper };

[[nodiscard]] bool filters_system_calls();

// Needs no_new_privs. Without a filter in this build: does nothing.
[[nodiscard]] Status filter_system_calls(FilteredProcess process);

// For a test that compares with what the daemon calls: names that are allowed at all, arguments aside.
[[nodiscard]] std::span<const std::string_view> allowed_system_calls(FilteredProcess process);

}  // namespace sluice::privilege
