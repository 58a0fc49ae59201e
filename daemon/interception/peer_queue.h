// How much waits at the other end of one of our connections, where that end is on this host: asked of the kernel over
// sock_diag(7), which needs no privilege. Rare: only when a reader has fallen behind what was handed to it past TCP.
// Any thread, one question at a time.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace sluice::interception {

class PeerQueue {
 public:
  [[nodiscard]] Status open();
  // Bytes in the receive queues of the socket at the other end; nullopt where it is not on this host, or gone.
  [[nodiscard]] std::optional<uint32_t> queued_at_peer(int fd) const;

 private:
  mutable std::mutex mutex_;
  UniqueFd netlink_;
  mutable uint32_t sequence_ = 0;
};

}  // namespace sluice::interception
