// The readers of the targets' catalogs (daemon/catalog), one for each target that has a `catalog:`. Lifetime: what it
// is given outlives it. Threading: replace() from one thread at a time, of() from any.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/catalog/reader.h"
#include "daemon/config/config.h"
#include "daemon/interception/steering.h"
#include "daemon/recorder.h"

namespace sluice {

class Catalogs {
 public:
  Catalogs(interception::Steering& steering, Recorder& recorder) : steering_(steering), recorder_(recorder) {}

  // Starts and ends readers so that they are those of `targets`. A session keeps the catalog that it began with; one
  // whose reader has ended knows nothing any more, and what it would tell is masked.
  [[nodiscard]] Status replace(const std::vector<config::Target>& targets);
  // Null where the target has none.
  [[nodiscard]] std::shared_ptr<catalog::Catalog> of(const std::string& target) const;

 private:
  void report(const std::string& target, const std::string& why);

  interception::Steering& steering_;
  Recorder& recorder_;
  mutable std::mutex mutex_;
  std::map<std::string, std::unique_ptr<catalog::Reader>> readers_;
};

}  // namespace sluice
