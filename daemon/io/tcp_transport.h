// The plain transport: one connected (or connecting) non-blocking stream socket. Owns the descriptor.
#pragma once

#include <cstdint>
#include <memory>

#include "daemon/base/unique_fd.h"
#include "daemon/io/transport.h"

namespace sluice::io {

// Knows of readers on this host that lag behind what the kernel handed to them past TCP. Any thread.
class LagWatch {
 public:
  // Whether a write on `fd` should wait. `seen` is brought up to date where it need not.
  [[nodiscard]] virtual bool reader_lags(int fd, uint64_t& seen) const = 0;

 protected:
  ~LagWatch() = default;
};

// A connection whose bytes may be handed from socket to socket by the kernel, past TCP. It differs in two ways. When it
// goes back to TCP, what was handed over and what came by TCP are two queues, and a read ends with the first. And what
// is handed over knows no back-pressure: the writer asks. `notices` changes when either happened; null: an ordinary
// connection. Both outlive the transport.
struct ShortCircuit {
  const uint64_t* notices = nullptr;
  const LagWatch* lag = nullptr;
};

class TcpTransport final : public Transport {
 public:
  explicit TcpTransport(UniqueFd socket, ShortCircuit short_circuit = {});

  [[nodiscard]] IoResult read(std::span<uint8_t> into) override;
  // Pieces past IOV_MAX are left for the next call, as if the socket had been full.
  [[nodiscard]] IoResult write(std::span<const iovec> pieces) override;
  void shutdown_write() override;
  void reset() override;
  [[nodiscard]] int fd() const override { return socket_.get(); }

 private:
  [[nodiscard]] uint64_t notices() const { return __atomic_load_n(short_circuit_.notices, __ATOMIC_ACQUIRE); }
  [[nodiscard]] size_t read_second_queue(std::span<uint8_t> into);

  UniqueFd socket_;
  ShortCircuit short_circuit_;
  uint64_t reads_seen_ = UINT64_MAX;  // notices when both queues were empty; bytes may have come before we looked
  uint64_t writes_seen_ = 0;          // notices when the reader did not lag; we have not written yet
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
