// What steering still asks of the kernel that needs privileges, once it stands: a new endpoint map for each change of
// targets, and a look at the pins. The daemon has given up its privileges by then; its helper does this for it, behind
// this interface. Stateless functions, safe from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/interception/programs.h"

namespace sluice::interception {

// What is pinned in a directory. Plain numbers: it is sent between processes of one binary.
struct PinnedObjects {
  std::array<uint32_t, kHooks.size()> links = {};  // id of each link, 0 where its pin is gone
  std::array<uint32_t, kMapCount> maps = {};       // 1 where the map is pinned
};

class KernelBroker {
 public:
  virtual ~KernelBroker() = default;
  [[nodiscard]] virtual Result<UniqueFd> make_endpoint_map() = 0;
  [[nodiscard]] virtual Result<PinnedObjects> look_at_pins() = 0;
};

// By this process itself.
[[nodiscard]] Result<UniqueFd> make_endpoint_map();  // empty, to be filled and put in place
[[nodiscard]] PinnedObjects look_at_pins(const std::string& bpf_directory);

// True where this process, as it is now, may use the map: kernels before 5.19 want CAP_BPF even for that, where
// unprivileged eBPF is switched off. The map's keys have at most kTriedKeyBytes.
[[nodiscard]] bool may_use_map(int map);
inline constexpr size_t kTriedKeyBytes = 64;

}  // namespace sluice::interception
