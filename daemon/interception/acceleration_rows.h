// The self-test of the short-circuit as rows for `sluice doctor`. Runs in a child process inside of a cgroup made for
// the trial, because sockets join by the cgroup in which they are made. Nothing is pinned, and nothing stays. Call it
// from a process that has one thread.
#pragma once

#include <string>
#include <vector>

#include "daemon/interception/acceleration.h"
#include "daemon/interception/capability.h"

namespace sluice::interception {

[[nodiscard]] std::vector<Capability> probe_acceleration(const std::string& trial_cgroup);

// What a report means to the owner of a host.
[[nodiscard]] std::vector<Capability> to_capabilities(const AccelerationReport& report);

}  // namespace sluice::interception
