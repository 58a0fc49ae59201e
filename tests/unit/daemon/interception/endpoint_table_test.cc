#include "daemon/interception/endpoint_table.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <string>

namespace sluice::interception {
namespace {

SteeredEndpoint at(const std::string& text, uint16_t port, int prefix_bits = -1) {
  SteeredEndpoint out;
  out.port = port;
  if (inet_pton(AF_INET, text.c_str(), out.address) == 1) {
    out.prefix_bits = prefix_bits < 0 ? 32 : static_cast<uint8_t>(prefix_bits);
    return out;
  }
  EXPECT_EQ(inet_pton(AF_INET6, text.c_str(), out.address), 1) << text;
  out.family = AF_INET6;
  out.prefix_bits = prefix_bits < 0 ? 128 : static_cast<uint8_t>(prefix_bits);
  return out;
}

SteeredTarget named(const std::string& name, std::vector<SteeredEndpoint> endpoints,
                    WhenDown when_down = WhenDown::deny) {
  SteeredTarget out;
  out.name = name;
  out.when_down = when_down;
  out.endpoints = std::move(endpoints);
  return out;
}

// What the kernel's longest prefix match would find; the reference is a scan.
std::optional<EndpointEntry> match(const std::vector<EndpointEntry>& table, const std::string& text, uint16_t port) {
  SteeredEndpoint wanted = at(text, port);
  uint16_t family = wanted.family == AF_INET ? SLUICE_IPV4 : SLUICE_IPV6;
  std::optional<EndpointEntry> best;
  for (const EndpointEntry& entry : table) {
    if (entry.key.port_be != htons(port) || entry.key.family != family) continue;
    uint32_t bits = entry.key.prefix_bits - SLUICE_ENDPOINT_KEY_BITS;
    bool same = true;
    const auto* have = reinterpret_cast<const uint8_t*>(entry.key.address);
    for (uint32_t bit = 0; bit < bits; ++bit) {
      same = same && ((have[bit / 8] ^ wanted.address[bit / 8]) & (0x80 >> bit % 8)) == 0;
    }
    if (same && (!best || best->key.prefix_bits < entry.key.prefix_bits)) best = entry;
  }
  return best;
}

std::string error_of(std::vector<SteeredTarget> targets) {
  auto table = build_endpoint_table(targets, {});
  return table ? "" : table.error().message;
}

TEST(EndpointTable, a_remote_endpoint_is_one_entry) {
  auto table =
      build_endpoint_table(std::vector{named("db", {at("198.51.100.7", 5432)})}, std::vector{at("10.0.0.2", 0)});
  ASSERT_TRUE(table);
  ASSERT_EQ(table->size(), 1u);
  EXPECT_EQ((*table)[0].key.prefix_bits, SLUICE_ENDPOINT_KEY_BITS + 32);
  EXPECT_EQ((*table)[0].value.scope, SLUICE_EVERYWHERE);
  EXPECT_TRUE(match(*table, "198.51.100.7", 5432));
  EXPECT_FALSE(match(*table, "198.51.100.7", 5433)) << "the prefix covers the whole port";
  EXPECT_FALSE(match(*table, "198.51.100.8", 5432));
}

TEST(EndpointTable, bits_behind_the_prefix_do_not_matter) {
  auto table = build_endpoint_table(std::vector{named("net", {at("10.30.7.9", 5432, 16)})}, {});
  ASSERT_TRUE(table);
  EXPECT_TRUE(match(*table, "10.30.255.1", 5432));
  EXPECT_FALSE(match(*table, "10.31.0.1", 5432));
}

TEST(EndpointTable, a_mapped_endpoint_is_an_ipv4_one) {
  auto table = build_endpoint_table(std::vector{named("db", {at("::ffff:198.51.100.0", 5432, 120)})}, {});
  ASSERT_TRUE(table);
  EXPECT_TRUE(match(*table, "198.51.100.77", 5432));
}

TEST(EndpointTable, a_local_endpoint_brings_every_local_alias) {
  std::vector<SteeredEndpoint> own = {at("10.0.0.2", 0), at("2001:db8::2", 0)};
  for (const char* given : {"127.0.0.1", "127.3.3.3", "10.0.0.2", "::1", "2001:db8::2"}) {
    auto table = build_endpoint_table(std::vector{named("db", {at(given, 5432)})}, own);
    ASSERT_TRUE(table);
    for (const char* alias : {"127.0.0.1", "127.200.0.1", "10.0.0.2", "::1", "2001:db8::2"}) {
      auto found = match(*table, alias, 5432);
      ASSERT_TRUE(found) << given << " through " << alias;
      EXPECT_EQ(found->value.scope, std::string(given) == alias ? SLUICE_EVERYWHERE : SLUICE_OWN_NETNS);
    }
    EXPECT_FALSE(match(*table, "10.0.0.3", 5432));
    EXPECT_FALSE(match(*table, "127.0.0.1", 5433));
  }
}

TEST(EndpointTable, a_network_that_contains_an_own_address_brings_aliases_and_stays_whole) {
  auto table =
      build_endpoint_table(std::vector{named("net", {at("10.0.0.0", 5432, 8)})}, std::vector{at("10.0.0.2", 0)});
  ASSERT_TRUE(table);
  ASSERT_TRUE(match(*table, "127.0.0.1", 5432));
  EXPECT_EQ(match(*table, "10.0.0.2", 5432)->value.scope, SLUICE_EVERYWHERE) << "no alias hides what is configured";
}

TEST(EndpointTable, configured_endpoints_win_over_aliases_and_deny_over_allow) {
  auto table = build_endpoint_table(std::vector{named("open", {at("127.0.0.1", 5432)}, WhenDown::allow),
                                                named("strict", {at("10.0.0.2", 5432)}, WhenDown::deny)},
                                    std::vector{at("10.0.0.2", 0)});
  ASSERT_TRUE(table);
  EXPECT_EQ(match(*table, "127.0.0.1", 5432)->value.target, 0u);
  EXPECT_EQ(match(*table, "10.0.0.2", 5432)->value.target, 1u);
  EXPECT_EQ(match(*table, "::1", 5432)->value.target, 1u);
  EXPECT_EQ(match(*table, "::1", 5432)->value.when_down, SLUICE_DENY);
}

TEST(EndpointTable, refuses_what_cannot_be_used) {
  EXPECT_EQ(error_of({named("a", {at("10.0.0.1", 1)}), named("b", {at("10.0.0.1", 1)})}),
            "targets a and b both have 10.0.0.1:1");
  EXPECT_EQ(error_of({named("a", {at("10.0.0.1", 1), at("10.0.0.1", 1)})}), "") << "twice in one target is harmless";
  EXPECT_EQ(error_of({named("a", {}), named("a", {})}), "two targets are named a");
  EXPECT_EQ(error_of({named("", {})}), "a target has no name");
  EXPECT_EQ(error_of({named("a", {at("10.0.0.1", 0)})}), "target a: no port in 10.0.0.1:0");
  EXPECT_NE(error_of({named("a", {at("10.0.0.1", 1, 33)})}), "");
  EXPECT_NE(error_of({named("a", {at("::1", 1, 129)})}), "");
  EXPECT_NE(error_of({named(std::string(SLUICE_NAME_BYTES_MAX, 'n'), {})}), "");
  EXPECT_EQ(error_of({named(std::string(SLUICE_NAME_BYTES_MAX - 1, 'n'), {})}), "");
  EXPECT_NE(error_of({named(std::string("a\0b", 3), {})}), "");
  EXPECT_NE(error_of(std::vector<SteeredTarget>(SLUICE_TARGETS_MAX + 1)), "");
  SteeredEndpoint odd = at("10.0.0.1", 1);
  odd.family = AF_UNIX;
  EXPECT_NE(error_of({named("a", {odd})}), "");
}

TEST(EndpointTable, describes_endpoints_as_they_are_written) {
  EXPECT_EQ(describe(at("10.0.0.1", 5432)), "10.0.0.1:5432");
  EXPECT_EQ(describe(at("10.0.0.0", 5432, 8)), "10.0.0.0/8:5432");
  EXPECT_EQ(describe(at("::1", 5432)), "[::1]:5432");
}

}  // namespace
}  // namespace sluice::interception
