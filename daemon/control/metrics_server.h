// Serves GET /metrics over HTTP on a TCP address, for Prometheus: nothing else, to anybody who can reach the address.
// What it says holds no card data, no statement, no name that a client chose; the names of targets are in it.
// Lifetime: from start() to destruction; `operations` outlives it. Threading: start and destroy on one thread.
// Limits: MetricsServerOptions; one request per connection.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "daemon/base/result.h"
#include "daemon/control/operations.h"

namespace sluice::control {

struct MetricsServerOptions {
  std::string address;                               // "127.0.0.1:9464", "[::1]:9464"
  size_t clients_max = 8;                            // more are told 503 at once
  std::chrono::milliseconds request_timeout{5'000};  // for the whole request to arrive
  std::chrono::milliseconds write_timeout{10'000};   // for one write to make its way
};

inline constexpr uint32_t kMetricsRequestBytesMax = 16 * 1024;

class MetricsServer {
 public:
  [[nodiscard]] static Result<std::unique_ptr<MetricsServer>> start(const MetricsServerOptions& options,
                                                                    Operations& operations);
  virtual ~MetricsServer() = default;
};

}  // namespace sluice::control
