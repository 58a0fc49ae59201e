// What connect() costs a process: TCP connects to a port of 127.0.0.1 where nothing listens, so that nothing but the
// kernel's own path and what is attached to it is measured. Prints nanoseconds per socket, connect and close, the
// median of batches.
//
//   usage: sluice_connect_cost PORT BATCHES
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

int main(int argc, char** argv) {
  constexpr int kConnectsPerBatch = 1000;
  if (argc != 3) {
    std::fprintf(stderr, "usage: sluice_connect_cost PORT BATCHES\n");
    return 2;
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(argv[1])));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::vector<double> batches;
  for (int batch = 0; batch < std::atoi(argv[2]); ++batch) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kConnectsPerBatch; ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 || errno != ECONNREFUSED) {
        std::fprintf(stderr, "sluice_connect_cost: the port is not closed\n");
        return 1;
      }
      ::close(fd);
    }
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
    batches.push_back(took.count() / kConnectsPerBatch);
  }
  std::sort(batches.begin(), batches.end());
  std::printf("%.1f\n", batches.empty() ? 0.0 : batches[batches.size() / 2]);
}
