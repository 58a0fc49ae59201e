// A connected Unix socket as Boost.Beast wants to see one, with what Asio's blocking sockets lack: a deadline on every
// wait, and a descriptor that ends every wait. So one thread per control connection can block without ever being stuck.
// Lifetime: one connection. Threading: one thread; cancelling happens through the descriptor. Nothing throws.
#pragma once

#include <chrono>

#include <boost/asio/buffer.hpp>
#include <boost/system/error_code.hpp>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace sluice::control {

class SocketStream {
 public:
  using Clock = std::chrono::steady_clock;

  // `cancel_fd` (borrowed, may be -1) ends every wait once it is readable. The socket is made non-blocking.
  SocketStream(UniqueFd socket, int cancel_fd);

  // Everything until the next call of this has to be done by `deadline`; time_point::max() waits for ever.
  void set_deadline(Clock::time_point deadline) { deadline_ = deadline; }
  void set_timeout(std::chrono::milliseconds timeout) { deadline_ = Clock::now() + timeout; }

  // As Beast's SyncReadStream and SyncWriteStream demand. Errors: end of file, timed_out, operation_aborted
  // (cancelled).
  template <typename Buffers>
  size_t read_some(const Buffers& buffers, boost::system::error_code& ec) {
    for (auto it = boost::asio::buffer_sequence_begin(buffers); it != boost::asio::buffer_sequence_end(buffers); ++it) {
      const boost::asio::mutable_buffer piece = *it;
      if (piece.size() > 0) return read_piece(piece.data(), piece.size(), ec);
    }
    ec = {};
    return 0;
  }
  template <typename Buffers>
  size_t write_some(const Buffers& buffers, boost::system::error_code& ec) {
    for (auto it = boost::asio::buffer_sequence_begin(buffers); it != boost::asio::buffer_sequence_end(buffers); ++it) {
      const boost::asio::const_buffer piece = *it;
      if (piece.size() > 0) return write_piece(piece.data(), piece.size(), ec);
    }
    ec = {};
    return 0;
  }
  // Beast asks that these exist; they would throw, so they have no body and nothing may call them.
  template <typename Buffers>
  size_t read_some(const Buffers& buffers);
  template <typename Buffers>
  size_t write_some(const Buffers& buffers);

  // True where the peer has closed its side (nothing more to read). Does not wait.
  [[nodiscard]] bool peer_gone() const;
  // Waits up to `timeout`; returns false at once where the peer went away or the wait was cancelled.
  [[nodiscard]] bool wait_while_connected(std::chrono::milliseconds timeout) const;
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  size_t read_piece(void* data, size_t size, boost::system::error_code& ec);
  size_t write_piece(const void* data, size_t size, boost::system::error_code& ec);
  // Waits for `events` (poll) until the deadline. Sets `ec` and returns false where that does not come.
  bool wait(short events, boost::system::error_code& ec) const;

  UniqueFd socket_;
  int cancel_fd_;
  Clock::time_point deadline_ = Clock::time_point::max();
};

// A close-on-exec socket connected to `path`. The error names the path and why.
[[nodiscard]] Result<UniqueFd> connect_unix(const std::string& path);

}  // namespace sluice::control
