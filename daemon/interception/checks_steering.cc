// Rows of the doctor: the whole way, by each kind of socket and call that a client may use.
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "daemon/interception/trial_connection.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

namespace sluice::interception {
namespace {

sockaddr_in to_four(in_addr_t address) {
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(kTrialPort);
  to.sin_addr.s_addr = htonl(address);
  return to;
}

int connect_four(int fd, in_addr_t address) {
  const sockaddr_in to = to_four(address);
  return connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 ? 0 : errno;
}

int connect_to_any() {
  return connect_four(socket(AF_INET, SOCK_STREAM, 0), INADDR_ANY);
}

int connect_mapped() {
  const int fd = socket(AF_INET6, SOCK_STREAM, 0);
  if (fd < 0) return kTrialNotPossible;
  sockaddr_in6 to = {};
  to.sin6_family = AF_INET6;
  to.sin6_port = htons(kTrialPort);
  to.sin6_addr.s6_addr[10] = to.sin6_addr.s6_addr[11] = 0xff;
  to.sin6_addr.s6_addr[12] = 127;
  to.sin6_addr.s6_addr[15] = 1;
  return connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 ? 0 : errno;
}

int connect_six_only() {
  const int fd = socket(AF_INET6, SOCK_STREAM, 0);
  const int on = 1;
  if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) return kTrialNotPossible;
  sockaddr_in6 to = {};
  to.sin6_family = AF_INET6;
  to.sin6_port = htons(kTrialPort);
  to.sin6_addr = in6addr_loopback;
  return connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 ? 0 : errno;
}

int connect_bound_to_device() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  static constexpr char kLoopback[] = "lo";
  if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, kLoopback, sizeof kLoopback) != 0) return kTrialNotPossible;
  return connect_four(fd, INADDR_LOOPBACK);
}

int connect_multipath() {
  const int fd = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
  return fd < 0 ? kTrialNotPossible : connect_four(fd, INADDR_LOOPBACK);
}

int connect_by_fast_open() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in to = to_four(INADDR_LOOPBACK);
  if (sendto(fd, "x", 1, MSG_FASTOPEN, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 1) return 0;
  return errno == EOPNOTSUPP ? kTrialNotPossible : errno;
}

// One connect by a ring of one entry, by the system calls themselves.
int connect_by_ring() {
  io_uring_params parameters = {};
  const int ring = static_cast<int>(syscall(SYS_io_uring_setup, 1, &parameters));
  if (ring < 0) return kTrialNotPossible;
  const auto map = [ring](size_t bytes, off_t where) {
    return static_cast<uint8_t*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, where));
  };
  uint8_t* const submissions =
      map(parameters.sq_off.array + parameters.sq_entries * sizeof(uint32_t), IORING_OFF_SQ_RING);
  uint8_t* const completions =
      map(parameters.cq_off.cqes + parameters.cq_entries * sizeof(io_uring_cqe), IORING_OFF_CQ_RING);
  uint8_t* const entries = map(parameters.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES);
  if (submissions == MAP_FAILED || completions == MAP_FAILED || entries == MAP_FAILED) return kTrialNotPossible;
  const sockaddr_in to = to_four(INADDR_LOOPBACK);
  io_uring_sqe entry = {};
  entry.opcode = IORING_OP_CONNECT;
  entry.fd = socket(AF_INET, SOCK_STREAM, 0);
  entry.addr = reinterpret_cast<uint64_t>(&to);
  entry.off = sizeof to;
  std::memcpy(entries, &entry, sizeof entry);
  const uint32_t one = 1;
  std::memset(submissions + parameters.sq_off.array, 0, sizeof(uint32_t));
  std::memcpy(submissions + parameters.sq_off.tail, &one, sizeof one);
  if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, nullptr, 0) < 0) return kTrialNotPossible;
  io_uring_cqe done = {};
  std::memcpy(&done, completions + parameters.cq_off.cqes, sizeof done);
  return -done.res;
}

template <ConnectWay kWay>
Verdict try_way(TrialHost& host) {
  bool not_possible = false;
  const auto connected = connect_steered(host, kWay, not_possible);
  if (connected) return found("steered, and arrived with its note");
  return not_possible ? unknown("not tried: this kernel makes no such connection, so there is none to steer")
                      : missing(connected.error().message);
}

Verdict try_plainly(TrialHost& host) {
  bool not_possible = false;
  const auto connected = connect_steered(host, connect_plainly, not_possible);
  return connected ? found(connected->capabilities) : missing(connected.error().message);
}

Verdict try_without_daemon(TrialHost& host) {
  const auto refused = connect_without_daemon(host);
  if (!refused) return missing(refused.error().message);
  if (*refused == ECONNREFUSED || *refused == EPERM) return found("refused at once: " + error_text(*refused));
  return missing(*refused == 0 ? "the connect got through" : error_text(*refused));
}

Verdict try_six_loopback(TrialHost&) {
  const UniqueFd six(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 loopback = {};
  loopback.sin6_family = AF_INET6;
  loopback.sin6_addr = in6addr_loopback;
  if (six.valid() && bind(six.get(), reinterpret_cast<sockaddr*>(&loopback), sizeof loopback) == 0)
    return found("::1 can be bound");
  return missing(error_text(errno));
}

constexpr const char* kAbove = "see the rows above for what is missing";
constexpr const char* kPast = "such connections are not steered, or fail";

constexpr Check kChecks[] = {
    {"steering end to end", Need::required, "connections to protected targets cannot be steered on this host", kAbove,
     try_plainly},
    {"refusal without the daemon", Need::required, "a target with when_down: deny is open while the daemon is away",
     kAbove, try_without_daemon},
    {"IPv6 loopback", Need::optional, "sockets that only speak IPv6 follow when_down",
     "bring ::1 up on the loopback device", try_six_loopback},
    {"steering: IPv6 sockets", Need::optional, "sockets that only speak IPv6 follow when_down", kAbove,
     try_way<connect_six_only>},
    {"steering: IPv4 through IPv6 sockets", Need::required, kPast, kAbove, try_way<connect_mapped>},
    {"steering: 0.0.0.0", Need::required, kPast, kAbove, try_way<connect_to_any>},
    {"steering: SO_BINDTODEVICE", Need::optional, "connects of sockets bound to a device fail", kAbove,
     try_way<connect_bound_to_device>},
    {"steering: TCP Fast Open", Need::required, kPast, kAbove, try_way<connect_by_fast_open>},
    {"steering: Multipath TCP", Need::required, kPast, kAbove, try_way<connect_multipath>},
    {"steering: io_uring", Need::required, kPast, kAbove, try_way<connect_by_ring>},
};

}  // namespace

CheckGroup steering_checks() {
  return {"steering", kChecks};
}

}  // namespace sluice::interception
