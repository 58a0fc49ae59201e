#include "daemon/audit/recovery.h"

#include <fcntl.h>

#include <filesystem>
#include <system_error>
#include <vector>

#include "daemon/audit/segment_scan.h"

namespace sluice::audit {
namespace {

tl::unexpected<Error> tampered(const SegmentScan& scan, const std::string& what) {
  return fail("the log has been altered: " + scan.name + ": " + what +
              " (`sluice audit verify` tells more; the log is left as it is)");
}

// What a crash may leave behind the last valid record of the last segment, and what it may not. Empty: it may.
std::string impossible_after_crash(const SegmentScan& last, const BootId& boot_id) {
  if (last.tail == Tail::damaged) return "a record is damaged that had been on disk when later ones were written";
  if (last.tail != Tail::torn) return {};
  // Within one boot the page cache outlives the process, so what is written is a prefix of what was to be written.
  const bool same_boot = last.header->boot_id == boot_id && boot_id != BootId{};
  if (same_boot && last.record_follows) return "a record is damaged and valid ones follow";
  if (same_boot && last.tail_whole) return "the last record has been changed";
  return {};
}

// Cuts the torn tail off and seals. Returns the sentence for the report.
Result<std::string> close_after_crash(FileSystem& file_system, const RecoveryInput& input, SegmentScan& last,
                                      LogPosition& position) {
  const std::string path = input.directory + "/" + last.name;
  auto fd = file_system.open_file(path, O_RDWR);
  if (!fd) return tl::unexpected(fd.error());
  SealRecord seal;
  seal.reason = SealReason::recovered;
  seal.index = last.frontier.size();
  seal.offset = last.end;
  seal.torn_bytes = last.tail_bytes;
  seal.created_ns = input.now_ns;
  seal.root = last.frontier.root();
  std::string bytes;
  const size_t body = append_record(bytes, RecordKind::seal, /*after_commit=*/true, encode(seal));
  // Cut first: a crash in between leaves again a segment without a seal, never a seal with torn bytes behind it.
  Status status = file_system.truncate(fd->get(), last.end);
  if (status) status = file_system.write_at(fd->get(), bytes, last.end);
  if (status) status = file_system.sync_data(fd->get());
  if (!status) return within("close " + path + " after a crash", status.error());
  position.frontier = last.frontier;
  position.frontier.append(leaf_hash(std::string_view(bytes).substr(body)));
  position.previous_end = PreviousEnd::sealed;
  position.previous_bytes = last.end + bytes.size();
  return "the log had not been closed; cut " + std::to_string(last.tail_bytes) + " torn bytes off " + last.name +
         " behind record " + std::to_string(last.frontier.size() - 1);
}

// A sealed last segment: trims what a crash left behind the seal.
Result<std::string> trim_sealed(FileSystem& file_system, const RecoveryInput& input, const SegmentScan& last,
                                LogPosition& position) {
  position.frontier = last.frontier;
  position.previous_end = PreviousEnd::sealed;
  position.previous_bytes = last.end;
  if (last.tail == Tail::nothing) return std::string();
  auto fd = file_system.open_file(input.directory + "/" + last.name, O_RDWR);
  if (!fd) return tl::unexpected(fd.error());
  Status status = file_system.truncate(fd->get(), last.end);
  if (status) status = file_system.sync_data(fd->get());
  if (!status) return within("trim " + last.name, status.error());
  return "the log had not been closed; trimmed " + last.name;
}

// Scans all segments: the newest kStartCheckBytesMax completely, the last one in any case.
Result<std::vector<SegmentScan>> scan_all(const RecoveryInput& input, const std::vector<std::string>& names) {
  uint64_t bytes = 0;
  size_t complete_from = names.size();
  while (complete_from > 0 && (bytes < kStartCheckBytesMax || complete_from == names.size())) {
    std::error_code error;
    bytes += std::filesystem::file_size(input.directory + "/" + names[--complete_from], error);
    if (error) return fail_errno("stat " + names[complete_from], error.value());
  }
  std::vector<SegmentScan> scans;
  for (size_t i = 0; i < complete_from; ++i) {
    auto scan = scan_sealed_quickly(input.directory, names[i]);
    // An abandoned segment has no seal to go by.
    if (scan && !scan->fault.empty()) scan = scan_segment(input.directory, names[i], {});
    if (!scan) return tl::unexpected(scan.error());
    scans.push_back(std::move(*scan));
  }
  const std::vector<std::string> rest(names.begin() + static_cast<std::ptrdiff_t>(complete_from), names.end());
  for (auto& scan : scan_segments(input.directory, rest, {}, {})) {
    if (!scan) return tl::unexpected(scan.error());
    scans.push_back(std::move(*scan));
  }
  for (const SegmentScan& scan : scans) {
    if (!scan.fault.empty()) return tampered(scan, scan.fault);
  }
  return scans;
}

// An abandoned segment was cut at its last durable record before the next one was begun, on a disk that was failing.
// Where the cut did not last, it is made again; the next segment says where.
Status cut_abandoned(FileSystem& file_system, const RecoveryInput& input, SegmentScan& scan,
                     const SegmentRecord& next) {
  if (next.previous_end != PreviousEnd::abandoned || scan.file_bytes <= next.previous_bytes) return {};
  auto fd = file_system.open_file(input.directory + "/" + scan.name, O_RDWR);
  if (!fd) return tl::unexpected(fd.error());
  if (Status status = file_system.truncate(fd->get(), next.previous_bytes); !status) return status;
  auto again = scan_segment(input.directory, scan.name, {});
  if (!again) return tl::unexpected(again.error());
  scan = std::move(*again);
  return {};
}

}  // namespace

Result<LogPosition> recover_log(FileSystem& file_system, const RecoveryInput& input) {
  auto listing = list_log(input.directory);
  if (!listing) return tl::unexpected(listing.error());
  LogPosition position;
  const std::string reserve = input.directory + "/" + std::string(kReserveName);
  if (listing->segments.empty()) {
    if (const Status status = file_system.remove_file(reserve); !status) return tl::unexpected(status.error());
    return position;
  }
  auto scans = scan_all(input, listing->segments);
  if (!scans) return tl::unexpected(scans.error());
  if (const std::string what = check_chain(nullptr, scans->front()); !what.empty())
    return tampered(scans->front(), what);
  for (size_t i = 0; i + 1 < scans->size(); ++i) {
    const Status status = cut_abandoned(file_system, input, (*scans)[i], *(*scans)[i + 1].header);
    if (!status) return within("cut " + (*scans)[i].name, status.error());
    const std::string gap = check_chain(&(*scans)[i], (*scans)[i + 1]);
    if (!gap.empty()) return tampered((*scans)[i + 1], gap);
  }
  SegmentScan& last = scans->back();
  if (const std::string what = impossible_after_crash(last, input.boot_id); !what.empty()) return tampered(last, what);
  if (last.seal.has_value() && last.seal->reason == SealReason::rolled && !listing->reserve) {
    return tampered(last, "the segment after it is missing");
  }
  position.fresh = false;
  position.log_id = last.header->log_id;
  position.next_number = last.header->number + 1;
  position.segments = scans->size();
  auto report = last.seal.has_value() ? trim_sealed(file_system, input, last, position)
                                      : close_after_crash(file_system, input, last, position);
  if (!report) return tl::unexpected(report.error());
  position.recovered = std::move(*report);
  for (const SegmentScan& scan : *scans) position.bytes += scan.end;
  // Behind a segment that was sealed for the next one the reserve stays until it has become that: its absence would
  // mean that a segment was taken away. Its content is made anew.
  const bool next_is_due = last.seal.has_value() && last.seal->reason == SealReason::rolled;
  if (!next_is_due) {
    if (const Status status = file_system.remove_file(reserve); !status) return tl::unexpected(status.error());
  }
  if (const Status status = file_system.sync_directory(input.directory_fd); !status)
    return tl::unexpected(status.error());
  return position;
}

}  // namespace sluice::audit
