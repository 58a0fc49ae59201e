// What connects get while the daemon is not there: killed, hung, stopped, or without a listener in their namespace.
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "tests/bpf/harness.h"

namespace sluice::interception::test {
namespace {

class WhenDownTest : public BpfTest {
 protected:
  // A daemon process of its own, ready when this returns.
  pid_t start_daemon(const std::vector<SteeredTarget>& targets) {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    pid_t daemon = fork();
    if (daemon == 0) {
      go_live(targets);
      char ok = HasFatalFailure() ? 'n' : 'y';
      (void)!write(ready[1], &ok, 1);
      for (;;) pause();
    }
    close(ready[1]);
    char ok = 'n';
    EXPECT_EQ(read(ready[0], &ok, 1), 1);
    EXPECT_EQ(ok, 'y');
    close(ready[0]);
    return daemon;
  }
  static void kill_now(pid_t daemon) {
    kill(daemon, SIGKILL);
    waitpid(daemon, nullptr, 0);
  }
};

TEST_F(WhenDownTest, a_killed_daemon_refuses_the_very_next_connect) {
  HelloServer direct("127.0.0.1", "direct");
  pid_t daemon = start_daemon({target("db", {endpoint("127.0.0.1", direct.port())})});
  EXPECT_STREQ(connect_inside("127.0.0.1", direct.port()).reply, "sluice");
  kill_now(daemon);
  Attempt next = connect_inside("127.0.0.1", direct.port());
  EXPECT_EQ(next.error, ECONNREFUSED) << next.reply;
  EXPECT_EQ(connect_inside("::1", direct.port()).error, ECONNREFUSED);
  EXPECT_EQ(connect_inside("::ffff:127.0.0.1", direct.port()).error, ECONNREFUSED);
}

TEST_F(WhenDownTest, a_killed_daemon_lets_through_where_allowed_and_counts_it) {
  HelloServer direct("127.0.0.1", "direct");
  std::vector<SteeredTarget> targets = {target("db", {endpoint("127.0.0.1", direct.port())}, WhenDown::allow)};
  pid_t daemon = start_daemon(targets);
  EXPECT_STREQ(connect_inside("127.0.0.1", direct.port()).reply, "sluice");
  kill_now(daemon);
  Attempt next = connect_inside("127.0.0.1", direct.port());
  EXPECT_STREQ(next.reply, "direct") << std::strerror(next.error);
  EXPECT_EQ(show(next.peer), "127.0.0.1:" + std::to_string(direct.port()));
  go_live(targets);
  ASSERT_EQ(steering_->counters().size(), 1u);
  EXPECT_EQ(steering_->counters()[0].uncovered, 1u) << "counters go on across a restart";
  EXPECT_EQ(steering_->counters()[0].redirected, 1u);
  EXPECT_STREQ(connect_inside("127.0.0.1", direct.port()).reply, "sluice");
  expect_adds_up();
}

TEST_F(WhenDownTest, a_hung_daemon_is_down_after_two_seconds_and_back_with_its_heartbeat) {
  go_live({target("deny", {endpoint("198.51.100.7", 5432)})});
  accepting_->halt();
  steering_->heartbeat();
  wait_until("the heartbeat is stale", [&] {
    ConnectOptions options;
    options.to = "198.51.100.7";
    options.port = 5432;
    options.want_reply = false;
    return connect_inside(options).error == ECONNREFUSED;
  });
  EXPECT_GE(steering_->counters()[0].refused_hung, 1u);
  accepting_ = std::make_unique<AcceptLoop>(*steering_, listener_fds_);
  wait_until("connects are steered again",
             [&] { return std::strcmp(connect_inside("198.51.100.7", 5432).reply, "sluice") == 0; });
  expect_adds_up();
}

TEST_F(WhenDownTest, a_stopped_daemon_refuses_at_once) {
  go_live({target("deny", {endpoint("198.51.100.7", 5432)})});
  EXPECT_STREQ(connect_inside("198.51.100.7", 5432).reply, "sluice");
  steering_->stop();
  EXPECT_EQ(connect_inside("198.51.100.7", 5432).error, ECONNREFUSED);
  EXPECT_EQ(steering_->counters()[0].refused_down, 1u);
  ASSERT_TRUE(steering_->go_live());
  EXPECT_STREQ(connect_inside("198.51.100.7", 5432).reply, "sluice");
}

TEST_F(WhenDownTest, before_go_live_when_down_decides) {
  HelloServer direct("127.0.0.1", "direct");
  auto started = Steering::start(options_);
  ASSERT_TRUE(started) << started.error().message;
  steering_ = std::move(*started);
  EXPECT_STREQ(connect_inside("127.0.0.1", direct.port()).reply, "direct") << "no targets yet";
  ASSERT_TRUE(
      steering_->set_targets(std::vector<SteeredTarget>{target("deny", {endpoint("127.0.0.1", direct.port())})}));
  EXPECT_EQ(connect_inside("127.0.0.1", direct.port()).error, ECONNREFUSED);
}

TEST_F(WhenDownTest, another_network_namespace_follows_when_down) {
  go_live({target("deny", {endpoint("127.0.0.1", 7001)}),
           target("allow", {endpoint("127.0.0.1", 7002)}, WhenDown::allow),
           target("far", {endpoint("198.51.100.7", 5432)})});
  struct Seen {
    Attempt denied, allowed, alias, far;
  };
  Seen seen = in_child<Seen>([&] {
    Seen out;
    enter_cgroup();
    if (unshare(CLONE_NEWNET) != 0) return fail_at(out.denied, "unshare"), out;
    UniqueFd control(socket(AF_INET, SOCK_DGRAM, 0));
    ifreq lo = {};
    std::strcpy(lo.ifr_name, "lo");
    lo.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(control.get(), SIOCSIFFLAGS, &lo) != 0) return fail_at(out.denied, "lo up"), out;
    HelloServer one("0.0.0.0", "own", 7001);
    HelloServer two("0.0.0.0", "own", 7002);
    ConnectOptions options;
    options.to = "127.0.0.1";
    options.port = 7001;
    out.denied = attempt(options);
    options.port = 7002;
    out.allowed = attempt(options);
    options.to = "127.9.9.9";
    options.port = 7001;
    out.alias = attempt(options);
    options.to = "198.51.100.7";
    options.port = 5432;
    out.far = attempt(options);
    return out;
  });
  EXPECT_EQ(seen.denied.error, ECONNREFUSED) << seen.denied.step;
  EXPECT_STREQ(seen.allowed.reply, "own");
  EXPECT_STREQ(seen.alias.reply, "own") << "an alias of this host means another host there";
  EXPECT_EQ(seen.far.error, ECONNREFUSED);
  auto counters = steering_->counters();
  EXPECT_EQ(counters[0].refused_namespace, 1u);
  EXPECT_EQ(counters[0].connects, 1u);
  EXPECT_EQ(counters[1].uncovered, 1u);
  EXPECT_EQ(counters[2].refused_namespace, 1u);
  expect_adds_up();
}

}  // namespace
}  // namespace sluice::interception::test
