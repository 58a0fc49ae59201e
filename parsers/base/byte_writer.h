// Builds a byte buffer field by field, big-endian. Owns its bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::parsers {

class ByteWriter {
 public:
  ByteWriter& u8(uint8_t value) {
    bytes_.push_back(value);
    return *this;
  }
  ByteWriter& u16(uint16_t value) { return u8(static_cast<uint8_t>(value >> 8)).u8(static_cast<uint8_t>(value)); }
  ByteWriter& u32(uint32_t value) { return u16(static_cast<uint16_t>(value >> 16)).u16(static_cast<uint16_t>(value)); }
  ByteWriter& i32(int32_t value) { return u32(static_cast<uint32_t>(value)); }
  ByteWriter& raw(std::span<const uint8_t> value) {
    bytes_.insert(bytes_.end(), value.begin(), value.end());
    return *this;
  }
  ByteWriter& text(std::string_view value) {
    bytes_.insert(bytes_.end(), value.begin(), value.end());
    return *this;
  }
  ByteWriter& cstring(std::string_view value) { return text(value).u8(0); }
  // Overwrites four bytes written before (a length known only at the end).
  void put_u32(size_t position, uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes_.at(position++) = static_cast<uint8_t>(value >> shift);
  }

  [[nodiscard]] size_t size() const { return bytes_.size(); }
  [[nodiscard]] const std::vector<uint8_t>& bytes() const { return bytes_; }
  [[nodiscard]] std::vector<uint8_t> take() { return std::move(bytes_); }

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace sluice::parsers
