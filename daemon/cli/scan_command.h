// `sluice scan`: finds card data in files, directories, archives and pipes. It runs the very detector of the data path,
// and never prints a card number. No privileges, no daemon.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/cli/card_files.h"
#include "daemon/cli/data_options.h"
#include "daemon/cli/exit_status.h"

namespace sluice::cli {

struct ScanOptions {
  std::vector<std::string> files;  // `-` or none: standard input; a directory: every regular file below it
  bool json = false;               // one JSON object per finding, and no summary
  DataOptions data;
  std::vector<std::string> include, exclude;  // globs
  bool follow_links = false;
  bool look_into_archives = true;
  unsigned threads = 0;             // 0: one per core
  uint64_t file_bytes_max = 0;      // 0: none
  uint64_t expanded_bytes_max = 0;  // 0: by ratio
  uint64_t findings_per_file = 0;   // 0: all are shown
};

// kNo where something was found, kUsage where nothing was found but something could not be read, kSuccess where
// everything was looked at and nothing is there.
[[nodiscard]] ExitStatus run_scan(const ScanOptions& options, const StandardStreams& streams = {});

}  // namespace sluice::cli
