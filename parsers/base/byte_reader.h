// Reads fields off the front of a byte buffer, big-endian. A read past the end makes the reader fail for good and
// yields zeros, so that a decoder reads a whole message and asks once whether that was right. Borrows the bytes; no
// allocation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace sluice::parsers {

class ByteReader {
 public:
  explicit ByteReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  [[nodiscard]] uint8_t u8() { return has(1) ? bytes_[position_++] : 0; }
  [[nodiscard]] uint16_t u16() {
    if (!has(2)) return 0;
    const auto value = static_cast<uint16_t>(bytes_[position_] << 8 | bytes_[position_ + 1]);
    position_ += 2;
    return value;
  }
  [[nodiscard]] uint32_t u32() {
    if (!has(4)) return 0;
    uint32_t value;
    std::memcpy(&value, bytes_.data() + position_, 4);
    position_ += 4;
    return __builtin_bswap32(value);
  }
  [[nodiscard]] int32_t i32() { return static_cast<int32_t>(u32()); }

  [[nodiscard]] std::span<const uint8_t> bytes(size_t count) {
    if (!has(count)) return {};
    const auto piece = bytes_.subspan(position_, count);
    position_ += count;
    return piece;
  }

  // Characters up to the next NUL, which is consumed and not part of the result. Without a NUL: failure.
  [[nodiscard]] std::string_view cstring() {
    const auto rest = bytes_.subspan(position_);
    const void* nul = rest.empty() ? nullptr : std::memchr(rest.data(), 0, rest.size());
    if (!ok_ || nul == nullptr) {
      ok_ = false;
      return {};
    }
    const auto length = static_cast<size_t>(static_cast<const uint8_t*>(nul) - rest.data());
    position_ += length + 1;
    return {reinterpret_cast<const char*>(rest.data()), length};
  }

  [[nodiscard]] size_t position() const { return position_; }
  [[nodiscard]] size_t remaining() const { return bytes_.size() - position_; }
  [[nodiscard]] bool ok() const { return ok_; }
  // The whole buffer was read, no more and no less.
  [[nodiscard]] bool done() const { return ok_ && remaining() == 0; }

 private:
  [[nodiscard]] bool has(size_t count) {
    if (!ok_ || count > remaining()) ok_ = false;
    return ok_;
  }

  std::span<const uint8_t> bytes_;
  size_t position_ = 0;
  bool ok_ = true;
};

}  // namespace sluice::parsers
