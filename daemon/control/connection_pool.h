// Accepts connections of one listening socket and gives each a thread of its own, up to a bound: what the control
// server and the metrics server share. Every wait of a connection has a deadline, so a slow peer costs its own thread
// and nobody else's. Lifetime: from construction to destruction, which ends every connection (through the cancel
// descriptor that each SocketStream watches) and joins every thread. Limits: clients_max; more are handed to `refuse`.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <string>
#include <thread>

#include "daemon/base/unique_fd.h"
#include "daemon/control/socket_stream.h"

namespace sluice::control {

class ConnectionPool {
 public:
  using Handler = std::function<void(SocketStream&)>;

  // `serve` is called on the connection's thread; `refuse` on the accepting one, for those who are too many: it must
  // not wait. `cancel` is an eventfd; `name` is for the log.
  ConnectionPool(std::string name, UniqueFd listener, UniqueFd cancel, size_t clients_max, Handler serve,
                 Handler refuse);
  ~ConnectionPool();
  ConnectionPool(const ConnectionPool&) = delete;
  ConnectionPool& operator=(const ConnectionPool&) = delete;

 private:
  struct Connection {
    std::thread thread;
    std::atomic<bool> finished = false;
  };

  void accept_loop();
  void take(UniqueFd client);

  const std::string name_;
  const UniqueFd listener_;
  const UniqueFd cancel_;
  const size_t clients_max_;
  const Handler serve_;
  const Handler refuse_;
  std::list<Connection> connections_;  // touched by the acceptor alone, and by the destructor once that has ended
  std::thread acceptor_;
};

}  // namespace sluice::control
