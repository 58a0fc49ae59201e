// Serves the control API as HTTP/1.1 on a Unix socket: one accepting thread, one thread per connection up to a bound,
// one request per connection. Every wait has a deadline, so a slow client costs its own thread and nobody else's.
// Lifetime: from start() to destruction, which ends every connection and joins every thread; `operations` must outlive
// it. Threading: start and destroy on one thread; Operations is called from the connection threads. Limits:
// ServerOptions and the constants below.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/control/operations.h"
#include "daemon/control/peer.h"

namespace sluice::control {

struct ServerOptions {
  std::string socket_path;
  size_t clients_max = 32;                                    // more are told 503 at once
  std::chrono::milliseconds request_timeout{10'000};          // for the whole request to arrive
  std::chrono::milliseconds write_timeout{30'000};            // for one write to make its way
  ExecutablePath executable_path = control::executable_path;  // of whoever calls; called from the connection threads
};

// The first half of start(): the socket (mode 0660, group sluice-admin where there is one) and its directory, given to
// `owner`. Nobody can connect yet. For a daemon that gives up root before it serves.
[[nodiscard]] Result<UniqueFd> bind_control_socket(const std::string& path, uid_t owner);

inline constexpr uint32_t kRequestHeaderBytesMax = 32 * 1024;
inline constexpr uint64_t kRequestBodyBytesMax = 64 * 1024;
inline constexpr size_t kStreamChunkBytes = 64 * 1024;  // lines are collected up to this before they are written

class ControlServer {
 public:
  // Serves at once on `bound`, or on a socket that it binds itself. Fails where another process answers on that socket,
  // or the path is too long.
  [[nodiscard]] static Result<std::unique_ptr<ControlServer>> start(const ServerOptions& options,
                                                                    Operations& operations, UniqueFd bound = {});
  virtual ~ControlServer() = default;  // removes the socket, where its directory is the daemon's
};

}  // namespace sluice::control
