// The connect hooks' decisions, compiled as they are into this test.
#include "bpf/decide.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>

namespace {

struct Words {
  uint32_t w[4] = {};
};

Words six(const char* text) {
  Words out;
  EXPECT_EQ(inet_pton(AF_INET6, text, out.w), 1) << text;
  return out;
}

uint32_t four(const char* text) {
  in_addr out = {};
  EXPECT_EQ(inet_pton(AF_INET, text, &out), 1) << text;
  return out.s_addr;
}

std::string shown(const sluice_destination& destination) {
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(destination.family == SLUICE_IPV4 ? AF_INET : AF_INET6, destination.address, text, sizeof(text));
  return text;
}

std::string normal4(const char* destination, const char* source) {
  sluice_destination out = {};
  sluice_normalise4(four(destination), four(source), htons(5432), &out);
  EXPECT_EQ(out.family, SLUICE_IPV4);
  EXPECT_EQ(ntohs(out.port_be), 5432);
  return shown(out);
}

std::string normal6(const char* destination, const char* source) {
  sluice_destination out = {};
  sluice_normalise6(six(destination).w, six(source).w, htons(5432), &out);
  EXPECT_EQ(ntohs(out.port_be), 5432);
  return shown(out);
}

TEST(Normalise, ipv4_zero_is_the_own_address_or_loopback) {
  EXPECT_EQ(normal4("10.0.0.1", "0.0.0.0"), "10.0.0.1");
  EXPECT_EQ(normal4("10.0.0.1", "10.0.0.2"), "10.0.0.1");
  EXPECT_EQ(normal4("0.0.0.0", "0.0.0.0"), "127.0.0.1");
  EXPECT_EQ(normal4("0.0.0.0", "10.0.0.2"), "10.0.0.2");
}

TEST(Normalise, ipv6_mapped_is_ipv4_and_zero_is_loopback) {
  EXPECT_EQ(normal6("2001:db8::1", "::"), "2001:db8::1");
  EXPECT_EQ(normal6("::ffff:10.0.0.1", "::"), "10.0.0.1");
  EXPECT_EQ(normal6("::ffff:0.0.0.0", "::"), "127.0.0.1");
  EXPECT_EQ(normal6("::ffff:0.0.0.0", "::ffff:10.0.0.2"), "10.0.0.2");
  EXPECT_EQ(normal6("::", "::"), "::1");
  EXPECT_EQ(normal6("::", "2001:db8::2"), "::1");
  EXPECT_EQ(normal6("::", "::ffff:10.0.0.2"), "127.0.0.1");
  EXPECT_EQ(normal6("::10.0.0.1", "::"), "::10.0.0.1") << "IPv4-compatible is not v4-mapped";
}

uint16_t redirect_family(const char* destination, const char* source, int v6only) {
  sluice_destination out = {};
  sluice_normalise6(six(destination).w, six(source).w, 0, &out);
  return sluice_redirect_family(&out, six(source).w, v6only);
}

TEST(RedirectFamily, ipv6_sockets_take_the_listener_that_they_can_reach) {
  EXPECT_EQ(redirect_family("2001:db8::1", "::", 0), SLUICE_IPV4);
  EXPECT_EQ(redirect_family("2001:db8::1", "::", 1), SLUICE_IPV6);
  EXPECT_EQ(redirect_family("2001:db8::1", "2001:db8::2", 0), SLUICE_IPV6);
  EXPECT_EQ(redirect_family("2001:db8::1", "::ffff:10.0.0.2", 0), SLUICE_IPV4);
  EXPECT_EQ(redirect_family("::ffff:10.0.0.1", "::ffff:10.0.0.2", 0), SLUICE_IPV4);
}

TEST(RedirectAddress, is_in_the_redirect_network_and_spreads) {
  std::set<uint32_t> seen;
  for (uint64_t cookie = 1; cookie <= 10000; ++cookie) {
    uint32_t address = sluice_redirect_address_be(cookie);
    EXPECT_TRUE(sluice_is_redirect4(address));
    seen.insert(address);
  }
  EXPECT_GT(seen.size(), 9000u) << "sequential cookies";
}

TEST(Heartbeat, is_fresh_up_to_the_bound_and_never_before_the_first) {
  constexpr uint64_t kNow = 100'000'000'000;
  EXPECT_FALSE(sluice_heartbeat_fresh(0, kNow));
  EXPECT_FALSE(sluice_heartbeat_fresh(0, 1));
  EXPECT_TRUE(sluice_heartbeat_fresh(kNow, kNow));
  EXPECT_TRUE(sluice_heartbeat_fresh(kNow + 1, kNow)) << "written after our reading of the clock";
  EXPECT_TRUE(sluice_heartbeat_fresh(kNow - SLUICE_HEARTBEAT_MAX_NS, kNow));
  EXPECT_FALSE(sluice_heartbeat_fresh(kNow - SLUICE_HEARTBEAT_MAX_NS - 1, kNow));
}

// All 2^7 inputs against the rules in words.
TEST(Decide, every_combination_of_facts) {
  for (unsigned bits = 0; bits < 128; ++bits) {
    sluice_facts facts = {};
    facts.exempt = bits & 1;
    facts.refused_elsewhere = bits >> 1 & 1;
    facts.listener = bits >> 2 & 1;
    facts.heartbeat_fresh = bits >> 3 & 1;
    facts.own_netns = bits >> 4 & 1;
    facts.when_down = bits >> 5 & 1 ? SLUICE_ALLOW : SLUICE_DENY;
    facts.scope_missing = bits >> 6 & 1;
    uint32_t refusal = 99;
    sluice_verdict verdict = sluice_decide(&facts, &refusal);
    bool up = facts.listener && facts.heartbeat_fresh;
    if (facts.refused_elsewhere) {
      EXPECT_EQ(verdict, SLUICE_REFUSE);
      EXPECT_EQ(refusal, static_cast<uint32_t>(SLUICE_REFUSED_ELSEWHERE));
    } else if (facts.exempt) {
      EXPECT_EQ(verdict, SLUICE_EXEMPT) << "also while the daemon is down: it is its own socket";
    } else if (!up && facts.when_down == SLUICE_ALLOW) {
      EXPECT_EQ(verdict, SLUICE_UNCOVERED);
    } else if (!up) {
      EXPECT_EQ(verdict, SLUICE_REFUSE);
      EXPECT_EQ(refusal, static_cast<uint32_t>(!facts.own_netns ? SLUICE_REFUSED_NETNS
                                               : facts.listener ? SLUICE_REFUSED_HUNG
                                                                : SLUICE_REFUSED_DOWN));
    } else if (facts.scope_missing) {
      EXPECT_EQ(verdict, SLUICE_REFUSE);
      EXPECT_EQ(refusal, static_cast<uint32_t>(SLUICE_REFUSED_SCOPE));
    } else {
      EXPECT_EQ(verdict, SLUICE_REDIRECT);
    }
  }
}

TEST(HideSource, only_a_loopback_source_that_the_kernel_picked) {
  EXPECT_TRUE(sluice_hide_source4(four("127.0.0.1"), 0));
  EXPECT_FALSE(sluice_hide_source4(four("127.0.0.1"), 1));
  EXPECT_FALSE(sluice_hide_source4(four("10.0.0.1"), 0));
  EXPECT_FALSE(sluice_hide_source4(four("0.0.0.0"), 0)) << "a socket whose connect failed";
  EXPECT_TRUE(sluice_hide_source6(six("::ffff:127.0.0.1").w, 0));
  EXPECT_TRUE(sluice_hide_source6(six("::1").w, 0));
  EXPECT_FALSE(sluice_hide_source6(six("::1").w, 1));
  EXPECT_FALSE(sluice_hide_source6(six("::").w, 0));
  EXPECT_FALSE(sluice_hide_source6(six("::ffff:10.0.0.1").w, 0));
}

}  // namespace
