// Writes protobuf wire format by hand (https://protobuf.dev/programming-guides/encoding/). Why: an event is built for
// every command, twice, on the data path; the generated classes allocate per string and per message, this appends to
// one buffer. That the generated parser reads the same is a test (tests/unit/daemon/events). Lifetime: borrows the
// string it appends to. Not thread safe.
#pragma once

#include <endian.h>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace sluice::events {

class WireWriter {
 public:
  explicit WireWriter(std::string& out) : out_(out) {}

  void varint(uint32_t field, uint64_t value) {
    char bytes[2 * kVarintBytesMax];
    const size_t size = put(bytes, tag(field, 0));
    out_.append(bytes, size + put(bytes + size, value));
  }
  void signed_varint(uint32_t field, int64_t value) {  // sint64: zigzag
    varint(field, (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63));
  }
  void fixed64(uint32_t field, uint64_t value) {
    char bytes[kVarintBytesMax + sizeof value];
    const size_t size = put(bytes, tag(field, 1));
    const uint64_t little_endian = htole64(value);
    std::memcpy(bytes + size, &little_endian, sizeof little_endian);
    out_.append(bytes, size + sizeof little_endian);
  }
  // Returns the offset at which the bytes stand.
  size_t bytes(uint32_t field, std::string_view value) {
    char bytes[2 * kVarintBytesMax];
    const size_t size = put(bytes, tag(field, 2));
    out_.append(bytes, size + put(bytes + size, value.size()));
    const size_t at = out_.size();
    out_.append(value);
    return at;
  }

  // A nested message: its length is patched in when it ends, as a varint padded to kLengthBytes (parsers accept
  // padding).
  size_t begin_message(uint32_t field) {
    char bytes[kVarintBytesMax + kLengthBytes] = {};
    out_.append(bytes, put(bytes, tag(field, 2)) + kLengthBytes);
    return out_.size();
  }
  void end_message(size_t begin) {
    const size_t length = out_.size() - begin;
    assert(length < kMessageBytesMax);
    char* at = out_.data() + begin - kLengthBytes;
    at[0] = static_cast<char>((length & 0x7f) | 0x80);
    at[1] = static_cast<char>(((length >> 7) & 0x7f) | 0x80);
    at[2] = static_cast<char>((length >> 14) & 0x7f);
  }

 private:
  static constexpr size_t kLengthBytes = 3;
  static constexpr size_t kMessageBytesMax = size_t{1} << (7 * kLengthBytes);

  static constexpr size_t kVarintBytesMax = 10;

  static uint64_t tag(uint32_t field, uint32_t wire_type) { return (field << 3) | wire_type; }
  // Returns how many bytes it wrote. A field is appended in one piece: this runs some forty times for a command.
  static size_t put(char* at, uint64_t value) {
    size_t size = 0;
    while (value >= 0x80) {
      at[size++] = static_cast<char>((value & 0x7f) | 0x80);
      value >>= 7;
    }
    at[size++] = static_cast<char>(value);
    return size;
  }

  std::string& out_;
};

}  // namespace sluice::events
