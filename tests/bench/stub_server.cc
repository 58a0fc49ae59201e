// A server that speaks just enough PostgreSQL to be talked to: any user is let in, any Query answers one row, whatever
// it says. It costs next to nothing, so that a benchmark of connections measures what stands before it, and it holds as
// many sessions as there are descriptors. Plain text, protocol 3.0; SSLRequest and GSSENCRequest are answered `N`.
//
//   usage: sluice_stub_server PORT
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr size_t kMessageBytesMax = 1 << 20;
constexpr uint32_t kSslRequest = 80877103, kGssRequest = 80877104, kProtocol3 = 196608;
constexpr int kListenBacklog = 4096;

std::string u32(uint32_t value) {
  value = htonl(value);
  return {reinterpret_cast<const char*>(&value), sizeof value};
}
std::string message(char tag, const std::string& body) {
  return tag + u32(static_cast<uint32_t>(body.size() + 4)) + body;
}
const std::string kReady = message('Z', "I");
const std::string kWelcome = message('R', u32(0)) + message('S', std::string("client_encoding\0UTF8\0", 21)) +
                             message('S', std::string("standard_conforming_strings\0on\0", 31)) +
                             message('K', u32(1) + u32(2)) + kReady;
const std::string kRow = message('T', std::string("\0\1n\0", 4) + u32(0) + std::string("\0\0", 2) + u32(23) +
                                          std::string("\0\4\xff\xff\xff\xff\0\0", 8)) +
                         message('D', std::string("\0\1", 2) + u32(1) + "1") +
                         message('C', std::string("SELECT 1\0", 9)) + kReady;

struct Connection {
  int fd = -1;
  bool started = false;
  std::string input;
};

void fatal(const char* what) {
  std::fprintf(stderr, "sluice_stub_server: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

uint32_t length_at(const std::string& bytes, size_t at) {
  uint32_t value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return ntohl(value);
}

// Answers every whole message. False where the connection is over.
bool serve(Connection& client) {
  std::string out;
  size_t at = 0;
  bool open = true;
  while (open) {
    const size_t head = client.started ? 1 : 0;
    if (client.input.size() - at < head + 4) break;
    const uint32_t length = length_at(client.input, at + head);
    if (length < 4 || length > kMessageBytesMax) return false;
    if (client.input.size() - at < head + length) break;
    if (!client.started) {
      const uint32_t code = length >= 8 ? length_at(client.input, at + 4) : 0;
      if (code == kSslRequest || code == kGssRequest) {
        out += 'N';
      } else if (code == kProtocol3) {
        client.started = true;
        out += kWelcome;
      } else {
        open = false;
      }
    } else if (client.input[at] == 'Q') {
      out += kRow;
    } else {
      open = false;  // Terminate, or something that this server does not know
    }
    at += head + length;
  }
  client.input.erase(0, at);
  if (!out.empty() && ::send(client.fd, out.data(), out.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(out.size()))
    return false;
  return open;
}

void accept_all(int listener, int epoll) {
  for (;;) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    const int one = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    auto* client = new Connection{fd, false, {}};
    epoll_event event{EPOLLIN, {.ptr = client}};
    if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) fatal("epoll_ctl");
  }
}

void run(int listener) {
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{EPOLLIN | EPOLLEXCLUSIVE, {.ptr = nullptr}};
  if (epoll < 0 || ::epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0) fatal("epoll");
  std::vector<epoll_event> events(256);
  char buffer[16384];
  for (;;) {
    const int count = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      auto* client = static_cast<Connection*>(events[static_cast<size_t>(i)].data.ptr);
      if (client == nullptr) {
        accept_all(listener, epoll);
        continue;
      }
      const ssize_t got = ::recv(client->fd, buffer, sizeof buffer, 0);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (got > 0) client->input.append(buffer, static_cast<size_t>(got));
      if (got > 0 && serve(*client)) continue;
      ::close(client->fd);
      delete client;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: sluice_stub_server PORT\n");
    return 2;
  }
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  descriptors.rlim_cur = descriptors.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &descriptors);
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int one = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(argv[1])));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fatal("bind");
  if (::listen(listener, kListenBacklog) != 0) fatal("listen");
  std::thread second(run, listener);
  run(listener);
}
