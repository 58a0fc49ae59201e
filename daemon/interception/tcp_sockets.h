// The TCP connections that this host has open, as the kernel lists them, and ending one of them from outside. In the
// network namespace of the calling thread through sock_diag(7); in others through /proc/PID/net/tcp, which needs no
// capability but cannot end anything. Stateless functions; any thread. Listing needs no privilege; ending needs
// CAP_NET_ADMIN and a kernel with CONFIG_INET_DIAG_DESTROY. Limits: kSocketsListedMax.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/interception/steering.h"

namespace sluice::interception {

inline constexpr size_t kSocketsListedMax = 262'144;  // of one namespace; more are an error, never a shorter list

struct TcpSocket {
  // Full-length endpoints; v4-mapped addresses as the IPv4 ones that they stand for.
  SteeredEndpoint local;
  SteeredEndpoint remote;
  bool mapped = false;     // an AF_INET6 socket that speaks IPv4
  uint64_t cookie = 0;     // SO_COOKIE; 0 where it is not known
  uint64_t inode = 0;      // of the socket; 0: no process holds it any more
  uint64_t cgroup_id = 0;  // in which it was made; 0 where it is not known
  uint32_t uid = 0;
  uint32_t interface = 0;
};

// Connections that can still carry bytes: not listening, not only waiting for their time to end, and held by a process.
[[nodiscard]] Result<std::vector<TcpSocket>> list_tcp_sockets();

// The same of the namespace of a process, from its /proc/PID/net/tcp and tcp6.
[[nodiscard]] Result<std::vector<TcpSocket>> list_tcp_sockets_of(const std::string& proc_net_directory);

// For destroy_tcp_socket().
[[nodiscard]] Result<UniqueFd> open_sock_diag();
// Ends it: its owner gets ECONNABORTED, its peer a reset. 0 or an errno. Only a connection whose cookie is known, never
// a listener. One caller at a time per descriptor.
[[nodiscard]] int destroy_tcp_socket(int sock_diag, const TcpSocket& socket);
// What that errno means: the connection is gone, this kernel cannot, or the system's words.
[[nodiscard]] Status destroyed(int error_number);

// Lines of /proc/net/tcp or tcp6, header included. What cannot be read is an error.
[[nodiscard]] Result<std::vector<TcpSocket>> parse_proc_net_tcp(std::string_view text, int family);

}  // namespace sluice::interception
