// Checks one segment completely: prefix, every record's CRC, the place of every kind of record, the hashes of texts,
// the seal. Starts from the tree that the segment itself says stood before it; whether that is true is the chain's
// business (check_chain), so segments can be scanned in parallel. Used by recovery and verify. Pure reading.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/audit/log_format.h"
#include "daemon/base/result.h"

namespace sluice::audit {

// What stands behind the last valid record.
enum class Tail : uint8_t {
  nothing,  // the file ends there
  zeros,    // preallocated space
  torn,     // bytes of which a crash can be the cause
  damaged,  // bytes of which a crash cannot be the cause: records follow that were written after these were on disk
};

struct SegmentScan {
  std::string name;
  uint64_t file_bytes = 0;
  std::optional<SegmentRecord> header;  // absent: no segment at all (then `fault` says why)
  std::optional<SealRecord> seal;
  Frontier frontier;  // after the last valid record
  uint64_t end = 0;   // offset after the last valid record
  Tail tail = Tail::nothing;
  uint64_t tail_bytes = 0;      // of it, up to the last byte that is not zero
  bool record_follows = false;  // torn: some valid record stands behind the damage
  bool tail_whole = false;      // torn: the record is all there and does not end in zeros, as if a byte was changed
  uint64_t events = 0;
  int64_t first_time_ns = 0;
  int64_t last_time_ns = 0;
  std::optional<Hash> root_at_head;  // root over the first `head_size` leaves, where they end in this segment
  bool quick = false;                // by scan_sealed_quickly(): `frontier` is that before the segment
  std::string fault;                 // what cannot be, in one sentence; empty where there is nothing
  uint64_t fault_index = 0;
};

struct ScanOptions {
  uint64_t head_size = UINT64_MAX;  // size of a kept head, for root_at_head
  bool look_behind_damage = true;   // false on a log that is being written: what looks damaged is being written
};

[[nodiscard]] Result<SegmentScan> scan_segment(const std::string& directory, const std::string& name,
                                               const ScanOptions& options);
// The same for a sealed segment by its first and last record alone: nothing in between is read.
[[nodiscard]] Result<SegmentScan> scan_sealed_quickly(const std::string& directory, const std::string& name);
// scan_segment() for many, on as many threads as the machine has cores (bounded). `last` is for the last one.
[[nodiscard]] std::vector<Result<SegmentScan>> scan_segments(const std::string& directory,
                                                             const std::vector<std::string>& names,
                                                             const ScanOptions& options, const ScanOptions& last);
// Whether `next` continues `previous` (null: it must be the first one that is there). Returns what is wrong, empty if
// nothing.
[[nodiscard]] std::string check_chain(const SegmentScan* previous, const SegmentScan& next);

// Names in a log directory, in order of their index.
struct DirectoryListing {
  std::vector<std::string> segments;
  bool reserve = false;
  std::vector<std::string> strangers;  // files that are no part of a log
};
[[nodiscard]] Result<DirectoryListing> list_log(const std::string& directory);

// Time of a serialised event; nullopt where it has none.
[[nodiscard]] std::optional<int64_t> event_time_ns(std::string_view event);

}  // namespace sluice::audit
