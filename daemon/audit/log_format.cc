#include "daemon/audit/log_format.h"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <cstring>
#include <vector>

#include "daemon/audit/crc32c.h"

namespace sluice::audit {
namespace {

constexpr size_t kIndexDigits = 20;

// Takes fixed-size fields off the front of a payload; `ok` goes false where it is too short.
class Taker {
 public:
  explicit Taker(std::string_view bytes) : bytes_(bytes) {}
  std::string_view take(size_t size) {
    if (bytes_.size() < size) {
      ok_ = false;
      return {};
    }
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  uint8_t u8() {
    const std::string_view bytes = take(1);
    return bytes.empty() ? 0 : static_cast<uint8_t>(bytes[0]);
  }
  uint64_t u64() {
    const std::string_view bytes = take(8);
    return bytes.empty() ? 0 : load_u64(bytes.data());
  }
  template <size_t size>
  void array(std::array<uint8_t, size>& out) {
    const std::string_view bytes = take(size);
    if (!bytes.empty()) std::memcpy(out.data(), bytes.data(), size);
  }
  // All taken, and nothing left over.
  [[nodiscard]] bool complete() const { return ok_ && bytes_.empty(); }
  [[nodiscard]] bool ok() const { return ok_; }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

template <size_t size>
void append_array(std::string& out, const std::array<uint8_t, size>& bytes) {
  out.append(reinterpret_cast<const char*>(bytes.data()), size);
}

}  // namespace

void append_u32(std::string& out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(value >> shift));
}

void append_u64(std::string& out, uint64_t value) {
  append_u32(out, static_cast<uint32_t>(value));
  append_u32(out, static_cast<uint32_t>(value >> 32));
}

std::optional<BodyKind> body_kind(uint8_t first_byte) {
  const uint8_t kind = first_byte & static_cast<uint8_t>(~kAfterCommitBit);
  if (kind == 0 || kind > kRecordKindMax) return std::nullopt;
  return BodyKind{static_cast<RecordKind>(kind), (first_byte & kAfterCommitBit) != 0};
}

std::string encode_prefix() {
  std::string out(kMagic);
  append_u32(out, kFormatVersion);
  append_u32(out, 0);
  return out;
}

bool is_prefix(std::string_view bytes) {
  return bytes == encode_prefix();
}

std::string encode(const SegmentRecord& record) {
  std::string out;
  append_array(out, record.log_id);
  append_array(out, record.boot_id);
  append_u64(out, record.number);
  append_u64(out, record.first_index);
  append_u64(out, static_cast<uint64_t>(record.created_ns));
  out.push_back(static_cast<char>(record.previous_end));
  append_u64(out, record.previous_bytes);
  out.push_back(static_cast<char>(record.frontier.nodes().size()));
  for (const Hash& node : record.frontier.nodes()) append_array(out, node);
  const size_t host_bytes = std::min(record.host.size(), kHostBytesMax);
  out.push_back(static_cast<char>(host_bytes));
  out.append(record.host, 0, host_bytes);
  return out;
}

std::optional<SegmentRecord> decode_segment(std::string_view payload) {
  Taker in(payload);
  SegmentRecord record;
  in.array(record.log_id);
  in.array(record.boot_id);
  record.number = in.u64();
  record.first_index = in.u64();
  record.created_ns = static_cast<int64_t>(in.u64());
  const uint8_t end = in.u8();
  if (end > static_cast<uint8_t>(PreviousEnd::abandoned)) return std::nullopt;
  record.previous_end = static_cast<PreviousEnd>(end);
  record.previous_bytes = in.u64();
  std::vector<Hash> nodes(in.u8());
  if (!in.ok() || nodes.size() > Frontier::kNodesMax) return std::nullopt;
  for (Hash& node : nodes) in.array(node);
  auto frontier = Frontier::from(record.first_index, std::move(nodes));
  if (!frontier.has_value()) return std::nullopt;
  record.frontier = std::move(*frontier);
  record.host = std::string(in.take(in.u8()));
  if (!in.complete()) return std::nullopt;
  return record;
}

std::string encode(const SealRecord& record) {
  std::string out;
  out.push_back(static_cast<char>(record.reason));
  append_u64(out, record.index);
  append_u64(out, record.offset);
  append_u64(out, record.torn_bytes);
  append_u64(out, static_cast<uint64_t>(record.created_ns));
  append_array(out, record.root);
  assert(out.size() + 1 == kSealBodyBytes);
  return out;
}

std::optional<SealRecord> decode_seal(std::string_view payload) {
  Taker in(payload);
  SealRecord record;
  const uint8_t reason = in.u8();
  if (reason < static_cast<uint8_t>(SealReason::rolled) || reason > static_cast<uint8_t>(SealReason::recovered)) {
    return std::nullopt;
  }
  record.reason = static_cast<SealReason>(reason);
  record.index = in.u64();
  record.offset = in.u64();
  record.torn_bytes = in.u64();
  record.created_ns = static_cast<int64_t>(in.u64());
  in.array(record.root);
  if (!in.complete()) return std::nullopt;
  return record;
}

uint32_t record_crc(std::string_view body) {
  std::string length;
  append_u32(length, static_cast<uint32_t>(body.size()));
  return crc32c(body, crc32c(length));
}

size_t append_record(std::string& out, RecordKind kind, bool after_commit, std::string_view payload_1,
                     std::string_view payload_2) {
  const size_t body_bytes = 1 + payload_1.size() + payload_2.size();
  assert(body_bytes <= kRecordBytesMax);
  const size_t start = out.size();
  append_u32(out, static_cast<uint32_t>(body_bytes));
  append_u32(out, 0);
  out.push_back(static_cast<char>(static_cast<uint8_t>(kind) | (after_commit ? kAfterCommitBit : 0)));
  out.append(payload_1);
  out.append(payload_2);
  const std::string_view record(out.data() + start, out.size() - start);
  const uint32_t crc = crc32c(record.substr(kRecordHeaderBytes), crc32c(record.substr(0, 4)));
  for (size_t i = 0; i < 4; ++i) out[start + 4 + i] = static_cast<char>(crc >> (8 * i));
  return start + kRecordHeaderBytes;
}

std::string segment_name(uint64_t first_index) {
  const std::string digits = std::to_string(first_index);
  return std::string(kIndexDigits - digits.size(), '0') + digits + std::string(kSegmentSuffix);
}

std::optional<uint64_t> parse_segment_name(std::string_view name) {
  if (name.size() != kIndexDigits + kSegmentSuffix.size() || !name.ends_with(kSegmentSuffix)) return std::nullopt;
  uint64_t index = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + kIndexDigits, index);
  if (error != std::errc() || end != name.data() + kIndexDigits) return std::nullopt;
  return index;
}

std::string to_hex(const uint8_t* bytes, size_t size) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < size; ++i) {
    out.push_back(kDigits[bytes[i] >> 4]);
    out.push_back(kDigits[bytes[i] & 15]);
  }
  return out;
}

}  // namespace sluice::audit
