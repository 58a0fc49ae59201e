// Every way to write a protected destination reaches the daemon, with a note, and the socket shows what its owner
// wanted.
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "tests/bpf/harness.h"

namespace sluice::interception::test {
namespace {

// First own address of the family that is not loopback and not link-local, "" where there is none.
std::string own_address(int family) {
  auto all = local_addresses();
  if (!all) return "";
  for (const SteeredEndpoint& address : *all) {
    if (address.family != family) continue;
    if (family == AF_INET && address.address[0] == 127) continue;
    static const uint8_t kLoopback[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    if (family == AF_INET6 && (std::memcmp(address.address, kLoopback, 16) == 0 || address.address[0] == 0xfe))
      continue;
    char text[INET6_ADDRSTRLEN] = {};
    inet_ntop(family, address.address, text, sizeof(text));
    return text;
  }
  return "";
}

class RedirectTest : public BpfTest {
 protected:
  // Expects that the connect reached the daemon; gives its note.
  ConnectNote expect_steered(const ConnectOptions& options) {
    size_t before = accepting_->notes().size();
    Attempt seen = connect_inside(options);
    EXPECT_EQ(seen.error, 0) << options.to << " " << seen.step << ": " << std::strerror(seen.error);
    EXPECT_STREQ(seen.reply, "sluice") << options.to;
    last_ = seen;
    if (seen.error != 0) return {};
    wait_until("the note is taken", [&] { return accepting_->notes().size() > before; });
    return accepting_->notes().empty() ? ConnectNote{} : accepting_->notes().back();
  }
  ConnectNote expect_steered(const std::string& to, uint16_t port, int family = 0) {
    ConnectOptions options;
    options.to = to;
    options.port = port;
    options.family = family;
    return expect_steered(options);
  }
  Attempt last_;
};

TEST_F(RedirectTest, a_remote_ipv4_target_reaches_the_daemon_and_shows_the_original) {
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  ConnectNote note = expect_steered("198.51.100.7", 5432);
  EXPECT_EQ(show(note.original), "198.51.100.7:5432");
  EXPECT_EQ(show(last_.peer), "198.51.100.7:5432");
  EXPECT_EQ(note.target, 0u);
  EXPECT_EQ(note.target_generation, steering_->target_generation());
  EXPECT_EQ(note.pid, last_.pid);
  EXPECT_EQ(note.parent_pid, getpid());
  EXPECT_EQ(note.uid, getuid());
  EXPECT_EQ(note.gid, getgid());
  struct stat info = {};
  ASSERT_EQ(stat(cgroup_.c_str(), &info), 0);
  EXPECT_EQ(note.cgroup_id, info.st_ino);
  ASSERT_EQ(stat("/proc/self/exe", &info), 0);
  EXPECT_EQ(note.exe_inode, info.st_ino);
  EXPECT_EQ(note.exe_device, info.st_dev);
  EXPECT_NE(note.start_boottime_ns, 0u);
  EXPECT_EQ(note.netns_cookie, *own_netns_cookie());
  std::string own = own_address(AF_INET);
  if (!own.empty()) {
    EXPECT_EQ(show(last_.own).substr(0, own.size()), own) << "a direct connection has this address";
  }
}

TEST_F(RedirectTest, every_spelling_of_loopback_is_the_target) {
  HelloServer direct("127.0.0.1", "direct");
  go_live({target("db", {endpoint("127.0.0.1", direct.port())})});
  EXPECT_EQ(show(expect_steered("127.0.0.1", direct.port()).original), "127.0.0.1:" + std::to_string(direct.port()));
  EXPECT_EQ(show(last_.peer), "127.0.0.1:" + std::to_string(direct.port()));
  EXPECT_EQ(show(last_.own).substr(0, 10), "127.0.0.1:");
  EXPECT_EQ(show(expect_steered("0.0.0.0", direct.port()).original), "127.0.0.1:" + std::to_string(direct.port()));
  EXPECT_EQ(show(last_.peer), "127.0.0.1:" + std::to_string(direct.port()));
  EXPECT_EQ(show(expect_steered("::ffff:127.0.0.1", direct.port()).original),
            "127.0.0.1:" + std::to_string(direct.port()));
  EXPECT_EQ(show(last_.peer), "[::ffff:127.0.0.1]:" + std::to_string(direct.port()));
  EXPECT_EQ(show(last_.own).substr(0, 18), "[::ffff:127.0.0.1]");
  EXPECT_EQ(show(expect_steered("::ffff:0.0.0.0", direct.port()).original),
            "127.0.0.1:" + std::to_string(direct.port()));
  EXPECT_EQ(show(expect_steered("::", direct.port()).original), "[::1]:" + std::to_string(direct.port()));
  EXPECT_EQ(show(last_.peer), "[::1]:" + std::to_string(direct.port()));
  EXPECT_EQ(show(last_.own).substr(0, 5), "[::1]");
  EXPECT_EQ(show(expect_steered("::1", direct.port()).original), "[::1]:" + std::to_string(direct.port()));
  EXPECT_EQ(show(expect_steered("127.1.2.3", direct.port()).original), "127.1.2.3:" + std::to_string(direct.port()));
  std::string own = own_address(AF_INET);
  if (!own.empty()) {
    EXPECT_EQ(show(expect_steered(own, direct.port()).original), own + ":" + std::to_string(direct.port()));
  }
  expect_adds_up();
  EXPECT_EQ(steering_->counters()[0].redirected, static_cast<uint64_t>(accepting_->accepted()));
}

TEST_F(RedirectTest, a_target_given_as_an_own_address_is_reached_through_loopback_too) {
  std::string own = own_address(AF_INET);
  if (own.empty()) GTEST_SKIP() << "skipped: this host has no IPv4 address but loopback";
  go_live({target("db", {endpoint(own, 5432)})});
  expect_steered(own, 5432);
  expect_steered("127.0.0.1", 5432);
  expect_steered("::1", 5432);
}

TEST_F(RedirectTest, a_network_matches_its_addresses_at_its_port_alone) {
  HelloServer other("127.0.0.1", "direct");
  go_live({target("wide", {endpoint("198.51.100.0", 5432, 24)}), target("narrow", {endpoint("198.51.100.9", 5432)})});
  EXPECT_EQ(expect_steered("198.51.100.200", 5432).target, 0u);
  EXPECT_EQ(expect_steered("198.51.100.9", 5432).target, 1u);
  Attempt direct = connect_inside("127.0.0.1", other.port());
  EXPECT_STREQ(direct.reply, "direct");
  EXPECT_EQ(steering_->counters()[0].connects, 1u);
  EXPECT_EQ(steering_->counters()[1].connects, 1u);
}

TEST_F(RedirectTest, ipv6_targets_reach_the_daemon_from_every_kind_of_socket) {
  go_live({target("db", {endpoint("2001:db8::5", 5432)})});
  ConnectOptions options;
  options.to = "2001:db8::5";
  options.port = 5432;
  EXPECT_EQ(show(expect_steered(options).original), "[2001:db8::5]:5432");
  EXPECT_EQ(show(last_.peer), "[2001:db8::5]:5432");
  EXPECT_EQ(show(last_.own).find("ffff"), std::string::npos) << show(last_.own) << " is no IPv6 source";
  options.v6only = true;
  EXPECT_EQ(show(expect_steered(options).original), "[2001:db8::5]:5432");
  EXPECT_EQ(show(last_.peer), "[2001:db8::5]:5432");
  options.v6only = false;
  std::string own = own_address(AF_INET6);
  if (own.empty()) GTEST_SKIP() << "rest skipped: this host has no global IPv6 address";
  options.source = own;
  EXPECT_EQ(show(expect_steered(options).original), "[2001:db8::5]:5432");
  EXPECT_EQ(show(last_.own).substr(0, own.size() + 1), "[" + own);
}

TEST_F(RedirectTest, a_socket_bound_to_an_own_ipv4_address_works_and_shows_it) {
  std::string own = own_address(AF_INET);
  if (own.empty()) GTEST_SKIP() << "skipped: this host has no IPv4 address but loopback";
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  ConnectOptions options;
  options.to = "198.51.100.7";
  options.port = 5432;
  options.source = own;
  expect_steered(options);
  EXPECT_EQ(show(last_.own).substr(0, own.size()), own);
  EXPECT_EQ(show(last_.peer), "198.51.100.7:5432");
  options.source = "127.0.0.1";
  expect_steered(options);
  options.to = "::ffff:198.51.100.7";
  options.source = "::ffff:" + own;
  expect_steered(options);
  EXPECT_EQ(show(last_.own).substr(0, own.size() + 8), "[::ffff:" + own);
}

TEST_F(RedirectTest, zero_on_a_bound_socket_means_its_own_address) {
  std::string own = own_address(AF_INET);
  if (own.empty()) GTEST_SKIP() << "skipped: this host has no IPv4 address but loopback";
  go_live({target("db", {endpoint(own, 5432)})});
  ConnectOptions options;
  options.to = "0.0.0.0";
  options.port = 5432;
  options.source = own;
  EXPECT_EQ(show(expect_steered(options).original), own + ":5432");
}

TEST_F(RedirectTest, a_socket_bound_to_a_device_is_freed_from_it) {
  go_live({target("db", {endpoint("198.51.100.7", 5432), endpoint("2001:db8::5", 5432)})});
  ConnectOptions options;
  options.to = "198.51.100.7";
  options.port = 5432;
  options.device = "eth0";
  if (access("/sys/class/net/eth0", F_OK) != 0) GTEST_SKIP() << "skipped: no eth0 on this host";
  ConnectNote note = expect_steered(options);
  EXPECT_NE(note.bound_device, 0u);
  EXPECT_EQ(last_.bound_device_bytes, 0);
  options.to = "2001:db8::5";
  expect_steered(options);
  options.v6only = true;
  expect_steered(options);
  options.device = "lo";
  expect_steered(options);
}

TEST_F(RedirectTest, a_link_local_destination_keeps_its_scope_or_is_refused) {
  unsigned index = if_nametoindex("eth0");
  if (index == 0) GTEST_SKIP() << "skipped: no eth0 on this host";
  go_live({target("db", {endpoint("fe80::1234:5678", 5432)})});
  ConnectOptions options;
  options.to = "fe80::1234:5678%" + std::to_string(index);
  options.port = 5432;
  ConnectNote note = expect_steered(options);
  EXPECT_EQ(reinterpret_cast<sockaddr_in6&>(note.original).sin6_scope_id, index);
  options.to = "fe80::1234:5678";
  EXPECT_EQ(connect_inside(options).error, ECONNREFUSED);
  EXPECT_EQ(steering_->counters()[0].refused_other, 1u);
  expect_adds_up();
}

TEST_F(RedirectTest, tcp_fast_open_is_caught) {
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  ConnectOptions options;
  options.to = "198.51.100.7";
  options.port = 5432;
  options.fastopen_connect = true;
  expect_steered(options);
  EXPECT_EQ(show(last_.peer), "198.51.100.7:5432");
  // sendto with MSG_FASTOPEN connects without connect().
  Attempt seen = in_child<Attempt>([&] {
    enter_cgroup();
    Attempt out;
    UniqueFd fd(socket(AF_INET, SOCK_STREAM, 0));
    timeval patience = {5, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    sockaddr_storage to = address_of("198.51.100.7", 5432);
    if (sendto(fd.get(), "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&to), size_of(to)) != 1) {
      return fail_at(out, "sendto"), out;
    }
    if (recv(fd.get(), out.reply, sizeof(out.reply) - 1, 0) < 0) fail_at(out, "recv");
    return out;
  });
  EXPECT_STREQ(seen.reply, "sluice") << seen.step << ": " << std::strerror(seen.error);
}

TEST_F(RedirectTest, mptcp_sockets_are_caught_and_show_the_original) {
  constexpr int kMptcp = 262;
  UniqueFd probe(socket(AF_INET, SOCK_STREAM, kMptcp));
  if (!probe.valid()) GTEST_SKIP() << "skipped: this kernel has no MPTCP sockets";
  go_live({target("db", {endpoint("198.51.100.7", 5432), endpoint("2001:db8::5", 5432)})});
  ConnectOptions options;
  options.to = "198.51.100.7";
  options.port = 5432;
  options.protocol = kMptcp;
  EXPECT_EQ(show(expect_steered(options).original), "198.51.100.7:5432");
  EXPECT_EQ(show(last_.peer), "198.51.100.7:5432");
  options.to = "2001:db8::5";
  EXPECT_EQ(show(expect_steered(options).original), "[2001:db8::5]:5432");
  EXPECT_EQ(show(last_.peer), "[2001:db8::5]:5432");
}

TEST_F(RedirectTest, other_protocols_and_destinations_are_left_alone) {
  HelloServer direct("127.0.0.1", "direct");
  go_live({target("db", {endpoint("127.0.0.1", 5432)})});
  Attempt seen = connect_inside("127.0.0.1", direct.port());
  EXPECT_STREQ(seen.reply, "direct");
  Attempt udp = in_child<Attempt>([&] {
    enter_cgroup();
    Attempt out;
    UniqueFd fd(socket(AF_INET, SOCK_DGRAM, 0));
    sockaddr_storage to = address_of("127.0.0.1", 5432);
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&to), size_of(to)) != 0) fail_at(out, "connect");
    socklen_t size = sizeof(out.peer);
    getpeername(fd.get(), reinterpret_cast<sockaddr*>(&out.peer), &size);
    return out;
  });
  EXPECT_EQ(udp.error, 0);
  EXPECT_EQ(show(udp.peer), "127.0.0.1:5432");
  EXPECT_EQ(steering_->counters()[0].connects, 0u);
}

TEST_F(RedirectTest, a_socket_that_connects_again_carries_nothing_over) {
  HelloServer direct("127.0.0.1", "direct");
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  Attempt seen = in_child<Attempt>([&] {
    enter_cgroup();
    UniqueFd fd(socket(AF_INET, SOCK_STREAM, 0));
    ConnectOptions options;
    options.to = "198.51.100.7";
    options.port = 5432;
    Attempt first = attempt_on(fd.get(), options);
    if (first.error != 0 || std::strcmp(first.reply, "sluice") != 0) return first;
    sockaddr nothing = {};
    nothing.sa_family = AF_UNSPEC;
    connect(fd.get(), &nothing, sizeof(nothing));
    options.to = "127.0.0.1";
    options.port = direct.port();
    return attempt_on(fd.get(), options);
  });
  EXPECT_EQ(seen.error, 0) << seen.step;
  EXPECT_STREQ(seen.reply, "direct");
  EXPECT_EQ(show(seen.peer), "127.0.0.1:" + std::to_string(direct.port()));
  EXPECT_EQ(show(seen.own).substr(0, 10), "127.0.0.1:");
}

TEST_F(RedirectTest, an_address_that_the_host_gets_later_becomes_an_alias) {
  struct Seen {
    Attempt before, after;
    char wrong[64];
  };
  Seen seen = in_child<Seen>([&] {  // a host of its own: a new network namespace with a daemon in it
    Seen out = {};
    enter_cgroup();
    if (unshare(CLONE_NEWNET) != 0) return fail_at(out.before, "unshare"), out;
    UniqueFd control(socket(AF_INET, SOCK_DGRAM, 0));
    ifreq lo = {};
    std::strcpy(lo.ifr_name, "lo");
    lo.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(control.get(), SIOCSIFFLAGS, &lo) != 0) return fail_at(out.before, "lo up"), out;
    go_live({target("db", {endpoint("127.0.0.1", 5432)})});
    ConnectOptions options;
    options.to = "192.0.2.55";
    options.port = 5432;
    out.before = attempt(options);
    sockaddr_storage address = address_of("192.0.2.55", 0);
    ifreq added = {};
    std::strcpy(added.ifr_name, "lo:1");
    std::memcpy(&added.ifr_addr, &address, sizeof(added.ifr_addr));
    if (ioctl(control.get(), SIOCSIFADDR, &added) != 0) return fail_at(out.after, "add address"), out;
    std::strncpy(out.wrong, steering_->self_check().c_str(), sizeof(out.wrong) - 1);
    out.after = attempt(options);
    accepting_->halt();
    return out;
  });
  EXPECT_EQ(seen.before.error, ENETUNREACH) << seen.before.step;
  EXPECT_STREQ(seen.wrong, "");
  EXPECT_STREQ(seen.after.reply, "sluice") << seen.after.step << ": " << std::strerror(seen.after.error);
}

TEST_F(RedirectTest, connections_spread_over_many_addresses) {
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  accepting_->halt();
  std::vector<std::string> seen;
  for (int i = 0; i < 16; ++i) {
    steering_->heartbeat();
    std::thread client([&] {
      ConnectOptions options;
      options.to = "198.51.100.7";
      options.port = 5432;
      options.want_reply = false;
      (void)connect_inside(options);
    });
    pollfd wait = {listener_fds_[0], POLLIN, 0};
    ASSERT_EQ(poll(&wait, 1, 5000), 1);
    UniqueFd accepted(accept4(listener_fds_[0], nullptr, nullptr, SOCK_CLOEXEC));
    client.join();
    sockaddr_storage own = {};
    socklen_t size = sizeof(own);
    ASSERT_EQ(getsockname(accepted.get(), reinterpret_cast<sockaddr*>(&own), &size), 0);
    std::string text = show(own);
    EXPECT_EQ(text.substr(0, 7), "127.64.");
    seen.push_back(text);
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_GT(std::unique(seen.begin(), seen.end()) - seen.begin(), 12);
}

TEST_F(RedirectTest, nobody_else_can_listen_where_redirected_connections_go) {
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  sockaddr_storage own = {};
  socklen_t size = sizeof(own);
  ASSERT_EQ(getsockname(listener_fds_[0], reinterpret_cast<sockaddr*>(&own), &size), 0);
  uint16_t port = ntohs(reinterpret_cast<sockaddr_in&>(own).sin_port);
  for (int reuse : {SO_REUSEADDR, SO_REUSEPORT}) {
    UniqueFd thief(socket(AF_INET, SOCK_STREAM, 0));
    int on = 1;
    ASSERT_EQ(setsockopt(thief.get(), SOL_SOCKET, reuse, &on, sizeof(on)), 0);
    sockaddr_storage where = address_of("127.64.1.2", port);
    EXPECT_NE(bind(thief.get(), reinterpret_cast<sockaddr*>(&where), size_of(where)), 0);
    EXPECT_EQ(errno, EADDRINUSE);
  }
}

}  // namespace
}  // namespace sluice::interception::test
