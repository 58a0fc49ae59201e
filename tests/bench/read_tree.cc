// Only reads every file of a tree, with as many threads as asked for: what scripts/bench holds `sluice scan` against.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr size_t kWindowBytes = size_t{256} * 1024;

uint64_t read_file(const std::string& path, std::vector<uint8_t>& window) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  uint64_t bytes = 0;
  for (ssize_t count = 1; count > 0;) {
    count = ::read(fd, window.data(), window.size());
    if (count > 0) bytes += static_cast<uint64_t>(count);
  }
  ::close(fd);
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: sluice_read_tree THREADS DIRECTORY\n");
    return 2;
  }
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[2])) {
    if (entry.is_regular_file()) paths.push_back(entry.path());
  }
  std::atomic<size_t> next{0};
  std::atomic<uint64_t> total{0};
  std::vector<std::thread> threads;
  for (long i = 0; i < std::strtol(argv[1], nullptr, 10); ++i) {
    threads.emplace_back([&] {
      std::vector<uint8_t> window(kWindowBytes);
      for (size_t at = next++; at < paths.size(); at = next++) total += read_file(paths[at], window);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("%llu\n", static_cast<unsigned long long>(total));
  return 0;
}
