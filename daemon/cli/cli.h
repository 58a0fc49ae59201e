// The command line: `sluice COMMAND …`. Parses, finds the daemon or the files, prints, and answers with an ExitStatus.
// The environment and the daemon itself are passed in by main, so that nothing here needs more than the layers below.
// Called once per process, on the main thread. CLI11's exceptions stop in here.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "daemon/config/config.h"

namespace sluice::cli {

struct Environment {
  std::string control_socket;  // SLUICE_CONTROL; empty: what the configuration names
  bool no_color = false;       // NO_COLOR is set
  std::string own_path;        // of this executable, for `demo`
  // Runs the daemon in the foreground until it is told to stop; its exit status.
  std::function<int(const config::Config&)> run_daemon;
};

[[nodiscard]] int run(const std::vector<std::string>& arguments, const Environment& environment);

}  // namespace sluice::cli
