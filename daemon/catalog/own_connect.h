// libpq makes its socket and connects it in one step, with nothing in between where the socket could be registered as
// one of Sluice's own; steering would lead the connection back into Sluice. So the process's connect() is defined here:
// it does what the system call does, but while an OwnConnects lives on the calling thread it registers every TCP socket
// first. A symbol of the executable goes before that of the C library for every shared library.
//
// Sockets are kept (as duplicates) until they are forgotten, because a registration has to be taken back before its
// socket is gone. Lifetime: around one attempt to connect. Threading: one per thread.
#pragma once

#include <functional>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace sluice::catalog {

struct SocketRegistry {
  std::function<Status(int fd)> add;   // before connect(); a failure fails the connect
  std::function<void(int fd)> forget;  // before close()
};

class OwnConnects {
 public:
  explicit OwnConnects(const SocketRegistry& registry);
  ~OwnConnects();
  OwnConnects(const OwnConnects&) = delete;
  OwnConnects& operator=(const OwnConnects&) = delete;

  // The duplicates of all sockets that were registered meanwhile; whoever takes them forgets them.
  [[nodiscard]] std::vector<UniqueFd> take() { return std::move(sockets_); }
  [[nodiscard]] const std::string& why() const { return why_; }

  // For connect(): true where the connection may be made.
  [[nodiscard]] bool admit(int fd);

 private:
  const SocketRegistry& registry_;
  OwnConnects* const before_;
  std::vector<UniqueFd> sockets_;
  std::string why_;
};

}  // namespace sluice::catalog
