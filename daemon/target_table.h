// The targets in force, and those of the last few generations: a note that the kernel wrote just before a reload names
// an old one. Threading: any thread. Limit: kGenerationsKept.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/config/config.h"
#include "daemon/interception/steering.h"

namespace sluice {

// What a target asks of the short-circuit.
[[nodiscard]] interception::AccelerateWish wish_of(config::Accelerate accelerate);

// What `steering` is told about these targets.
[[nodiscard]] std::vector<interception::SteeredTarget> steered_targets(const std::vector<config::Target>& targets);

class TargetTable {
 public:
  static constexpr size_t kGenerationsKept = 8;
  using Targets = std::shared_ptr<const std::vector<config::Target>>;

  // Puts them into force in the kernel and here, as one step for whoever looks a note up.
  [[nodiscard]] Status replace(interception::Steering& steering, std::vector<config::Target> targets);
  [[nodiscard]] Targets current() const;
  // The target of a note; nullopt where its generation is long gone.
  [[nodiscard]] std::optional<config::Target> find(uint64_t generation, uint32_t index) const;

 private:
  mutable std::mutex mutex_;
  std::deque<std::pair<uint64_t, Targets>> generations_;  // newest last
};

}  // namespace sluice
