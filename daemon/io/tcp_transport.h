// The plain transport: one connected (or connecting) non-blocking stream socket. Owns the descriptor.
#pragma once

#include <memory>

#include "daemon/base/unique_fd.h"
#include "daemon/io/transport.h"

namespace sluice::io {

class TcpTransport final : public Transport {
 public:
  explicit TcpTransport(UniqueFd socket) : socket_(std::move(socket)) {}

  [[nodiscard]] IoResult read(std::span<uint8_t> into) override;
  // Pieces past IOV_MAX are left for the next call, as if the socket had been full.
  [[nodiscard]] IoResult write(std::span<const iovec> pieces) override;
  void shutdown_write() override;
  void reset() override;
  [[nodiscard]] int fd() const override { return socket_.get(); }

 private:
  UniqueFd socket_;
};

// Stands where there is no connection: everything has ended.
class NoTransport final : public Transport {
 public:
  [[nodiscard]] IoResult read(std::span<uint8_t>) override { return {IoState::end, 0, 0}; }
  [[nodiscard]] IoResult write(std::span<const iovec>) override { return {IoState::end, 0, 0}; }
  void shutdown_write() override {}
  void reset() override {}
  [[nodiscard]] int fd() const override { return -1; }
};

// TCP_NODELAY, and keepalive so that a peer that vanished is found (kKeepalive* in the source). Accepted sockets
// inherit both from their listener. Errors are of no consequence: a socket that is no TCP socket works without.
void tune_stream(int fd);
// The same for a peer on this host, which cannot vanish without a word.
void tune_local_stream(int fd);

// Closes with a reset: for connections that were refused before they became a session.
void reset_and_close(UniqueFd socket);

}  // namespace sluice::io
