// A bare TCP relay: the floor that any proxy in user space pays, and what scripts/bench compares with. It reads what is
// there and writes it to the other side; it looks at nothing. Threads, epoll and buffer sizes are those of the daemon's
// pump, so that the difference between the two is what inspection costs. Usage: sluice_relay LISTEN_PORT SERVER_PORT
// (both on 127.0.0.1)
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr size_t kReadBufferBytes = 128 * 1024;
constexpr int kEventsMax = 256;

struct Pair;

struct End {
  Pair* pair = nullptr;
  End* peer = nullptr;
  int fd = -1;
  bool readable = false;
  bool writable = true;
  bool ended = false;        // read end of file
  bool passed_end = false;   // told the peer
  std::string pending = {};  // for this end's socket, which did not take it
};

struct Pair {
  End client, server;
};

void set_no_delay(int fd) {
  int one = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) std::perror("TCP_NODELAY");
}

class Relay {
 public:
  explicit Relay(uint16_t server_port) : server_port_(server_port) {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    wake_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
    epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event);
  }

  void give(int client_fd) {
    {
      std::lock_guard lock(mutex_);
      arrivals_.push_back(client_fd);
    }
    uint64_t one = 1;
    if (write(wake_, &one, sizeof one) < 0) std::perror("eventfd");
  }

  void run() {
    epoll_event events[kEventsMax];
    for (;;) {
      int count = epoll_wait(epoll_, events, kEventsMax, -1);
      for (int i = 0; i < count; ++i) {
        auto* end = static_cast<End*>(events[i].data.ptr);
        if (end == nullptr) {
          take_arrivals();
          continue;
        }
        if (end->pair == nullptr) continue;  // closed in this turn
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) end->readable = true;
        if (events[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) end->writable = true;
        turn(*end->pair);
      }
      closed_.clear();
    }
  }

 private:
  void take_arrivals() {
    uint64_t count;
    if (read(wake_, &count, sizeof count) < 0 && errno != EAGAIN) std::perror("eventfd");
    std::vector<int> arrivals;
    {
      std::lock_guard lock(mutex_);
      arrivals.swap(arrivals_);
    }
    for (int fd : arrivals) start(fd);
  }

  void start(int client_fd) {
    int server_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server_port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (server_fd < 0 ||
        (connect(server_fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 && errno != EINPROGRESS)) {
      close(client_fd);
      if (server_fd >= 0) close(server_fd);
      return;
    }
    set_no_delay(client_fd);
    set_no_delay(server_fd);
    auto* pair = new Pair;
    pair->client = {.pair = pair, .peer = &pair->server, .fd = client_fd};
    pair->server = {.pair = pair, .peer = &pair->client, .fd = server_fd, .writable = false};
    for (End* end : {&pair->client, &pair->server}) {
      epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.ptr = end}};
      epoll_ctl(epoll_, EPOLL_CTL_ADD, end->fd, &event);
    }
  }

  void turn(Pair& pair) {
    if (!flush(pair.client) || !flush(pair.server) || !pump(pair.client) || !pump(pair.server)) {
      finish(pair);
      return;
    }
    if (pair.client.passed_end && pair.server.passed_end) finish(pair);
  }

  // Writes what an end's socket did not take before. False: the pair is over.
  static bool flush(End& end) {
    while (!end.pending.empty() && end.writable) {
      ssize_t n = send(end.fd, end.pending.data(), end.pending.size(), MSG_NOSIGNAL);
      if (n > 0) {
        end.pending.erase(0, static_cast<size_t>(n));
      } else if (errno == EAGAIN) {
        end.writable = false;
      } else {
        return false;
      }
    }
    return true;
  }

  // Reads from one end, writes to its peer, until a short read or a full peer.
  bool pump(End& from) {
    End& to = *from.peer;
    while (from.readable && to.writable && to.pending.empty() && !from.ended) {
      ssize_t n = recv(from.fd, buffer_.get(), kReadBufferBytes, 0);
      if (n < 0) {
        if (errno != EAGAIN) return false;
        from.readable = false;
        break;
      }
      if (n == 0) {
        from.ended = true;
        break;
      }
      if (static_cast<size_t>(n) < kReadBufferBytes) from.readable = false;
      ssize_t sent = send(to.fd, buffer_.get(), static_cast<size_t>(n), MSG_NOSIGNAL);
      if (sent < 0) {
        if (errno != EAGAIN) return false;
        sent = 0;
      }
      if (sent < n) {
        to.writable = false;
        to.pending.assign(buffer_.get() + sent, static_cast<size_t>(n - sent));
      }
    }
    if (from.ended && to.pending.empty() && !from.passed_end) {
      from.passed_end = true;
      shutdown(to.fd, SHUT_WR);
    }
    return true;
  }

  void finish(Pair& pair) {
    close(pair.client.fd);
    close(pair.server.fd);
    pair.client.pair = pair.server.pair = nullptr;
    closed_.emplace_back(&pair);  // freed after this turn's events, which may still point here
  }

  uint16_t server_port_;
  int epoll_ = -1;
  int wake_ = -1;
  std::mutex mutex_;
  std::vector<int> arrivals_;
  std::vector<std::unique_ptr<Pair>> closed_;
  std::unique_ptr<char[]> buffer_ = std::make_unique_for_overwrite<char[]>(kReadBufferBytes);
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s LISTEN_PORT SERVER_PORT\n", argv[0]);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(argv[1])));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener, SOMAXCONN) != 0) {
    std::perror("listen");
    return 1;
  }
  std::vector<std::unique_ptr<Relay>> relays;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < std::max(std::thread::hardware_concurrency() / 2, 1u); ++i) {
    relays.push_back(std::make_unique<Relay>(static_cast<uint16_t>(std::atoi(argv[2]))));
    threads.emplace_back([relay = relays.back().get()] { relay->run(); });
  }
  for (size_t next = 0;; ++next) {
    int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) relays[next % relays.size()]->give(fd);
  }
}
