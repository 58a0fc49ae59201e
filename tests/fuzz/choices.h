// What a structured fuzz target decides by: the bytes of its input, one after the other. When they are used up every
// choice is 0, which the targets take for the plainest one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice::fuzzing {

class Choices {
 public:
  Choices(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  uint8_t next() { return at_ < size_ ? data_[at_++] : 0; }
  [[nodiscard]] bool done() const { return at_ >= size_; }
  // Takes up to `size` bytes as they stand.
  std::span<const uint8_t> take(size_t size) {
    const std::span<const uint8_t> taken(data_ + at_, size < size_ - at_ ? size : size_ - at_);
    at_ += taken.size();
    return taken;
  }

 private:
  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
};

}  // namespace sluice::fuzzing
