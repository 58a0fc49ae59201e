// A cancel request that Sluice itself sends to a server, on a connection of its own: for a session that is ended while
// its command runs there, or whose command left Sluice after it had been cancelled. The server closes once it has taken
// the request. Lifetime: made by a worker, destroyed by it once done(). Limit: kTimeoutMs for all of it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "daemon/io/event_loop.h"
#include "daemon/io/timers.h"
#include "daemon/io/transport.h"

namespace sluice::session {

class UpstreamCancel final : public io::FdHandler, private io::Timer {
 public:
  static constexpr uint64_t kTimeoutMs = 5'000;

  // `session` is the serial of the session that it is about. `transport` may still be connecting.
  UpstreamCancel(uint64_t session, std::unique_ptr<io::Transport> transport, std::vector<uint8_t> request,
                 io::Timers& timers, uint64_t now_ms);
  ~UpstreamCancel() override { cancel(); }

  [[nodiscard]] int fd() const { return transport_->fd(); }
  [[nodiscard]] uint64_t session() const { return session_; }
  // The server has taken it, or never will.
  [[nodiscard]] bool done() const { return done_; }

  void on_ready(uint32_t epoll_events) override;

 private:
  void on_timer(uint64_t) override { done_ = true; }

  const uint64_t session_;
  std::unique_ptr<io::Transport> transport_;
  std::vector<uint8_t> request_;
  size_t sent_ = 0;
  bool done_ = false;
};

}  // namespace sluice::session
