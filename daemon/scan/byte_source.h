// Where the bytes of one text come from: a descriptor, or a member of an archive. Borrowed; one thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "daemon/base/result.h"

namespace sluice::scan {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // At least one byte, 0 at the end. Errors: a sentence.
  [[nodiscard]] virtual Result<size_t> read(std::span<uint8_t> room) = 0;
};

// What a search shows of itself while it goes on, and how it is told to stop. Any thread.
struct Monitor {
  std::atomic<uint64_t> bytes_read{0};
  std::atomic<bool> cancelled{false};
};

class DescriptorSource final : public ByteSource {
 public:
  DescriptorSource(int fd, Monitor& monitor) : fd_(fd), monitor_(monitor) {}
  [[nodiscard]] Result<size_t> read(std::span<uint8_t> room) override;

 private:
  int fd_;
  Monitor& monitor_;
};

}  // namespace sluice::scan
