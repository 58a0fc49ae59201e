// Connections to protected servers, made so that steering lets them through: registered before connect(), forgotten
// before close(). Threading: any worker. Lifetime: `steering` outlives it and every transport it made.
#pragma once

#include "daemon/interception/steering.h"
#include "daemon/io/tcp_transport.h"
#include "daemon/session/worker.h"

namespace sluice {

// How transports learn what happens to connections that are short-circuited. Lifetime: as `steering`.
class ShortCircuits final : public io::LagWatch {
 public:
  explicit ShortCircuits(const interception::Steering& steering) : steering_(steering) {}
  [[nodiscard]] io::ShortCircuit of(int fd) const { return {steering_.short_circuit_notices(fd), this}; }
  [[nodiscard]] bool reader_lags(int fd, uint64_t& seen) const override { return steering_.reader_lags(fd, seen); }

 private:
  const interception::Steering& steering_;
};

class SteeredUpstreams final : public session::Upstreams {
 public:
  SteeredUpstreams(interception::Steering& steering, const ShortCircuits& short_circuits)
      : steering_(steering), short_circuits_(short_circuits) {}
  [[nodiscard]] Result<std::unique_ptr<io::Transport>> open(const sockaddr_storage& destination,
                                                            uint32_t device) override;

 private:
  interception::Steering& steering_;
  const ShortCircuits& short_circuits_;
};

}  // namespace sluice
