#include "daemon/target_table.h"

#include <cstring>

namespace sluice {

interception::AccelerateWish wish_of(config::Accelerate accelerate) {
  switch (accelerate) {
    case config::Accelerate::auto_:
      return interception::AccelerateWish::automatic;
    case config::Accelerate::on:
      return interception::AccelerateWish::on;
    case config::Accelerate::off:
      return interception::AccelerateWish::off;
  }
  return interception::AccelerateWish::off;
}

std::vector<interception::SteeredTarget> steered_targets(const std::vector<config::Target>& targets) {
  std::vector<interception::SteeredTarget> steered;
  for (const config::Target& target : targets) {
    interception::SteeredTarget entry;
    entry.name = target.name;
    entry.when_down =
        target.when_down == config::WhenDown::deny ? interception::WhenDown::deny : interception::WhenDown::allow;
    entry.accelerate = wish_of(target.accelerate);
    for (const config::Endpoint& address : target.addresses) {
      interception::SteeredEndpoint endpoint;
      endpoint.family = address.family == config::Endpoint::Family::ipv4 ? AF_INET : AF_INET6;
      static_assert(sizeof endpoint.address == sizeof address.bytes);
      std::memcpy(endpoint.address, address.bytes, sizeof endpoint.address);
      endpoint.prefix_bits = address.prefix_bits;
      endpoint.port = address.port;
      entry.endpoints.push_back(endpoint);
    }
    steered.push_back(std::move(entry));
  }
  return steered;
}

Status TargetTable::replace(interception::Steering& steering, std::vector<config::Target> targets) {
  const std::lock_guard lock(mutex_);  // a note of the new generation waits here until it can be looked up
  if (Status set = steering.set_targets(steered_targets(targets)); !set) return within("set targets", set.error());
  generations_.emplace_back(steering.target_generation(),
                            std::make_shared<const std::vector<config::Target>>(std::move(targets)));
  if (generations_.size() > kGenerationsKept) generations_.pop_front();
  return {};
}

TargetTable::Targets TargetTable::current() const {
  const std::lock_guard lock(mutex_);
  if (generations_.empty()) return std::make_shared<const std::vector<config::Target>>();
  return generations_.back().second;
}

std::optional<config::Target> TargetTable::find(uint64_t generation, uint32_t index) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [number, targets] : generations_) {
    if (number == generation && index < targets->size()) return (*targets)[index];
  }
  return std::nullopt;
}

}  // namespace sluice
