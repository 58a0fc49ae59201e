// `sluice mask`: a filter, text in, masked text out. It runs the very detector of the data path.
#pragma once

#include <string>
#include <vector>

#include "daemon/cli/card_files.h"
#include "daemon/cli/data_options.h"
#include "daemon/cli/exit_status.h"
#include "policies/cards/card_scanner.h"

namespace sluice::cli {

struct MaskOptions {
  std::vector<std::string> files;  // `-` or none: standard input
  policies::MaskStyle style = policies::MaskStyle::bin6_last4;
  DataOptions data;
  bool report = false;  // findings as JSON lines on stderr
};

// kSuccess also where something was masked; kUsage where a file cannot be read or output cannot be written.
[[nodiscard]] ExitStatus run_mask(const MaskOptions& options, const StandardStreams& streams = {});

}  // namespace sluice::cli
