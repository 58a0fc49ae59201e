#include "daemon/config/load_all.h"

#include <utility>

namespace sluice::config {

Loaded load_all(const std::string& config_file, const policies::FileOpener& opener) {
  Loaded loaded;
  Reading reading = read(config_file, loaded.problems, opener);
  // Names of half-read targets would make rules look wrong that are not.
  const std::vector<std::string> names = reading.valid ? target_names(reading.config) : std::vector<std::string>{};
  loaded.policies = policies::load_policies(reading.config.policies_directory, names, loaded.problems, opener);
  if (reading.valid) loaded.config = std::move(reading.config);
  return loaded;
}

}  // namespace sluice::config
