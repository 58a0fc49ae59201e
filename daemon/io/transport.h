// A byte stream to one peer: plain TCP now, TLS later. The pump never knows which it is.
// Non-blocking; lives on one worker.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice::io {

enum class IoState : uint8_t { ok, would_block, end, error };

struct IoResult {
  IoState state = IoState::ok;
  size_t bytes = 0;
  int error_number = 0;  // errno where state is `error`
  // Of a write that would block: no event tells when there is room, so look again after a while.
  bool look_again = false;
};

class Transport {
 public:
  virtual ~Transport() = default;
  [[nodiscard]] virtual IoResult read(std::span<uint8_t> into) = 0;
  [[nodiscard]] virtual IoResult write(std::span<const iovec> pieces) = 0;
  // Half-close: the peer reads end of file.
  virtual void shutdown_write() = 0;
  // Close with a reset instead of a FIN.
  virtual void reset() = 0;
  [[nodiscard]] virtual int fd() const = 0;  // for epoll
};

}  // namespace sluice::io
