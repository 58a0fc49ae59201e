#include "daemon/interception/kernel_broker.h"

#include <bpf/bpf.h>
#include <unistd.h>

#include <cerrno>

#include "bpf/abi.h"

namespace sluice::interception {

Result<UniqueFd> make_endpoint_map() {
  LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);
  UniqueFd trie(bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "sluice_trie", sizeof(sluice_endpoint_key),
                               sizeof(sluice_endpoint), SLUICE_ENDPOINTS_MAX, &options));
  if (!trie.valid()) return fail_errno("make the endpoint trie", errno);
  return trie;
}

PinnedObjects look_at_pins(const std::string& bpf_directory) {
  PinnedObjects pinned;
  for (size_t hook = 0; hook < kHooks.size(); ++hook) {
    const UniqueFd link(bpf_obj_get(link_pin(bpf_directory, hook).c_str()));
    bpf_link_info info = {};
    uint32_t size = sizeof info;
    if (link.valid() && bpf_obj_get_info_by_fd(link.get(), &info, &size) == 0) pinned.links[hook] = info.id;
  }
  for (size_t map = 0; map < kMapCount; ++map)
    pinned.maps[map] = access(map_pin(bpf_directory, map).c_str(), F_OK) == 0 ? 1 : 0;
  return pinned;
}

bool may_use_map(int map) {
  std::array<uint8_t, kTriedKeyBytes> key = {};
  return bpf_map_get_next_key(map, nullptr, key.data()) == 0 || errno != EPERM;
}

}  // namespace sluice::interception
