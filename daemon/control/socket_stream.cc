#include "daemon/control/socket_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <boost/asio/error.hpp>

namespace sluice::control {
namespace {

using boost::system::error_code;

error_code from_errno(int number) {
  return error_code(number, boost::system::system_category());
}

// poll() takes milliseconds in an int; a longer wait is taken in slices of this.
constexpr int kPollSliceMs = 60'000;

}  // namespace

SocketStream::SocketStream(UniqueFd socket, int cancel_fd) : socket_(std::move(socket)), cancel_fd_(cancel_fd) {
  const int flags = ::fcntl(socket_.get(), F_GETFL);
  if (flags >= 0) (void)::fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK);
}

bool SocketStream::wait(short events, error_code& ec) const {
  for (;;) {
    int timeout_ms = kPollSliceMs;
    if (deadline_ != Clock::time_point::max()) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
      if (left <= 0) {
        ec = boost::asio::error::timed_out;
        return false;
      }
      timeout_ms = static_cast<int>(std::min<long>(left, kPollSliceMs));
    }
    pollfd polled[2] = {{socket_.get(), events, 0}, {cancel_fd_, POLLIN, 0}};
    const int ready = ::poll(polled, cancel_fd_ >= 0 ? 2 : 1, timeout_ms);
    if (ready < 0 && errno != EINTR) {
      ec = from_errno(errno);
      return false;
    }
    if (cancel_fd_ >= 0 && polled[1].revents != 0) {
      ec = boost::asio::error::operation_aborted;
      return false;
    }
    if (ready > 0 && polled[0].revents != 0) {
      ec = {};
      return true;
    }
  }
}

size_t SocketStream::read_piece(void* data, size_t size, error_code& ec) {
  for (;;) {
    const ssize_t got = ::recv(socket_.get(), data, size, 0);
    if (got > 0) {
      ec = {};
      return static_cast<size_t>(got);
    }
    if (got == 0) {
      ec = boost::asio::error::eof;
      return 0;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      ec = from_errno(errno);
      return 0;
    }
    if (!wait(POLLIN, ec)) return 0;
  }
}

size_t SocketStream::write_piece(const void* data, size_t size, error_code& ec) {
  for (;;) {
    const ssize_t put = ::send(socket_.get(), data, size, MSG_NOSIGNAL);
    if (put >= 0) {
      ec = {};
      return static_cast<size_t>(put);
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      ec = from_errno(errno);
      return 0;
    }
    if (!wait(POLLOUT, ec)) return 0;
  }
}

bool SocketStream::peer_gone() const {
  pollfd polled = {socket_.get(), POLLIN | POLLRDHUP, 0};
  return ::poll(&polled, 1, 0) > 0 && (polled.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

bool SocketStream::wait_while_connected(std::chrono::milliseconds timeout) const {
  pollfd polled[2] = {{socket_.get(), POLLRDHUP, 0}, {cancel_fd_, POLLIN, 0}};
  const int ready = ::poll(polled, cancel_fd_ >= 0 ? 2 : 1, static_cast<int>(timeout.count()));
  return ready == 0 || (ready < 0 && errno == EINTR);
}

Result<UniqueFd> connect_unix(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail("control socket " + path + ": the path is longer than " + std::to_string(sizeof address.sun_path - 1) +
                " bytes");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return fail_errno("control socket", errno);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    return fail_errno("connect to " + path, errno);
  }
  return socket;
}

}  // namespace sluice::control
