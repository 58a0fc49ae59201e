// One message each way over a socket pair, with at most one descriptor: how the daemon asks its helper, and how that
// answers. SOCK_SEQPACKET keeps messages apart; every length is bounded and checked on both sides, and what does not
// fit exactly is an error, never half a message. Stateless functions; one caller at a time per socket and direction.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace sluice::privilege {

inline constexpr size_t kPayloadBytesMax = 12 * 1024;  // two paths of 4 KiB and what goes with them

struct Message {
  uint32_t word = 0;  // of a request: which one; of an answer: 0 or an errno
  std::string payload;
  UniqueFd fd;
};

// A blocking pair, close-on-exec.
[[nodiscard]] Result<std::pair<UniqueFd, UniqueFd>> make_channel();

// `fd`: -1 for none. Fails where the other side is gone, or the payload is too large.
[[nodiscard]] Status send_message(int channel, uint32_t word, std::string_view payload, int fd);

// Waits at most `timeout_ms` (-1: for ever). Fails on timeout, on the other side's end, and on anything malformed.
[[nodiscard]] Result<Message> receive_message(int channel, int timeout_ms);

}  // namespace sluice::privilege
