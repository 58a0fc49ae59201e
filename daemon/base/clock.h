// Time as the data path sees it, passed in so that tests can set it. Stateless or thread-safe; outlives its users.
#pragma once

#include <cstdint>

namespace sluice {

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual uint64_t monotonic_ms() const = 0;  // for time-outs
  [[nodiscard]] virtual int64_t utc_ns() const = 0;         // since 1970, for events
  // For how long something took.
  [[nodiscard]] virtual uint64_t monotonic_ns() const { return monotonic_ms() * 1'000'000; }
};

// CLOCK_MONOTONIC_COARSE is not used: its 4 ms steps would show in events; both calls are vDSO reads.
[[nodiscard]] const Clock& system_clock();

}  // namespace sluice
