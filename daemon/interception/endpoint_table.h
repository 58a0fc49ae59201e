// What goes into the kernel's endpoint trie for a set of targets: the endpoints as configured, and the local aliases.
//
// Local aliases: a server on this host usually listens on the wildcard address, so each of the host's addresses leads
// to it. Where an endpoint is, or contains, one of the host's own addresses (loopback included), every other own
// address at that port becomes an alias: 127.0.0.0/8, ::1 and each interface address. An alias never hides a configured
// endpoint, and holds in the daemon's network namespace alone, since elsewhere these addresses mean another host. An
// aliased connection keeps its own original destination; only policy treats it as the target's. Pure: no system calls.
// Limits: SLUICE_TARGETS_MAX targets, SLUICE_ENDPOINTS_MAX entries.
#pragma once

#include <span>
#include <vector>

#include "bpf/abi.h"
#include "daemon/base/result.h"
#include "daemon/interception/steering.h"

namespace sluice::interception {

struct EndpointEntry {
  sluice_endpoint_key key = {};
  sluice_endpoint value = {};  // slot, generation and source are filled in by the caller
};

// Entries for `targets`, given this host's addresses (full-length, port ignored). Fails where a target is not usable or
// two targets name the same endpoint.
[[nodiscard]] Result<std::vector<EndpointEntry>> build_endpoint_table(std::span<const SteeredTarget> targets,
                                                                      std::span<const SteeredEndpoint> local_addresses);

// "10.0.0.0/8:5432", "[::1]:5432": for messages.
[[nodiscard]] std::string describe(const SteeredEndpoint& endpoint);

}  // namespace sluice::interception
