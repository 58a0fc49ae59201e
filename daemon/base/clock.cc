#include "daemon/base/clock.h"

#include <ctime>

namespace sluice {
namespace {

int64_t read_ns(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);  // cannot fail for these two clocks
  return static_cast<int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

class SystemClock final : public Clock {
 public:
  uint64_t monotonic_ms() const override { return static_cast<uint64_t>(read_ns(CLOCK_MONOTONIC)) / 1'000'000; }
  uint64_t monotonic_ns() const override { return static_cast<uint64_t>(read_ns(CLOCK_MONOTONIC)); }
  int64_t utc_ns() const override { return read_ns(CLOCK_REALTIME); }
};

}  // namespace

const Clock& system_clock() {
  static const SystemClock clock;
  return clock;
}

}  // namespace sluice
