// What a start finds in the log directory, and how it makes it whole again after a crash: a torn tail of the last
// segment is cut off and the segment sealed. Anything else that does not fit is tampering (or a broken disk) and is not
// touched: an Error. Runs once, before the writer, under the directory's lock.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/audit/file_system.h"
#include "daemon/audit/log_format.h"
#include "daemon/base/result.h"

namespace sluice::audit {

// Segments that are checked record by record at a start, the newest first; older ones by their first record and seal.
// Bounds the time of a start however long the log is (docs/events.md has the measurement); `sluice audit verify` checks
// all.
inline constexpr uint64_t kStartCheckBytesMax = uint64_t{1} << 30;

// Where the log goes on.
struct LogPosition {
  bool fresh = true;  // nothing was there
  LogId log_id{};     // to be chosen where fresh
  uint64_t next_number = 0;
  Frontier frontier;
  PreviousEnd previous_end = PreviousEnd::none;
  uint64_t previous_bytes = 0;
  uint64_t bytes = 0;  // of all segments
  uint64_t segments = 0;
  std::string recovered;  // what had to be done; empty where the log had been closed
};

struct RecoveryInput {
  std::string directory;
  int directory_fd = -1;
  BootId boot_id{};  // of this boot: after a crash of the process alone nothing written can be missing
  int64_t now_ns = 0;
};

[[nodiscard]] Result<LogPosition> recover_log(FileSystem& file_system, const RecoveryInput& input);

}  // namespace sluice::audit
