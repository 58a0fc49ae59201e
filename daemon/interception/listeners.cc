#include "daemon/interception/listeners.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

namespace sluice::interception {
namespace {

Result<UniqueFd> listen_on(int family, const sockaddr* address, socklen_t size) {
  UniqueFd fd(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd.valid()) return fail_errno("open a listening socket", errno);
  int on = 1;
  if (family == AF_INET6 && setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0) {
    return fail_errno("set IPV6_V6ONLY", errno);
  }
  // IPv6: ::1 itself keeps others out, and a socket bound to lo could not answer a client bound to another own address,
  // whose route goes through that address's device.
  static constexpr char kLoopback[] = "lo";
  if (family == AF_INET && setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, kLoopback, sizeof(kLoopback)) != 0) {
    return fail_errno("bind a listening socket to the loopback device", errno);
  }
  if (bind(fd.get(), address, size) != 0) return fail_errno("bind a listening socket", errno);
  if (listen(fd.get(), kListenBacklog) != 0) return fail_errno("listen", errno);
  return fd;
}

}  // namespace

Result<std::vector<Listener>> open_listening_sockets() {
  std::vector<Listener> listeners;
  sockaddr_in any = {};
  any.sin_family = AF_INET;
  auto four = listen_on(AF_INET, reinterpret_cast<sockaddr*>(&any), sizeof(any));
  if (!four) return within("IPv4", four.error());
  listeners.push_back({std::move(*four), AF_INET});
  sockaddr_in6 loopback = {};
  loopback.sin6_family = AF_INET6;
  loopback.sin6_addr = in6addr_loopback;
  auto six = listen_on(AF_INET6, reinterpret_cast<sockaddr*>(&loopback), sizeof(loopback));
  if (six) listeners.push_back({std::move(*six), AF_INET6});
  return listeners;
}

}  // namespace sluice::interception
