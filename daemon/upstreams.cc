#include "daemon/upstreams.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "daemon/io/tcp_transport.h"

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif

namespace sluice {
namespace {

class ExemptTransport final : public io::Transport {
 public:
  ExemptTransport(UniqueFd socket, interception::Steering& steering, io::ShortCircuit short_circuit)
      : inner_(std::move(socket), short_circuit), steering_(steering) {}
  ~ExemptTransport() override { forget(); }

  io::IoResult read(std::span<uint8_t> into) override { return inner_.read(into); }
  io::IoResult write(std::span<const iovec> pieces) override { return inner_.write(pieces); }
  void shutdown_write() override { inner_.shutdown_write(); }
  void reset() override {
    forget();
    inner_.reset();
  }
  int fd() const override { return inner_.fd(); }

 private:
  void forget() {
    if (inner_.fd() >= 0) steering_.forget(inner_.fd());
  }
  io::TcpTransport inner_;
  interception::Steering& steering_;
};

bool is_loopback(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET)
    return ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
  const in6_addr& six = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  return address.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&six);
}

}  // namespace

Result<std::unique_ptr<io::Transport>> SteeredUpstreams::open(const sockaddr_storage& destination, uint32_t device) {
  UniqueFd socket(::socket(destination.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return fail_errno("socket to the server", errno);
  if (device != 0) {
    const int index = static_cast<int>(device);
    if (setsockopt(socket.get(), SOL_SOCKET, SO_BINDTOIFINDEX, &index, sizeof index) != 0) {
      return fail_errno("bind to the client's interface", errno);
    }
  }
  if (is_loopback(destination)) {
    io::tune_local_stream(socket.get());
  } else {
    io::tune_stream(socket.get());
  }
  if (Status exempt = steering_.exempt(socket.get()); !exempt)
    return within("register the upstream socket", exempt.error());
  const int fd = socket.get();
  auto transport = std::make_unique<ExemptTransport>(std::move(socket), steering_, short_circuits_.of(fd));
  const socklen_t length = destination.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&destination), length) != 0 && errno != EINPROGRESS) {
    return fail_errno("connect to the server", errno);
  }
  return transport;
}

}  // namespace sluice
