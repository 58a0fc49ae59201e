#include "daemon/interception/notes.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstring>

#include "daemon/base/unique_fd.h"

namespace sluice::interception {
namespace {

TEST(ConnectNote, carries_over_every_field) {
  sluice_note note = {};
  note.generation = 7;
  note.target = 3;
  note.pid = 4711;
  note.parent_pid = 1;
  note.uid = 1000;
  note.gid = 100;
  note.cgroup_id = 99;
  note.netns_cookie = 5;
  note.start_boottime_ns = 123;
  note.exec_id = 2;
  note.exe_inode = 55;
  note.exe_device = (8u << 20) | 3;
  note.connect_ktime_ns = 42;
  note.bound_device = 4;
  note.original_family = SLUICE_IPV4;
  note.original_port = 5432;
  note.original[0] = htonl(0x0a000001);
  ConnectNote out = to_connect_note(note);
  EXPECT_EQ(out.target, 3u);
  EXPECT_EQ(out.target_generation, 7u);
  EXPECT_EQ(out.pid, 4711);
  EXPECT_EQ(out.parent_pid, 1);
  EXPECT_EQ(out.uid, 1000u);
  EXPECT_EQ(out.gid, 100u);
  EXPECT_EQ(out.cgroup_id, 99u);
  EXPECT_EQ(out.netns_cookie, 5u);
  EXPECT_EQ(out.start_boottime_ns, 123u);
  EXPECT_EQ(out.exec_id, 2u);
  EXPECT_EQ(out.exe_inode, 55u);
  EXPECT_EQ(out.exe_device, makedev(8, 3));
  EXPECT_EQ(out.connect_ktime_ns, 42u);
  EXPECT_EQ(out.bound_device, 4u);
  const auto& four = reinterpret_cast<const sockaddr_in&>(out.original);
  EXPECT_EQ(four.sin_family, AF_INET);
  EXPECT_EQ(ntohs(four.sin_port), 5432);
  EXPECT_EQ(ntohl(four.sin_addr.s_addr), 0x0a000001u);
}

TEST(ConnectNote, keeps_the_scope_of_an_ipv6_original) {
  sluice_note note = {};
  note.original_family = SLUICE_IPV6;
  note.original_scope = 4;
  inet_pton(AF_INET6, "fe80::1", note.original);
  ConnectNote out = to_connect_note(note);
  const auto& six = reinterpret_cast<const sockaddr_in6&>(out.original);
  EXPECT_EQ(six.sin6_family, AF_INET6);
  EXPECT_EQ(six.sin6_scope_id, 4u);
  EXPECT_EQ(std::memcmp(&six.sin6_addr, note.original, 16), 0);
}

TEST(NoteKey, is_the_clients_view_of_an_accepted_connection) {
  UniqueFd listener(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in where = {};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(where);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&where), size), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&where), &size), 0);
  UniqueFd client(socket(AF_INET, SOCK_STREAM, 0));
  ASSERT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&where), size), 0);
  sockaddr_in own = {};
  ASSERT_EQ(getsockname(client.get(), reinterpret_cast<sockaddr*>(&own), &size), 0);
  UniqueFd accepted(accept(listener.get(), nullptr, nullptr));
  auto key = note_key_of(accepted.get());
  ASSERT_TRUE(key);
  EXPECT_EQ(key->local_port, ntohs(own.sin_port));
  EXPECT_EQ(key->remote_port, ntohs(where.sin_port));
  EXPECT_EQ(key->local[2], htonl(0xffff));
  EXPECT_EQ(key->local[3], own.sin_addr.s_addr);
  EXPECT_EQ(key->remote[3], where.sin_addr.s_addr);
  EXPECT_NE(key->netns_cookie, 0u);
  EXPECT_EQ(key->padding, 0u) << "a key is compared byte by byte";
}

TEST(NoteKey, there_is_none_for_what_is_not_connected) {
  UniqueFd plain(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_FALSE(note_key_of(plain.get()));
  EXPECT_FALSE(note_key_of(-1));
}

}  // namespace
}  // namespace sluice::interception
