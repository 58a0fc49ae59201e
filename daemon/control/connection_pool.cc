#include "daemon/control/connection_pool.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include <spdlog/spdlog.h>

namespace sluice::control {
namespace {

// Between two tries after accept() failed for want of descriptors or memory.
constexpr int kAcceptRetryMs = 100;

}  // namespace

ConnectionPool::ConnectionPool(std::string name, UniqueFd listener, UniqueFd cancel, size_t clients_max, Handler serve,
                               Handler refuse)
    : name_(std::move(name)),
      listener_(std::move(listener)),
      cancel_(std::move(cancel)),
      clients_max_(clients_max),
      serve_(std::move(serve)),
      refuse_(std::move(refuse)) {
  acceptor_ = std::thread([this] { accept_loop(); });
}

ConnectionPool::~ConnectionPool() {
  const uint64_t one = 1;
  // An eventfd write of 1 fails only past 2^64 - 2 writes.
  (void)!::write(cancel_.get(), &one, sizeof one);
  acceptor_.join();
  for (Connection& connection : connections_) connection.thread.join();
}

void ConnectionPool::accept_loop() {
  for (;;) {
    pollfd polled[2] = {{listener_.get(), POLLIN, 0}, {cancel_.get(), POLLIN, 0}};
    if (::poll(polled, 2, -1) < 0 && errno != EINTR) {
      spdlog::error("{}: poll: {}; nobody is served there any more", name_,
                    std::error_code(errno, std::generic_category()).message());
      return;
    }
    if (polled[1].revents != 0) return;
    UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (client.valid()) {
      take(std::move(client));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      // The connection stays in the backlog; look again shortly instead of spinning.
      pollfd cancelled = {cancel_.get(), POLLIN, 0};
      (void)::poll(&cancelled, 1, kAcceptRetryMs);
    }
  }
}

void ConnectionPool::take(UniqueFd client) {
  for (auto it = connections_.begin(); it != connections_.end();) {
    if (!it->finished) {
      ++it;
      continue;
    }
    it->thread.join();
    it = connections_.erase(it);
  }
  if (connections_.size() >= clients_max_) {
    SocketStream stream(std::move(client), cancel_.get());
    refuse_(stream);
    return;
  }
  Connection& connection = connections_.emplace_back();
  connection.thread = std::thread([this, &connection, socket = std::move(client)]() mutable {
    {
      SocketStream stream(std::move(socket), cancel_.get());
      serve_(stream);
    }
    connection.finished = true;
  });
}

}  // namespace sluice::control
