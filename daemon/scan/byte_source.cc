#include "daemon/scan/byte_source.h"

#include <unistd.h>

#include <cerrno>

namespace sluice::scan {

Result<size_t> DescriptorSource::read(std::span<uint8_t> room) {
  if (monitor_.cancelled.load(std::memory_order_relaxed)) return fail("the search was ended");
  while (true) {
    const ssize_t count = ::read(fd_, room.data(), room.size());
    if (count >= 0) {
      monitor_.bytes_read.fetch_add(static_cast<uint64_t>(count), std::memory_order_relaxed);
      return static_cast<size_t>(count);
    }
    if (errno != EINTR) return fail_errno("read", errno);
  }
}

}  // namespace sluice::scan
