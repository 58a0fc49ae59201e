// Counter slots by target name: a target keeps its slot, and with it its counters, across reloads and restarts.
// The names are kept in a pinned map; slots of names that are no longer targets are given away last-resort only.
// Control thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/interception/steering.h"

namespace sluice::interception {

// Finds or assigns the slot of each target, in their order. New slots start from zero.
[[nodiscard]] Result<std::vector<uint32_t>> assign_slots(int names_map, int counters_map,
                                                         std::span<const SteeredTarget> targets);

// Counters of one slot, summed over all CPUs, at a moment when they add up: connects go on meanwhile, so a reading that
// does not is repeated until `until`; then the last one is given as it is.
[[nodiscard]] Result<TargetCounters> read_counters(int counters_map, uint32_t slot,
                                                   std::chrono::steady_clock::time_point until);

}  // namespace sluice::interception
