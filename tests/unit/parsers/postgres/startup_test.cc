#include "parsers/postgres/startup.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "parsers/base/byte_writer.h"

namespace sluice::postgres {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes packet(uint32_t code, std::string_view body) {
  return parsers::ByteWriter().u32(static_cast<uint32_t>(8 + body.size())).u32(code).text(body).take();
}
constexpr uint32_t version(uint32_t major, uint32_t minor) {
  return major << 16 | minor;
}
using namespace std::string_view_literals;

TEST(Startup, EveryCutIsIncomplete) {
  const Bytes bytes = packet(version(3, 0), "user\0alice\0\0"sv);
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    EXPECT_EQ(read_startup(std::span(bytes).first(cut)).kind, StartupKind::incomplete) << cut;
  }
}

TEST(Startup, ReadsParameters) {
  Bytes bytes = packet(version(3, 2),
                       "user\0alice\0database\0shop\0_pq_.x\0"
                       "1\0\0"sv);
  bytes.push_back('Q');  // what follows is not its business
  const StartupPacket startup = read_startup(bytes);
  EXPECT_EQ(startup.kind, StartupKind::startup_message);
  EXPECT_EQ(startup.total_bytes, bytes.size() - 1);
  EXPECT_EQ(startup.minor, 2);
  EXPECT_EQ(startup.parameter("user"), "alice");
  EXPECT_EQ(startup.parameter("database"), "shop");
  EXPECT_EQ(startup.parameter("absent"), "");
}

TEST(Startup, ALaterValueWins) {
  EXPECT_EQ(read_startup(packet(version(3, 0), "user\0a\0user\0b\0\0"sv)).parameter("user"), "b");
}

TEST(Startup, ParametersMustEndExactly) {
  EXPECT_EQ(read_startup(packet(version(3, 0), "user\0alice\0"sv)).kind, StartupKind::malformed);
  EXPECT_EQ(read_startup(packet(version(3, 0), "user\0alice\0\0x"sv)).kind, StartupKind::malformed);
  EXPECT_EQ(read_startup(packet(version(3, 0), "user\0alice"sv)).kind, StartupKind::malformed);
  EXPECT_EQ(read_startup(packet(version(3, 0), ""sv)).kind, StartupKind::malformed);
}

TEST(Startup, TellsTheRequestsApart) {
  EXPECT_EQ(read_startup(packet(kSslRequestCode, "")).kind, StartupKind::ssl_request);
  EXPECT_EQ(read_startup(packet(kGssEncRequestCode, "")).kind, StartupKind::gss_enc_request);
  EXPECT_EQ(read_startup(packet(kSslRequestCode, "x")).kind, StartupKind::malformed);
  EXPECT_EQ(read_startup(packet(kCancelRequestCode, "pid!key!")).kind, StartupKind::cancel_request);
}

TEST(Startup, CancelKeysVaryInLength) {
  const std::string longest(4 + kCancelKeyMax, 'k');
  EXPECT_EQ(read_startup(packet(kCancelRequestCode, longest)).kind, StartupKind::cancel_request);
  EXPECT_EQ(read_startup(packet(kCancelRequestCode, longest + "k")).kind, StartupKind::malformed);
  EXPECT_EQ(read_startup(packet(kCancelRequestCode, "pid!key")).kind, StartupKind::malformed);
}

TEST(Startup, LengthsAreBounded) {
  EXPECT_EQ(read_startup(parsers::ByteWriter().u32(7).take()).kind, StartupKind::malformed);
  EXPECT_EQ(read_startup(parsers::ByteWriter().u32(10001).take()).kind, StartupKind::malformed);
  EXPECT_EQ(read_startup(parsers::ByteWriter().u32(10000).take()).kind, StartupKind::incomplete);
}

TEST(Startup, KnowsOtherVersionsAndProtocols) {
  EXPECT_EQ(read_startup(packet(version(2, 0), "")).kind, StartupKind::unsupported_version);
  EXPECT_EQ(read_startup(Bytes{0x16, 3, 1}).kind, StartupKind::direct_tls);
  EXPECT_EQ(read_startup(Bytes{'G', 'E', 'T'}).kind, StartupKind::malformed);
}

TEST(Startup, ReplicationIsAnythingThatIsNotSurelyNo) {
  for (const auto no : {"false", "OFF", "no", "0", "f", "N"}) EXPECT_FALSE(asks_for_replication(no)) << no;
  for (const auto yes : {"true", "database", "on", "1", "", "falsey", "of"})
    EXPECT_TRUE(asks_for_replication(yes)) << yes;
}

}  // namespace
}  // namespace sluice::postgres
