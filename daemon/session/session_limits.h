// Every wait and every buffer of a session, with its name. A plain value; tests set their own.
#pragma once

#include <cstddef>
#include <cstdint>

#include "daemon/session/machine.h"

namespace sluice::session {

struct SessionLimits {
  uint64_t upstream_connect_timeout_ms = 30'000;
  // From accept to the end of authentication; the server's own authentication_timeout is 60 s by default.
  uint64_t startup_timeout_ms = 90'000;
  // Pools keep connections for days, and a direct one would live: this only ends what was forgotten. Vanished peers are
  // found by keepalive long before.
  uint64_t idle_timeout_ms = 7ull * 24 * 3600 * 1000;
  // A pager that is left open stops reading for hours, and a direct connection would bear it.
  uint64_t write_stall_timeout_ms = 24ull * 3600 * 1000;
  // For a peer to take the last bytes and close, once the session ends.
  uint64_t linger_timeout_ms = 3'000;
};

// One read of a worker; shared by all its sessions. Fits the second-level cache beside the machine's own work.
inline constexpr size_t kReadBufferBytes = 128 * 1024;
static_assert(kReadBufferBytes >= 2 * kWindowBytes);

// With this much waiting for a peer, the other side is not read (back-pressure). Bytes that wait for the log alone may
// pile up to here, so that one fsync serves a whole pipeline; bytes that wait for a full socket stop the other side at
// once.
inline constexpr size_t kPendingBytesMax = 64 * 1024;

// A peer that lags behind what was handed to it past TCP (io::ShortCircuit) is looked at again after this long,
// doubling. It happens once in a session's life in each direction: then the direction goes back to TCP.
inline constexpr uint32_t kLookAgainLeastMs = 1;
inline constexpr uint32_t kLookAgainMostMs = 64;

// What one session may read in one turn before the others are served. With EventLoop::kEventsPerWait it bounds how long
// a turn can take, which the heartbeat depends on.
inline constexpr size_t kTurnBytes = 2 * kReadBufferBytes;

}  // namespace sluice::session
