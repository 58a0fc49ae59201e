#include "daemon/interception/tcp_sockets.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include <gtest/gtest.h>

#include "daemon/base/unique_fd.h"

namespace sluice::interception {
namespace {

constexpr const char* kHeader =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

TEST(ProcNetTcp, ReadsBothFamiliesAndLeavesOutWhatCannotCarryBytes) {
  const std::string text = std::string(kHeader) +
                           "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   117 0 7 1\n"
                           "   1: 0500140A:D431 0600140A:1538 01 00000000:00000000 00:00000000 00000000  1000 0 42 1\n"
                           "   2: 0500140A:D432 0600140A:1538 06 00000000:00000000 03:00000F00 00000000     0 0 0 3\n";
  const auto sockets = parse_proc_net_tcp(text, AF_INET);
  ASSERT_TRUE(sockets.has_value()) << sockets.error().message;
  ASSERT_EQ(sockets->size(), 1u);
  EXPECT_EQ((*sockets)[0].remote.port, 5432);
  EXPECT_EQ((*sockets)[0].uid, 1000u);
  EXPECT_EQ((*sockets)[0].inode, 42u);
  const uint8_t address[4] = {10, 20, 0, 6};
  EXPECT_EQ(std::memcmp((*sockets)[0].remote.address, address, 4), 0);

  const auto six = parse_proc_net_tcp(
      std::string(kHeader) +
          "   0: 0000000000000000FFFF00000100007F:0001 0000000000000000FFFF00000100007F:1538 01 0:0 00:0 0 0 0 9 1\n"
          "   1: 00000000000000000000000001000000:0002 00000000000000000000000001000000:1538 08 0:0 00:0 0 0 0 8 1\n",
      AF_INET6);
  ASSERT_TRUE(six.has_value()) << six.error().message;
  ASSERT_EQ(six->size(), 2u);
  EXPECT_TRUE((*six)[0].mapped);
  EXPECT_EQ((*six)[0].remote.family, AF_INET);
  EXPECT_EQ((*six)[1].remote.family, AF_INET6);
  EXPECT_EQ((*six)[1].remote.address[15], 1);
}

TEST(ProcNetTcp, WhatCannotBeReadIsAnError) {
  EXPECT_TRUE(parse_proc_net_tcp(kHeader, AF_INET)->empty());
  for (const char* line : {"   0: 0100007F:1538\n", "   0: 0100007F1538 00000000:0000 01 0:0 0:0 0 0 0 7\n",
                           "   0: 0100007G:1538 00000000:0000 01 0:0 0:0 0 0 0 7\n",
                           "   0: 0100007F:1538 00000000:0000 01 0:0 0:0 0 x 0 7\n"}) {
    EXPECT_FALSE(parse_proc_net_tcp(std::string(kHeader) + line, AF_INET).has_value()) << line;
  }
  // Lines of the other family have addresses of another length.
  EXPECT_FALSE(
      parse_proc_net_tcp(std::string(kHeader) + "   0: 0100007F:1538 00000000:0000 01 0:0 0:0 0 0 0 7\n", AF_INET6)
          .has_value());
}

struct Pair {
  UniqueFd listener, client, server;
  uint64_t cookie = 0;
};

Pair connect_pair() {
  Pair pair;
  pair.listener.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(pair.listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::listen(pair.listener.get(), 1), 0);
  EXPECT_EQ(::getsockname(pair.listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  pair.client.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(pair.client.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  pair.server.reset(::accept4(pair.listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  socklen_t cookie_size = sizeof pair.cookie;
  EXPECT_EQ(::getsockopt(pair.client.get(), SOL_SOCKET, SO_COOKIE, &pair.cookie, &cookie_size), 0);
  return pair;
}

TEST(SockDiag, ListsWhatProcListsAndEndsOne) {
  Pair pair = connect_pair();
  const auto sockets = list_tcp_sockets();
  ASSERT_TRUE(sockets.has_value()) << sockets.error().message;
  const auto mine =
      std::find_if(sockets->begin(), sockets->end(), [&](const TcpSocket& s) { return s.cookie == pair.cookie; });
  ASSERT_NE(mine, sockets->end());
  EXPECT_EQ(mine->uid, ::getuid());
  EXPECT_NE(mine->inode, 0u);
  const auto from_proc = list_tcp_sockets_of("/proc/self/net");
  ASSERT_TRUE(from_proc.has_value()) << from_proc.error().message;
  EXPECT_TRUE(std::any_of(from_proc->begin(), from_proc->end(), [&](const TcpSocket& s) {
    return s.inode == mine->inode && s.local.port == mine->local.port && s.remote.port == mine->remote.port;
  }));

  const auto diag = open_sock_diag();
  ASSERT_TRUE(diag.has_value()) << diag.error().message;
  const Status ended = destroyed(destroy_tcp_socket(diag->get(), *mine));
  if (::geteuid() != 0) {
    EXPECT_FALSE(ended.has_value()) << "only CAP_NET_ADMIN may";
    GTEST_SKIP() << "not root: connections cannot be ended";
  }
  if (!ended && ended.error().message.find("CONFIG_INET_DIAG_DESTROY") != std::string::npos)
    GTEST_SKIP() << ended.error().message;
  ASSERT_TRUE(ended.has_value()) << ended.error().message;
  char byte = 0;
  EXPECT_EQ(::recv(pair.client.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNABORTED);
  const Status again = destroyed(destroy_tcp_socket(diag->get(), *mine));
  ASSERT_FALSE(again.has_value());
  EXPECT_NE(again.error().message.find("gone"), std::string::npos) << again.error().message;
}

}  // namespace
}  // namespace sluice::interception
