// The executable: gives the command line its environment and the daemon. Nothing else happens here.
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdlib>
#include <string>
#include <vector>

#include "daemon/cli/cli.h"
#include "daemon/service.h"

int main(int argc, char** argv) {
  sluice::cli::Environment environment;
  if (const char* const socket = std::getenv("SLUICE_CONTROL"); socket != nullptr) environment.control_socket = socket;
  environment.no_color = std::getenv("NO_COLOR") != nullptr;
  std::array<char, PATH_MAX> path;
  const ssize_t length = readlink("/proc/self/exe", path.data(), path.size());
  if (length > 0) environment.own_path.assign(path.data(), static_cast<size_t>(length));
  environment.run_daemon = [](const sluice::config::Config& config) { return sluice::run_service(config); };
  return sluice::cli::run({argv + (argc > 0 ? 1 : 0), argv + argc}, environment);
}
