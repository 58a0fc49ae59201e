#include "daemon/interception/target_slots.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <string>
#include <thread>

#include "bpf/abi.h"

namespace sluice::interception {
namespace {

// A read of the per-CPU values is not a snapshot: a connect in between makes it lopsided. Such a read takes
// microseconds and is repeated at once; then with room for others in between, for the connect may have been preempted
// half-way, or its processor may be one that the hypervisor has taken away. Only on a host that connects without a
// pause would the last one be given as it is.
constexpr int kReadsAtOnce = 20;

using Name = std::array<char, SLUICE_NAME_BYTES_MAX>;

Name to_name(const std::string& text) {
  Name name = {};
  std::memcpy(name.data(), text.data(), std::min(text.size(), name.size() - 1));
  return name;
}

Result<std::map<std::string, uint32_t>> read_names(int names_map) {
  std::map<std::string, uint32_t> slots;
  Name key = {};
  Name next = {};
  void* previous = nullptr;
  for (uint32_t count = 0; count <= SLUICE_TARGETS_MAX; ++count) {
    if (bpf_map_get_next_key(names_map, previous, next.data()) != 0) {
      if (errno == ENOENT) return slots;
      return fail_errno("list target names", errno);
    }
    uint32_t slot = 0;
    if (bpf_map_lookup_elem(names_map, next.data(), &slot) == 0 && slot < SLUICE_TARGETS_MAX) slots[next.data()] = slot;
    key = next;
    previous = key.data();
  }
  return fail("list target names: more than the map can hold");
}

Status clear_slot(int counters_map, uint32_t slot) {
  std::vector<sluice_counters> zeroes(static_cast<size_t>(libbpf_num_possible_cpus()));
  if (bpf_map_update_elem(counters_map, &slot, zeroes.data(), BPF_ANY) != 0) return fail_errno("clear counters", errno);
  return {};
}

Result<sluice_counters> read_once(int counters_map, uint32_t slot, std::vector<sluice_counters>& by_cpu) {
  if (bpf_map_lookup_elem(counters_map, &slot, by_cpu.data()) != 0) return fail_errno("read counters", errno);
  sluice_counters sum = {};
  for (const sluice_counters& one : by_cpu) {
    sum.connects += one.connects;
    sum.redirected += one.redirected;
    sum.exempt += one.exempt;
    sum.uncovered += one.uncovered;
    for (size_t i = 0; i < SLUICE_REFUSALS; ++i) sum.refused[i] += one.refused[i];
  }
  return sum;
}

TargetCounters to_counters(const sluice_counters& sum) {
  TargetCounters out;
  out.connects = sum.connects;
  out.redirected = sum.redirected;
  out.exempt = sum.exempt;
  out.uncovered = sum.uncovered;
  for (uint64_t refused : sum.refused) out.refused += refused;
  out.refused_down = sum.refused[SLUICE_REFUSED_DOWN];
  out.refused_hung = sum.refused[SLUICE_REFUSED_HUNG];
  out.refused_namespace = sum.refused[SLUICE_REFUSED_NETNS];
  out.refused_notes_full = sum.refused[SLUICE_REFUSED_NOTES_FULL];
  out.refused_other =
      out.refused - out.refused_down - out.refused_hung - out.refused_namespace - out.refused_notes_full;
  return out;
}

}  // namespace

Result<std::vector<uint32_t>> assign_slots(int names_map, int counters_map, std::span<const SteeredTarget> targets) {
  auto known = read_names(names_map);
  if (!known) return tl::unexpected(known.error());
  std::vector<bool> taken(SLUICE_TARGETS_MAX, false);
  for (const auto& [name, slot] : *known) taken[slot] = true;
  std::vector<uint32_t> slots;
  for (const SteeredTarget& target : targets) {
    if (auto found = known->find(target.name); found != known->end()) {
      slots.push_back(found->second);
      continue;
    }
    auto free_slot = std::find(taken.begin(), taken.end(), false);
    uint32_t slot = static_cast<uint32_t>(free_slot - taken.begin());
    if (free_slot == taken.end()) {
      auto unused = std::find_if(known->begin(), known->end(), [&](const auto& entry) {
        return std::none_of(targets.begin(), targets.end(),
                            [&](const SteeredTarget& t) { return t.name == entry.first; });
      });
      if (unused == known->end()) return fail("no counter slot for target " + target.name);
      slot = unused->second;
      bpf_map_delete_elem(names_map, to_name(unused->first).data());
      known->erase(unused);
    }
    taken[slot] = true;
    if (Status cleared = clear_slot(counters_map, slot); !cleared) return tl::unexpected(cleared.error());
    if (bpf_map_update_elem(names_map, to_name(target.name).data(), &slot, BPF_ANY) != 0) {
      return fail_errno("note the counter slot of " + target.name, errno);
    }
    known->emplace(target.name, slot);
    slots.push_back(slot);
  }
  return slots;
}

Result<TargetCounters> read_counters(int counters_map, uint32_t slot, std::chrono::steady_clock::time_point until) {
  std::vector<sluice_counters> by_cpu(static_cast<size_t>(libbpf_num_possible_cpus()));
  for (int attempt = 1;; ++attempt) {
    auto sum = read_once(counters_map, slot, by_cpu);
    if (!sum) return tl::unexpected(sum.error());
    TargetCounters counters = to_counters(*sum);
    if (counters.connects == counters.redirected + counters.refused + counters.exempt + counters.uncovered) {
      return counters;
    }
    if (attempt < kReadsAtOnce) continue;
    if (std::chrono::steady_clock::now() >= until) return counters;
    std::this_thread::yield();
  }
}

}  // namespace sluice::interception
