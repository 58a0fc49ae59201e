// The bytes of the log on disk: docs/log-format.md, in constants and small codecs. Pure; no files, no threads.
// A segment file is a prefix, then records, then (while it is written) zeros up to its preallocated size.
// A record is length u32, crc32c u32, body; the body is a kind byte and a payload. Integers are little-endian.
// Every record is a leaf of one Merkle tree over the whole log (RFC 6962); the leaf is the body, as stored.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/audit/merkle.h"

namespace sluice::audit {

inline constexpr std::string_view kMagic{"SLUICELG", 8};
inline constexpr uint32_t kFormatVersion = 1;
inline constexpr size_t kPrefixBytes = 16;       // magic, version u32, zero u32
inline constexpr size_t kRecordHeaderBytes = 8;  // length u32 (of the body), crc32c u32 (of length and body)
inline constexpr size_t kRecordBytesMax = (size_t{16} << 20) + (1u << 18);  // body; the statement limit, with room
inline constexpr size_t kSegmentBytesMin = 4096;
inline constexpr size_t kSegmentBytesMax = size_t{1} << 30;

inline constexpr std::string_view kSegmentSuffix = ".seg";
inline constexpr std::string_view kReserveName = "reserve";  // the next segment, zeroed in advance

// First byte of a body. Numbers are for ever.
enum class RecordKind : uint8_t {
  segment = 1,  // first record of every segment: SegmentRecord
  event = 2,    // a serialised sluice.events.Event
  text = 3,     // sha256 of the text (32 bytes), text: stands before the first event of its segment that refers to it
  context = 4,  // index u64 of the event, then its bytes: identity and origin of a session, repeated in a later segment
  seal = 5,     // last record of a closed segment: SealRecord
  checkpoint = 6,  // reserved: a signed checkpoint (C2SP tlog-checkpoint)
  blob = 7,        // reserved: a reference to content beside the log
};
inline constexpr uint8_t kRecordKindMax = 7;
// Set in the kind byte of the first record after a commit: all records before it were on disk when it was written. So a
// damaged record that is followed by such a one was not torn by a crash.
inline constexpr uint8_t kAfterCommitBit = 0x80;

struct BodyKind {
  RecordKind kind;
  bool after_commit;
};
[[nodiscard]] std::optional<BodyKind> body_kind(uint8_t first_byte);

using LogId = std::array<uint8_t, 16>;
using BootId = std::array<uint8_t, 16>;

// How the segment before this one ended.
enum class PreviousEnd : uint8_t {
  none = 0,  // there is none: the log starts here
  sealed = 1,
  abandoned = 2,  // a write to it failed: it ends, without a seal, at previous_bytes
};

// Payload of a segment's first record.
struct SegmentRecord {
  LogId log_id{};
  BootId boot_id{};          // of the kernel that wrote it (random per boot)
  uint64_t number = 0;       // of the segment, from 0
  uint64_t first_index = 0;  // leaf index of this record; the file is named after it
  int64_t created_ns = 0;
  PreviousEnd previous_end = PreviousEnd::none;
  uint64_t previous_bytes = 0;  // size of the segment before this one
  Frontier frontier;            // of all leaves before this one
  std::string host;             // name of the host; at most kHostBytesMax
};
inline constexpr size_t kHostBytesMax = 255;

enum class SealReason : uint8_t {
  rolled = 1,     // the next segment follows
  stopped = 2,    // clean stop
  recovered = 3,  // closed after a crash, by the start that followed
};

// Payload of a segment's last record.
struct SealRecord {
  SealReason reason = SealReason::rolled;
  uint64_t index = 0;       // leaf index of this record, which is the number of leaves before it
  uint64_t offset = 0;      // of this record in the file
  uint64_t torn_bytes = 0;  // recovered: bytes that were cut off
  int64_t created_ns = 0;
  Hash root{};  // over all leaves of the log before this one
};
inline constexpr size_t kSealBodyBytes = 1 + 1 + 4 * 8 + kHashBytes;
inline constexpr size_t kSealRecordBytes = kRecordHeaderBytes + kSealBodyBytes;

[[nodiscard]] std::string encode_prefix();
[[nodiscard]] bool is_prefix(std::string_view bytes);
[[nodiscard]] std::string encode(const SegmentRecord& record);  // payload, without the kind byte
[[nodiscard]] std::optional<SegmentRecord> decode_segment(std::string_view payload);
[[nodiscard]] std::string encode(const SealRecord& record);
[[nodiscard]] std::optional<SealRecord> decode_seal(std::string_view payload);

// Appends a whole record to `out`. `after_commit`: see kAfterCommitBit. Returns the offset of its body in `out`.
size_t append_record(std::string& out, RecordKind kind, bool after_commit, std::string_view payload_1,
                     std::string_view payload_2 = {});
// The checksum that a record with this body has.
[[nodiscard]] uint32_t record_crc(std::string_view body);

[[nodiscard]] std::string segment_name(uint64_t first_index);  // 20 decimal digits and the suffix
[[nodiscard]] std::optional<uint64_t> parse_segment_name(std::string_view name);
[[nodiscard]] std::string to_hex(const uint8_t* bytes, size_t size);

// Little-endian integers at a place that the caller has checked.
[[nodiscard]] inline uint32_t load_u32(const void* at) {
  const auto* p = static_cast<const uint8_t*>(at);
  return static_cast<uint32_t>(p[0]) | static_cast<uint32_t>(p[1]) << 8 | static_cast<uint32_t>(p[2]) << 16 |
         static_cast<uint32_t>(p[3]) << 24;
}
[[nodiscard]] inline uint64_t load_u64(const void* at) {
  return load_u32(at) | static_cast<uint64_t>(load_u32(static_cast<const uint8_t*>(at) + 4)) << 32;
}
void append_u32(std::string& out, uint32_t value);
void append_u64(std::string& out, uint64_t value);

}  // namespace sluice::audit
