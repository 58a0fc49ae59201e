#include "daemon/interception/notes.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#include <cstring>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace sluice::interception {
namespace {

constexpr uint32_t kKernelMinorBits = 20;  // dev_t inside the kernel: major << 20 | minor

bool put_address(const sockaddr_storage& from, uint32_t address[4], uint16_t& port) {
  if (from.ss_family == AF_INET) {
    const auto& four = reinterpret_cast<const sockaddr_in&>(from);
    address[0] = 0;
    address[1] = 0;
    address[2] = htonl(0xffff);
    address[3] = four.sin_addr.s_addr;
    port = ntohs(four.sin_port);
    return true;
  }
  if (from.ss_family != AF_INET6) return false;
  const auto& six = reinterpret_cast<const sockaddr_in6&>(from);
  std::memcpy(address, &six.sin6_addr, 16);
  port = ntohs(six.sin6_port);
  return true;
}

}  // namespace

std::optional<sluice_note_key> note_key_of(int accepted_fd) {
  sluice_note_key key = {};
  sockaddr_storage client = {};
  sockaddr_storage own = {};
  socklen_t client_size = sizeof(client);
  socklen_t own_size = sizeof(own);
  socklen_t cookie_size = sizeof(key.netns_cookie);
  if (getpeername(accepted_fd, reinterpret_cast<sockaddr*>(&client), &client_size) != 0) return std::nullopt;
  if (getsockname(accepted_fd, reinterpret_cast<sockaddr*>(&own), &own_size) != 0) return std::nullopt;
  if (getsockopt(accepted_fd, SOL_SOCKET, SO_NETNS_COOKIE, &key.netns_cookie, &cookie_size) != 0) return std::nullopt;
  if (!put_address(client, key.local, key.local_port) || !put_address(own, key.remote, key.remote_port))
    return std::nullopt;
  return key;
}

ConnectNote to_connect_note(const sluice_note& note) {
  ConnectNote out;
  out.target = note.target;
  out.target_generation = note.generation;
  out.pid = static_cast<int32_t>(note.pid);
  out.parent_pid = static_cast<int32_t>(note.parent_pid);
  out.uid = note.uid;
  out.gid = note.gid;
  out.cgroup_id = note.cgroup_id;
  out.netns_cookie = note.netns_cookie;
  out.start_boottime_ns = note.start_boottime_ns;
  out.exec_id = note.exec_id;
  out.exe_inode = note.exe_inode;
  out.exe_device = makedev(note.exe_device >> kKernelMinorBits, note.exe_device & ((1u << kKernelMinorBits) - 1));
  out.connect_ktime_ns = note.connect_ktime_ns;
  out.bound_device = note.bound_device;
  if (note.original_family == SLUICE_IPV4) {
    auto& four = reinterpret_cast<sockaddr_in&>(out.original);
    four.sin_family = AF_INET;
    four.sin_port = htons(note.original_port);
    four.sin_addr.s_addr = note.original[0];
  } else {
    auto& six = reinterpret_cast<sockaddr_in6&>(out.original);
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(note.original_port);
    six.sin6_scope_id = note.original_scope;
    std::memcpy(&six.sin6_addr, note.original, 16);
  }
  return out;
}

}  // namespace sluice::interception
