#include "daemon/catalog/own_connect.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace sluice::catalog {
namespace {

thread_local OwnConnects* current = nullptr;

bool is_tcp(int fd, const sockaddr* address, socklen_t length) {
  if (address == nullptr || length < sizeof(sa_family_t)) return false;
  if (address->sa_family != AF_INET && address->sa_family != AF_INET6) return false;
  int type = 0;
  socklen_t size = sizeof type;
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

}  // namespace

OwnConnects::OwnConnects(const SocketRegistry& registry) : registry_(registry), before_(current) {
  current = this;
}

OwnConnects::~OwnConnects() {
  current = before_;
  for (const UniqueFd& socket : sockets_) registry_.forget(socket.get());
}

bool OwnConnects::admit(int fd) {
  UniqueFd kept(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!kept.valid()) return false;
  if (Status added = registry_.add(fd); !added) {
    why_ = added.error().message;
    return false;
  }
  sockets_.push_back(std::move(kept));
  return true;
}

}  // namespace sluice::catalog

// See own_connect.h. NOLINTNEXTLINE(readability-identifier-naming)
extern "C" int connect(int fd, const sockaddr* address, socklen_t length) {
  using sluice::catalog::current;
  if (current != nullptr && sluice::catalog::is_tcp(fd, address, length) && !current->admit(fd)) {
    errno = ECONNREFUSED;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_connect, fd, address, length));
}
