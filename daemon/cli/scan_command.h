// `sluice scan`: finds card data in files, directories and pipes. It runs the very detector of the data path, and never
// prints a card number.
#pragma once

#include <string>
#include <vector>

#include "daemon/cli/card_files.h"
#include "daemon/cli/exit_status.h"

namespace sluice::cli {

struct ScanOptions {
  std::vector<std::string>
      files;          // `-` or none: standard input; a directory: every regular file below it, links not followed
  bool json = false;  // one JSON object per finding; otherwise `file:offset: kind brand masked`
};

// kNo where something was found, kSuccess where nothing was, kUsage where something could not be read (found or not).
[[nodiscard]] ExitStatus run_scan(const ScanOptions& options, const StandardStreams& streams = {});

}  // namespace sluice::cli
