// A bare TCP relay: what it costs to stand in the way and look at nothing. scripts/bench runs it beside Sluice, so that the price of
// looking (parsing, masking, deciding, recording) can be told from the price of being there.
// One epoll loop per thread, a connection stays on its thread, the same read size as the daemon's pump. Not part of the product.
//
// usage: sluice_relay LISTEN_PORT TARGET_PORT THREADS      (loopback)
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "daemon/base/unique_fd.h"

namespace {

using sluice::UniqueFd;

constexpr size_t kBufferBytes = 64 * 1024;
constexpr int kEventsMax = 64;

struct Relayed;

// One of the two sockets of a connection, and what was read from it and is not yet written to the other.
struct End {
  Relayed* relayed = nullptr;
  UniqueFd fd;
  std::vector<char> pending;   // empty unless the other side is slow
  size_t written = 0;
  bool ended = false;          // it sent its FIN
};

struct Relayed {
  End ends[2];
  bool dead = false;
};

End& other(End& end) { return &end == &end.relayed->ends[0] ? end.relayed->ends[1] : end.relayed->ends[0]; }

void watch(int epoll, End& end, int operation) {
  epoll_event event = {};
  // Read while nothing waits for the other side; wait for room where something waits for this one.
  event.events = (end.pending.empty() && !end.ended ? EPOLLIN : 0u) | (other(end).pending.empty() ? 0u : EPOLLOUT);
  event.data.ptr = &end;
  if (::epoll_ctl(epoll, operation, end.fd.get(), &event) < 0) end.relayed->dead = true;
}

// Writes what waits; true once all is written.
bool write_pending(End& from) {
  while (from.written < from.pending.size()) {
    const ssize_t put = ::send(other(from).fd.get(), from.pending.data() + from.written, from.pending.size() - from.written, MSG_NOSIGNAL);
    if (put < 0) {
      if (errno == EAGAIN || errno == EINTR) return false;
      from.relayed->dead = true;
      return false;
    }
    from.written += static_cast<size_t>(put);
  }
  from.pending.clear();
  from.written = 0;
  return true;
}

void pass(int epoll, End& from, char* buffer) {
  const ssize_t got = ::recv(from.fd.get(), buffer, kBufferBytes, 0);
  if (got < 0) {
    if (errno != EAGAIN && errno != EINTR) from.relayed->dead = true;
    return;
  }
  if (got == 0) {
    from.ended = true;
    ::shutdown(other(from).fd.get(), SHUT_WR);
    if (other(from).ended) from.relayed->dead = true;
    watch(epoll, from, EPOLL_CTL_MOD);
    return;
  }
  ssize_t put = ::send(other(from).fd.get(), buffer, static_cast<size_t>(got), MSG_NOSIGNAL);
  if (put < 0) {
    if (errno != EAGAIN && errno != EINTR) {
      from.relayed->dead = true;
      return;
    }
    put = 0;
  }
  if (put < got) {
    from.pending.assign(buffer + put, buffer + got);
    watch(epoll, from, EPOLL_CTL_MOD);
    watch(epoll, other(from), EPOLL_CTL_MOD);
  }
}

UniqueFd connect_to(uint16_t port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) return {};
  return fd;
}

void prepare(int fd) {
  const int one = 1;
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

void run_loop(uint16_t listen_port, uint16_t target_port) {
  UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int one = 1;
  (void)::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  (void)::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(listen_port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 || ::listen(listener.get(), 1024) < 0) {
    std::perror("sluice_relay: listen");
    std::exit(1);
  }
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event accepting = {};
  accepting.events = EPOLLIN;
  (void)::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, listener.get(), &accepting);

  std::vector<char> buffer(kBufferBytes);
  std::vector<std::unique_ptr<Relayed>> dead;
  epoll_event events[kEventsMax];
  for (;;) {
    const int count = ::epoll_wait(epoll.get(), events, kEventsMax, -1);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.ptr == nullptr) {
        UniqueFd client(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!client.valid()) continue;
        UniqueFd server = connect_to(target_port);
        if (!server.valid()) continue;
        const int flag = 1;
        (void)::setsockopt(server.get(), IPPROTO_TCP, TCP_NODELAY, &flag, sizeof flag);
        auto* relayed = new Relayed;  // owned by the loop: deleted below, once it is dead
        relayed->ends[0].fd = std::move(client);
        relayed->ends[1].fd = std::move(server);
        for (End& end : relayed->ends) {
          end.relayed = relayed;
          prepare(end.fd.get());
        }
        for (End& end : relayed->ends) watch(epoll.get(), end, EPOLL_CTL_ADD);
        continue;
      }
      End& end = *static_cast<End*>(events[i].data.ptr);
      if (end.relayed->dead) continue;
      if ((events[i].events & EPOLLOUT) != 0 && write_pending(other(end))) {
        watch(epoll.get(), end, EPOLL_CTL_MOD);
        watch(epoll.get(), other(end), EPOLL_CTL_MOD);
      }
      if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !end.relayed->dead) pass(epoll.get(), end, buffer.data());
      if (end.relayed->dead) {
        for (End& closing : end.relayed->ends) (void)::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, closing.fd.get(), nullptr);
        dead.emplace_back(end.relayed);
      }
    }
    dead.clear();  // only here: later events of the same batch may still name them
  }
}

bool read_number(const char* text, unsigned long max, unsigned long& number) {
  const char* end = text + std::strlen(text);
  const auto [at, error] = std::from_chars(text, end, number);
  return error == std::errc{} && at == end && number >= 1 && number <= max;
}

}  // namespace

int main(int argc, char** argv) {
  unsigned long listen_port = 0;
  unsigned long target_port = 0;
  unsigned long threads = 0;
  if (argc != 4 || !read_number(argv[1], 65535, listen_port) || !read_number(argv[2], 65535, target_port) || !read_number(argv[3], 256, threads)) {
    std::fprintf(stderr, "usage: sluice_relay LISTEN_PORT TARGET_PORT THREADS\n");
    return 2;
  }
  std::vector<std::thread> loops;
  for (unsigned long i = 0; i < threads; ++i) {
    loops.emplace_back([=] { run_loop(static_cast<uint16_t>(listen_port), static_cast<uint16_t>(target_port)); });
  }
  for (std::thread& loop : loops) loop.join();
  return 0;
}
