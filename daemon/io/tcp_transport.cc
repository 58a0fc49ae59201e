#include "daemon/io/tcp_transport.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>

namespace sluice::io {
namespace {

// A server that vanished without a word is noticed after 60 + 6 × 10 s.
constexpr int kKeepaliveIdleSeconds = 60;
constexpr int kKeepaliveIntervalSeconds = 10;
constexpr int kKeepaliveProbes = 6;

IoResult failed(int error_number) {
  if (error_number == EAGAIN || error_number == EWOULDBLOCK) return {IoState::would_block, 0, 0};
  return {IoState::error, 0, error_number};
}

void set_option(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof value);
}

void set_reset_on_close(int fd) {
  const linger no_linger{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &no_linger, sizeof no_linger);
}

}  // namespace

TcpTransport::TcpTransport(UniqueFd socket, ShortCircuit short_circuit)
    : socket_(std::move(socket)), short_circuit_(short_circuit) {
  if (short_circuit_.notices != nullptr) writes_seen_ = notices();
}

IoResult TcpTransport::read(std::span<uint8_t> into) {
  for (;;) {
    const ssize_t got = ::recv(socket_.get(), into.data(), into.size(), 0);
    if (got > 0) {
      auto bytes = static_cast<size_t>(got);
      if (short_circuit_.notices != nullptr && bytes < into.size()) bytes += read_second_queue(into.subspan(bytes));
      return {IoState::ok, bytes, 0};
    }
    if (got == 0) return {IoState::end, 0, 0};
    if (errno != EINTR) return failed(errno);
  }
}

// A short read means "nothing more" to an edge-triggered owner, so it must not end between the two queues.
size_t TcpTransport::read_second_queue(std::span<uint8_t> into) {
  const uint64_t now = notices();
  if (now == reads_seen_) return 0;
  size_t bytes = 0;
  while (bytes < into.size()) {
    const ssize_t got = ::recv(socket_.get(), into.data() + bytes, into.size() - bytes, 0);
    if (got > 0) {
      bytes += static_cast<size_t>(got);
    } else if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      reads_seen_ = now;
      break;
    } else if (got == 0 || errno != EINTR) {
      break;  // the end or the error is told once more, to the next read: both come with an event of their own
    }
  }
  return bytes;
}

IoResult TcpTransport::write(std::span<const iovec> pieces) {
  if (short_circuit_.notices != nullptr && notices() != writes_seen_ &&
      short_circuit_.lag->reader_lags(socket_.get(), writes_seen_)) {
    return {IoState::would_block, 0, 0, true};
  }
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());  // sendmsg does not write there
  message.msg_iovlen = std::min<size_t>(pieces.size(), IOV_MAX);
  for (;;) {
    // One piece is the rule, and send(2) is the cheaper call for it.
    const ssize_t sent = pieces.size() == 1 ? ::send(socket_.get(), pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL)
                                            : ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (sent >= 0) return {IoState::ok, static_cast<size_t>(sent), 0};
    if (errno != EINTR) return failed(errno);
  }
}

void TcpTransport::shutdown_write() {
  ::shutdown(socket_.get(), SHUT_WR);  // ENOTCONN: the peer is gone, and so is the need
}

void TcpTransport::reset() {
  if (!socket_.valid()) return;
  set_reset_on_close(socket_.get());
  socket_.reset();
}

void tune_local_stream(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

void tune_stream(int fd) {
  tune_local_stream(fd);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, kKeepaliveIdleSeconds);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, kKeepaliveIntervalSeconds);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepaliveProbes);
}

void reset_and_close(UniqueFd socket) {
  if (socket.valid()) set_reset_on_close(socket.get());
}

}  // namespace sluice::io
