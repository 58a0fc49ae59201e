// Pairs of connected sockets for the self-test of the short-circuit, and a few steps with them that cannot hang: every
// wait has an end. One end stands for a socket of the daemon, the other for a foreign one. One thread.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/interception/accelerate.h"

namespace sluice::interception {

inline constexpr int kTrialPatienceMs = 1'000;  // for what should happen at once

// Non-blocking ends on 127.0.0.1. `into`: SLUICE_INTO_*, or 0 for a plain pair that joins nothing.
struct TrialPair {
  UniqueFd daemon;   // has connected
  UniqueFd foreign;  // was accepted
};
[[nodiscard]] Result<TrialPair> make_trial_pair(const Accelerator& accelerator, uint8_t into);

// True once `fd` has one of these poll events.
[[nodiscard]] bool wait_for(int fd, short events, int patience_ms = kTrialPatienceMs);
// Writes all of it.
[[nodiscard]] Status put(int fd, const std::string& bytes);
// Reads exactly so many bytes; what came where it ends early.
[[nodiscard]] std::string take(int fd, size_t bytes);
// True where the next thing to read is the end of the stream.
[[nodiscard]] bool at_end(int fd);

// The byte at this place of the test stream: a place that is missing, doubled or swapped shows.
[[nodiscard]] inline char pattern_at(uint64_t place) {
  return static_cast<char>((place * 0x9e3779b97f4a7c15u) >> 56);
}
// The writing end of a pair: it asks before it writes, as the daemon does.
class TrialWriter {
 public:
  TrialWriter(const Accelerator& accelerator, int fd);
  // As send(2); EAGAIN also where the reader lags.
  [[nodiscard]] ssize_t write(const char* bytes, size_t size);
  [[nodiscard]] int fd() const { return fd_; }

 private:
  const Accelerator& accelerator_;
  int fd_;
  uint64_t seen_ = 0;
};

// Sends `bytes` bytes of the stream in chunks of changing size while reading them at the other end. Empty where all of
// them arrived in order.
[[nodiscard]] std::string stream_through(TrialWriter from, int to, size_t bytes, uint32_t seed);

struct Flood {
  uint64_t written = 0;
  bool stopped = false;  // the kernel said that it takes no more
};
// Writes the stream until the kernel takes no more or `most` bytes are written; nobody reads.
[[nodiscard]] Flood flood(TrialWriter from, size_t chunk_bytes, uint64_t most);
// Reads what flood() wrote. Empty where all of it arrived in order.
[[nodiscard]] std::string drain_flood(int to, uint64_t bytes);

}  // namespace sluice::interception
