#include "daemon/interception/endpoint_table.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <string_view>

namespace sluice::interception {
namespace {

uint32_t full_bits(const SteeredEndpoint& endpoint) {
  return endpoint.family == AF_INET ? 32 : 128;
}

// Whether the first `bits` bits of both addresses are the same.
bool same_prefix(const uint8_t* left, const uint8_t* right, uint32_t bits) {
  if (std::memcmp(left, right, bits / 8) != 0) return false;
  if (bits % 8 == 0) return true;
  uint8_t mask = static_cast<uint8_t>(0xff << (8 - bits % 8));
  return (left[bits / 8] & mask) == (right[bits / 8] & mask);
}

// Whether `network` contains all of `inner`, at the same port.
bool covers(const SteeredEndpoint& network, const SteeredEndpoint& inner) {
  return network.family == inner.family && network.port == inner.port && network.prefix_bits <= inner.prefix_bits &&
         same_prefix(network.address, inner.address, network.prefix_bits);
}

// Zeroes the bits behind the prefix, so that equal networks have equal keys.
SteeredEndpoint masked(SteeredEndpoint endpoint) {
  for (uint32_t bit = endpoint.prefix_bits; bit < full_bits(endpoint); ++bit) {
    endpoint.address[bit / 8] &= static_cast<uint8_t>(~(0x80 >> (bit % 8)));
  }
  if (endpoint.family == AF_INET) std::memset(endpoint.address + 4, 0, 12);
  return endpoint;
}

// A v4-mapped IPv6 endpoint is an IPv4 one: the hooks look it up as such.
SteeredEndpoint normalised(const SteeredEndpoint& endpoint) {
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (endpoint.family != AF_INET6 || endpoint.prefix_bits < 96 || std::memcmp(endpoint.address, kMapped, 12) != 0) {
    return masked(endpoint);
  }
  SteeredEndpoint plain;
  plain.family = AF_INET;
  plain.port = endpoint.port;
  plain.prefix_bits = static_cast<uint8_t>(endpoint.prefix_bits - 96);
  std::memcpy(plain.address, endpoint.address + 12, 4);
  return masked(plain);
}

Status check(const SteeredTarget& target) {
  if (target.name.empty()) return fail("a target has no name");
  if (target.name.size() >= SLUICE_NAME_BYTES_MAX) {
    return fail("target " + target.name + ": the name is longer than " + std::to_string(SLUICE_NAME_BYTES_MAX - 1) +
                " bytes");
  }
  if (target.name.find('\0') != std::string::npos) return fail("a target's name contains a zero byte");
  for (const SteeredEndpoint& endpoint : target.endpoints) {
    if (endpoint.family != AF_INET && endpoint.family != AF_INET6) {
      return fail("target " + target.name + ": an endpoint is neither IPv4 nor IPv6");
    }
    if (endpoint.prefix_bits > full_bits(endpoint))
      return fail("target " + target.name + ": prefix too long in " + describe(endpoint));
    if (endpoint.port == 0) return fail("target " + target.name + ": no port in " + describe(endpoint));
  }
  return {};
}

using SortKey = std::string;  // the bytes of a trie key: equal keys are equal endpoints

SortKey sort_key(const sluice_endpoint_key& key) {
  return {reinterpret_cast<const char*>(&key), sizeof(key)};
}

EndpointEntry make_entry(const SteeredEndpoint& endpoint, uint32_t target, WhenDown when_down, sluice_scope scope) {
  EndpointEntry entry;
  entry.key.prefix_bits = SLUICE_ENDPOINT_KEY_BITS + endpoint.prefix_bits;
  entry.key.port_be = htons(endpoint.port);
  entry.key.family = endpoint.family == AF_INET ? SLUICE_IPV4 : SLUICE_IPV6;
  std::memcpy(entry.key.address, endpoint.address, 16);
  entry.value.target = target;
  entry.value.when_down = when_down == WhenDown::deny ? SLUICE_DENY : SLUICE_ALLOW;
  entry.value.scope = scope;
  return entry;
}

// 127.0.0.0/8 and ::1: local wherever loopback is up.
std::vector<SteeredEndpoint> loopback_networks() {
  SteeredEndpoint four;
  four.prefix_bits = 8;
  four.address[0] = 127;
  SteeredEndpoint six;
  six.family = AF_INET6;
  six.prefix_bits = 128;
  six.address[15] = 1;
  return {four, six};
}

bool touches_host(const SteeredEndpoint& endpoint, std::span<const SteeredEndpoint> own) {
  return std::any_of(own.begin(), own.end(), [&](SteeredEndpoint address) {
    address.port = endpoint.port;
    return covers(endpoint, address) || covers(address, endpoint);
  });
}

}  // namespace

std::string describe(const SteeredEndpoint& endpoint) {
  char text[INET6_ADDRSTRLEN] = "?";
  inet_ntop(endpoint.family, endpoint.address, text, sizeof(text));
  std::string prefix = endpoint.prefix_bits == full_bits(endpoint) ? "" : "/" + std::to_string(endpoint.prefix_bits);
  std::string port = ":" + std::to_string(endpoint.port);
  return endpoint.family == AF_INET6 ? "[" + std::string(text) + prefix + "]" + port : text + prefix + port;
}

Result<std::vector<EndpointEntry>> build_endpoint_table(std::span<const SteeredTarget> targets,
                                                        std::span<const SteeredEndpoint> local_addresses) {
  if (targets.size() > SLUICE_TARGETS_MAX) return fail("more than " + std::to_string(SLUICE_TARGETS_MAX) + " targets");
  std::map<SortKey, EndpointEntry> entries;
  std::vector<SteeredEndpoint> configured;
  std::map<std::string_view, uint32_t> names;
  for (uint32_t index = 0; index < targets.size(); ++index) {
    const SteeredTarget& target = targets[index];
    if (Status good = check(target); !good) return tl::unexpected(good.error());
    if (!names.emplace(target.name, index).second) return fail("two targets are named " + target.name);
    for (const SteeredEndpoint& as_given : target.endpoints) {
      SteeredEndpoint endpoint = normalised(as_given);
      EndpointEntry entry = make_entry(endpoint, index, target.when_down, SLUICE_EVERYWHERE);
      auto [there, added] = entries.emplace(sort_key(entry.key), entry);
      if (!added && there->second.value.target != index) {
        return fail("targets " + targets[there->second.value.target].name + " and " + target.name + " both have " +
                    describe(endpoint));
      }
      if (added) configured.push_back(endpoint);
      if (entries.size() > SLUICE_ENDPOINTS_MAX)
        return fail("more than " + std::to_string(SLUICE_ENDPOINTS_MAX) + " endpoints");
    }
  }

  std::vector<SteeredEndpoint> own = loopback_networks();
  for (const SteeredEndpoint& address : local_addresses) own.push_back(normalised(address));
  // Targets that deny come first: where two targets of this host claim one alias, the stricter has it.
  for (WhenDown pass : {WhenDown::deny, WhenDown::allow}) {
    for (uint32_t index = 0; index < targets.size(); ++index) {
      if (targets[index].when_down != pass) continue;
      for (const SteeredEndpoint& as_given : targets[index].endpoints) {
        SteeredEndpoint endpoint = normalised(as_given);
        if (!touches_host(endpoint, own)) continue;
        for (SteeredEndpoint alias : own) {
          alias.port = endpoint.port;
          bool known = std::any_of(configured.begin(), configured.end(),
                                   [&](const SteeredEndpoint& c) { return covers(c, alias); });
          if (known) continue;
          EndpointEntry entry = make_entry(alias, index, pass, SLUICE_OWN_NETNS);
          entries.emplace(sort_key(entry.key), entry);
        }
      }
    }
  }
  if (entries.size() > SLUICE_ENDPOINTS_MAX)
    return fail("more than " + std::to_string(SLUICE_ENDPOINTS_MAX) + " endpoints, local aliases included");
  std::vector<EndpointEntry> table;
  table.reserve(entries.size());
  for (auto& [key, entry] : entries) table.push_back(entry);
  return table;
}

}  // namespace sluice::interception
