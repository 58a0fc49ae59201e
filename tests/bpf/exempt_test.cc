// The daemon's own upstream sockets connect directly: registered by cookie, and from the daemon's cgroup; both must
// hold.
#include "tests/bpf/harness.h"

namespace sluice::interception::test {
namespace {

// Sends a descriptor over a Unix socket, and takes one.
void send_fd(int channel, int fd) {
  char byte = 'x';
  iovec piece = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  if (sendmsg(channel, &message, 0) != 1) std::abort();
}

UniqueFd receive_fd(int channel) {
  char byte = 0;
  iovec piece = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  if (recvmsg(channel, &message, 0) != 1 || CMSG_FIRSTHDR(&message) == nullptr) return UniqueFd();
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
  return UniqueFd(fd);
}

class ExemptTest : public BpfTest {
 protected:
  ConnectOptions to_target(const HelloServer& server) const {
    ConnectOptions options;
    options.to = "127.0.0.1";
    options.port = server.port();
    return options;
  }
};

TEST_F(ExemptTest, a_registered_socket_of_the_daemon_connects_directly_until_forgotten) {
  HelloServer direct("127.0.0.1", "direct");
  enter_cgroup();  // the daemon itself is covered here, as it is when attached at the root
  go_live({target("db", {endpoint("127.0.0.1", direct.port())})});
  UniqueFd registered(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_TRUE(steering_->exempt(registered.get()));
  EXPECT_STREQ(attempt_on(registered.get(), to_target(direct)).reply, "direct");
  EXPECT_STREQ(attempt(to_target(direct)).reply, "sluice") << "not registered";
  UniqueFd forgotten(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_TRUE(steering_->exempt(forgotten.get()));
  steering_->forget(forgotten.get());
  EXPECT_STREQ(attempt_on(forgotten.get(), to_target(direct)).reply, "sluice");
  EXPECT_EQ(steering_->counters()[0].exempt, 1u);
  EXPECT_EQ(steering_->counters()[0].redirected, 2u);
  expect_adds_up();
}

TEST_F(ExemptTest, a_registered_socket_in_another_cgroup_is_steered) {
  HelloServer direct("127.0.0.1", "direct");
  enter_cgroup();
  go_live({target("db", {endpoint("127.0.0.1", direct.port())})});
  UniqueFd registered(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_TRUE(steering_->exempt(registered.get()));
  std::string below = cgroup_ + "/below";
  ASSERT_EQ(mkdir(below.c_str(), 0755), 0);
  Attempt seen = in_child<Attempt>([&] {
    std::ofstream procs(below + "/cgroup.procs");
    procs << getpid() << std::flush;
    if (!procs) std::abort();
    return attempt_on(registered.get(), to_target(direct));
  });
  EXPECT_STREQ(seen.reply, "sluice");
  wait_until("the lower cgroup can be removed", [&] { return rmdir(below.c_str()) == 0; });
}

TEST_F(ExemptTest, it_works_for_a_daemon_in_the_root_cgroup) {
  HelloServer direct("127.0.0.1", "direct");
  go_live({target("db", {endpoint("127.0.0.1", direct.port())})});  // this process is in the root cgroup
  int channel[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, channel), 0);
  // Hooks run by the cgroup in which a socket was made: a child inside makes them, this process connects.
  int made = in_child<int>([&] {
    enter_cgroup();
    for (int i = 0; i < 2; ++i) send_fd(channel[0], socket(AF_INET, SOCK_STREAM, 0));
    return 2;
  });
  ASSERT_EQ(made, 2);
  UniqueFd registered = receive_fd(channel[1]);
  UniqueFd plain = receive_fd(channel[1]);
  ASSERT_TRUE(steering_->exempt(registered.get()));
  EXPECT_STREQ(attempt_on(registered.get(), to_target(direct)).reply, "direct");
  EXPECT_STREQ(attempt_on(plain.get(), to_target(direct)).reply, "sluice");
  close(channel[0]);
  close(channel[1]);
}

TEST_F(ExemptTest, upstream_sockets_connect_while_the_daemon_is_not_live) {
  HelloServer direct("127.0.0.1", "direct");
  enter_cgroup();
  go_live({target("db", {endpoint("127.0.0.1", direct.port())})});
  steering_->stop();  // draining: sessions may still need the server
  UniqueFd registered(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_TRUE(steering_->exempt(registered.get()));
  EXPECT_STREQ(attempt_on(registered.get(), to_target(direct)).reply, "direct");
}

}  // namespace
}  // namespace sluice::interception::test
