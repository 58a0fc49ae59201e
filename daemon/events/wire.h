// Writes protobuf wire format by hand (https://protobuf.dev/programming-guides/encoding/). Why: an event is built for
// every command, twice, on the data path; the generated classes allocate per string and per message, this appends to
// one buffer. That the generated parser reads the same is a test (tests/unit/daemon/events). Lifetime: borrows the
// string it appends to. Not thread safe.
#pragma once

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
    tag(field, 0);
    raw_varint(value);
  }
  void signed_varint(uint32_t field, int64_t value) {  // sint64: zigzag
    varint(field, (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63));
  }
  void fixed64(uint32_t field, uint64_t value) {
    tag(field, 1);
    char bytes[8];
    for (char& byte : bytes) {
      byte = static_cast<char>(value & 0xff);
      value >>= 8;
    }
    out_.append(bytes, sizeof bytes);
  }
  // Returns the offset at which the bytes stand.
  size_t bytes(uint32_t field, std::string_view value) {
    tag(field, 2);
    raw_varint(value.size());
    const size_t at = out_.size();
    out_.append(value);
    return at;
  }

  // A nested message: its length is patched in when it ends, as a varint padded to kLengthBytes (parsers accept
  // padding).
  size_t begin_message(uint32_t field) {
    tag(field, 2);
    out_.append(kLengthBytes, '\0');
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

  void tag(uint32_t field, uint32_t wire_type) { raw_varint((field << 3) | wire_type); }
  void raw_varint(uint64_t value) {
    if (value < 0x80) {  // tags, words and most lengths
      out_.push_back(static_cast<char>(value));
      return;
    }
    char bytes[10];
    size_t size = 0;
    while (value >= 0x80) {
      bytes[size++] = static_cast<char>((value & 0x7f) | 0x80);
      value >>= 7;
    }
    bytes[size++] = static_cast<char>(value);
    out_.append(bytes, size);
  }

  std::string& out_;
};

}  // namespace sluice::events
