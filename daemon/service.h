// The daemon: wires everything together, in the order in which it becomes safe, and takes it down in the reverse. Only
// what stands in daemon/ itself may include every layer.
//
// Start: helper forked → steering loaded, targets set, sockets bound → root given up → log (recovery included) →
// workers → listeners live → control socket served. Whatever needs root happens before the first thread; afterwards the
// helper is asked (privileged_work.h). From go_live() on, connects are led here; before it and after stop(), the kernel
// decides by when_down. Where the helper ends, the daemon drains and ends too, with status 1: it could identify nobody
// any more. Stop (SIGTERM, SIGINT): listeners go, so that when_down decides about new connects; established sessions
// end when they are idle, and after kDrainTimeoutMs all the same; the log is sealed. A second signal ends them at once.
// SIGHUP reads configuration and policies again.
#pragma once

#include <cstdint>

#include "daemon/config/config.h"

namespace sluice {

inline constexpr uint64_t kDrainTimeoutMs = 25'000;  // below the 45 s that systemd waits

// Runs in the foreground until it is told to stop. 0: stopped as asked; 2: configuration or policies cannot be used; 1:
// anything else.
[[nodiscard]] int run_service(const config::Config& config);

}  // namespace sluice
