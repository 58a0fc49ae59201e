#include "daemon/config/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cstring>

namespace sluice::config {
namespace {

// "4 10.0.0.5/32:5432", or "error: …".
std::string read(const std::string& text) {
  Endpoint endpoint;
  endpoint.port = 7;  // to see that failure leaves it alone
  if (const auto error = parse_endpoint(text, endpoint)) {
    EXPECT_EQ(endpoint.port, 7);
    EXPECT_TRUE(endpoint.text.empty());
    return "error: " + error->message;
  }
  EXPECT_EQ(endpoint.text, text);
  char buffer[INET6_ADDRSTRLEN];
  const bool v4 = endpoint.family == Endpoint::Family::ipv4;
  inet_ntop(v4 ? AF_INET : AF_INET6, endpoint.bytes, buffer, sizeof buffer);
  return (v4 ? "4 " : "6 ") + std::string(buffer) + "/" + std::to_string(endpoint.prefix_bits) + ":" +
         std::to_string(endpoint.port);
}

TEST(Address, Forms) {
  EXPECT_EQ(read("10.20.0.5:5432"), "4 10.20.0.5/32:5432");
  EXPECT_EQ(read("127.0.0.1:1"), "4 127.0.0.1/32:1");
  EXPECT_EQ(read("127.0.0.1:65535"), "4 127.0.0.1/32:65535");
  EXPECT_EQ(read("10.30.0.0/16:5432"), "4 10.30.0.0/16:5432");
  EXPECT_EQ(read("0.0.0.0/0:5432"), "4 0.0.0.0/0:5432");
  EXPECT_EQ(read("[fd00::5]:5432"), "6 fd00::5/128:5432");
  EXPECT_EQ(read("[::1]:5432"), "6 ::1/128:5432");
  EXPECT_EQ(read("[fd00::/64]:5432"), "6 fd00::/64:5432");
  EXPECT_EQ(read("[fd00::]/64:5432"), "6 fd00::/64:5432");
  EXPECT_EQ(read("[::/0]:5432"), "6 ::/0:5432");
  EXPECT_EQ(read("[::ffff:10.0.0.5]:5432"), "4 10.0.0.5/32:5432");
  EXPECT_EQ(read("[::ffff:10.0.0.0/104]:5432"), "4 10.0.0.0/8:5432");
}

TEST(Address, WhatIsNone) {
  const char* texts[] = {"",
                         ":",
                         "10.0.0.5",
                         "10.0.0.5:",
                         "10.0.0.5:0",
                         "10.0.0.5:65536",
                         "10.0.0.5:5432x",
                         "10.0.0.5:-1",
                         "10.0.0.5: 1",
                         "10.0.0:5432",
                         "10.0.0.256:5432",
                         "010.0.0.1:5432",
                         "10.0.0.5/33:5432",
                         "10.0.0.5/:5432",
                         "10.0.0.5/x:5432",
                         "10.0.0.5/16:5432",
                         "fd00::5:5432",
                         "fd00::5",
                         "[fd00::5]",
                         "[fd00::5]5432",
                         "[fd00::5:5432",
                         "[10.0.0.5]:5432",
                         "[fd00::/64]/64:5432",
                         "[fd00::1/64]:5432",
                         "[fd00::/129]:5432",
                         "[fe80::1%eth0]:5432",
                         "[]:5432",
                         "0.0.0.0:5432",
                         "[::]:5432",
                         "[::ffff:0.0.0.0]:5432",
                         "224.0.0.1:5432",
                         "255.255.255.255:1",
                         "[ff02::1]:1",
                         "[::ffff:0.0.0.0/95]:5432",
                         "localhost:5432",
                         "db.internal:5432",
                         "unix:/x",
                         "10.0.0.5:5432:1",
                         "[fd00::]/:1",
                         "[fd00::]/64",
                         "10.0.0.5:5432 "};
  for (const char* text : texts) EXPECT_EQ(read(text).substr(0, 7), "error: ") << text << " → " << read(text);
  EXPECT_EQ(read(std::string(1'000, '1')).substr(0, 7), "error: ");
  EXPECT_EQ(read("localhost:5432"), "error: `localhost` is a host name; targets have addresses");
  EXPECT_EQ(read("10.0.0.5"), "error: the port is missing");
}

TEST(Address, HintsSayWhatToWrite) {
  Endpoint endpoint;
  EXPECT_EQ(parse_endpoint("10.30.4.0/16:5432", endpoint)->hint, "the network is `10.30.0.0/16:5432`");
  EXPECT_EQ(parse_endpoint("[fd00::1/64]:5432", endpoint)->hint, "the network is `[fd00::/64]:5432`");
  EXPECT_EQ(parse_endpoint("fd00::5:5432", endpoint)->hint, "`[fd00::5]:PORT`");
  EXPECT_EQ(parse_endpoint("10.0.0.5", endpoint)->hint, "`10.0.0.5:5432`?");
}

TEST(Address, Overlap) {
  const auto both = [](const char* a, const char* b) {
    Endpoint left, right;
    EXPECT_FALSE(parse_endpoint(a, left).has_value());
    EXPECT_FALSE(parse_endpoint(b, right).has_value());
    EXPECT_EQ(overlap(left, right), overlap(right, left));
    return overlap(left, right);
  };
  EXPECT_TRUE(both("10.0.0.0/8:1", "10.255.0.1:1"));
  EXPECT_FALSE(both("10.0.0.0/8:1", "11.0.0.1:1"));
  EXPECT_TRUE(both("10.0.0.0/9:1", "10.64.0.0/10:1"));
  EXPECT_FALSE(both("10.0.0.0/9:1", "10.128.0.0/9:1"));
  EXPECT_TRUE(both("0.0.0.0/0:1", "10.0.0.0/9:1"));
  EXPECT_FALSE(both("10.0.0.1:1", "10.0.0.1:2"));
  EXPECT_FALSE(both("0.0.0.0/0:1", "[::/0]:1"));
  EXPECT_TRUE(both("[fd00::/17]:1", "[fd00:7fff::1]:1"));
  EXPECT_FALSE(both("[fd00::/17]:1", "[fd00:8000::1]:1"));
}

}  // namespace
}  // namespace sluice::config
