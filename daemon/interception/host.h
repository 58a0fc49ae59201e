// The host's side of steering: where the cgroup v2 root and the BPF file system are (both are mounted where they are
// missing), in which cgroup and network namespace this process runs, which addresses are this host's own.
// Stateless functions for the control thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/interception/steering.h"

namespace sluice::interception {

// Opens the cgroup to attach to: `path`, or the cgroup v2 root where it is empty (mounted at kCgroupMountPoint if need
// be).
[[nodiscard]] Result<UniqueFd> open_cgroup(const std::string& path);
inline constexpr const char* kCgroupMountPoint = "/run/sluice-cgroup";

// Mount point of the cgroup v2 hierarchy, empty where it is not mounted.
[[nodiscard]] std::string find_cgroup_root();

// The id that bpf_get_current_cgroup_id() gives for this process (the inode of its v2 directory).
[[nodiscard]] Result<uint64_t> own_cgroup_id();
// The same for an open cgroup directory.
[[nodiscard]] Result<uint64_t> cgroup_id_of(int cgroup_fd);

// Makes sure that the parent of `bpf_directory` exists on a BPF file system; mounts one at /sys/fs/bpf.
[[nodiscard]] Status ensure_bpf_file_system(const std::string& bpf_directory);

// Cookie of the network namespace of this process (SO_NETNS_COOKIE, 5.14).
[[nodiscard]] Result<uint64_t> own_netns_cookie();

// Addresses of this host's interfaces in this namespace, as full-length endpoints with port 0. Addresses that are only
// routed as local (ip route add local …) are not listed by the kernel and not found.
[[nodiscard]] Result<std::vector<SteeredEndpoint>> local_addresses();

// Finds the address that a direct connection to `destination` would have as its own, by asking the routing table.
// False where there is no route. `source` gets 4 or 16 bytes in network order.
[[nodiscard]] bool source_address_for(const SteeredEndpoint& destination, uint8_t source[16]);

}  // namespace sluice::interception
