// Connections to protected servers, made so that steering lets them through: registered before connect(), forgotten
// before close(). Threading: any worker. Lifetime: `steering` outlives it and every transport it made.
#pragma once

#include "daemon/interception/steering.h"
#include "daemon/session/worker.h"

namespace sluice {

class SteeredUpstreams final : public session::Upstreams {
 public:
  explicit SteeredUpstreams(interception::Steering& steering) : steering_(steering) {}
  [[nodiscard]] Result<std::unique_ptr<io::Transport>> open(const sockaddr_storage& destination,
                                                            uint32_t device) override;

 private:
  interception::Steering& steering_;
};

}  // namespace sluice
