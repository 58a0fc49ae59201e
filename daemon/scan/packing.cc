#include "daemon/scan/packing.h"

#include <algorithm>

namespace sluice::scan {
namespace {

using Kind = Packing::Kind;

struct Signature {
  size_t offset;
  std::string_view bytes;
  Packing packing;
};

// From file(1)'s magic and the formats' own documents (RFC 1952, RFC 8878, the xz format 2.1.1.1, APPNOTE 4.3, pax).
constexpr Signature kSignatures[] = {
    {0, {"\x1f\x8b\x08", 3}, {Kind::unpacked, "gzip"}},    {0, {"\x28\xb5\x2f\xfd", 4}, {Kind::unpacked, "zstd"}},
    {0, {"\xfd\x37zXZ\0", 6}, {Kind::unpacked, "xz"}},     {0, {"PK\x03\x04", 4}, {Kind::unpacked, "zip"}},
    {0, {"PK\x05\x06", 4}, {Kind::unpacked, "zip"}},       {257, {"ustar", 5}, {Kind::unpacked, "tar"}},
    {0, {"\x04\x22\x4d\x18", 4}, {Kind::unpacked, "lz4"}}, {0, {"LZIP\x01", 5}, {Kind::unpacked, "lzip"}},
    {0, {"\x1f\x9d", 2}, {Kind::unpacked, "compress"}},    {0, {"7z\xbc\xaf\x27\x1c", 6}, {Kind::foreign, "7-Zip"}},
    {0, {"Rar!\x1a\x07", 6}, {Kind::foreign, "rar"}},      {0, {"MSCF\0\0\0\0", 8}, {Kind::foreign, "cab"}},
    {0, {"PK\x07\x08", 4}, {Kind::foreign, "split zip"}},
};

bool is_bzip2(std::span<const uint8_t> bytes) {
  // "BZh", the block size, and the first block's or the end's magic: three letters alone may begin a text.
  constexpr uint8_t kBlock[] = {0x31, 0x41, 0x59, 0x26, 0x53, 0x59};
  constexpr uint8_t kEnd[] = {0x17, 0x72, 0x45, 0x38, 0x50, 0x90};
  if (bytes.size() < 10 || bytes[0] != 'B' || bytes[1] != 'Z' || bytes[2] != 'h') return false;
  const auto magic = bytes.subspan(4, 6);
  return std::equal(magic.begin(), magic.end(), kBlock) || std::equal(magic.begin(), magic.end(), kEnd);
}

}  // namespace

Packing packing_of(std::span<const uint8_t> first_bytes) {
  for (const Signature& signature : kSignatures) {
    if (first_bytes.size() < signature.offset + signature.bytes.size()) continue;
    const auto here = first_bytes.subspan(signature.offset, signature.bytes.size());
    const auto same = [](uint8_t byte, char c) { return byte == static_cast<uint8_t>(c); };
    if (std::equal(here.begin(), here.end(), signature.bytes.begin(), same)) return signature.packing;
  }
  if (is_bzip2(first_bytes)) return {Kind::unpacked, "bzip2"};
  return {};
}

}  // namespace sluice::scan
