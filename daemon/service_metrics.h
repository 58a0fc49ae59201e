// The metrics of the running daemon (docs/metrics.md): what its parts count, gathered at a scrape. Nothing here waits
// for a worker or takes a lock that a data path takes; the numbers of one scrape are of nearly the same moment. Labels
// are names of the configuration and words of enumerations, so a client cannot make series. Any thread.
#pragma once

#include <string>

#include "daemon/service_operations.h"

namespace sluice {

[[nodiscard]] std::string render_metrics(const ServiceParts& parts, const std::vector<std::string>& problems);

}  // namespace sluice
