// Load, attach and pin as one transaction; take-over without a window; a second daemon; unloading without a trace.
#include <bpf/bpf.h>
#include <linux/bpf.h>

#include "bpf/abi.h"
#include "daemon/interception/capability.h"
#include "daemon/interception/programs.h"
#include "tests/bpf/harness.h"

namespace sluice::interception::test {
namespace {

class LifecycleTest : public BpfTest {
 protected:
  uint32_t attached(bpf_attach_type type) const {
    auto cgroup = open_cgroup(cgroup_);
    EXPECT_TRUE(cgroup);
    uint32_t flags = 0;
    uint32_t ids[8] = {};
    uint32_t count = 8;
    EXPECT_EQ(bpf_prog_query(cgroup->get(), type, 0, &flags, ids, &count), 0) << std::strerror(errno);
    return count;
  }
  uint32_t attached_in_all() const {
    uint32_t sum = 0;
    for (const Hook& hook : kHooks) sum += attached(hook.type);
    return sum;
  }
  bool nothing_pinned() const {
    for (const char* suffix : {"", "-new", "-old", "-lock"}) {
      if (access((options_.bpf_directory + suffix).c_str(), F_OK) == 0) return false;
    }
    return true;
  }
  void end_daemon() {
    accepting_.reset();
    steering_.reset();
  }

  // A client process that connects without a pause between start() and stop(). It is forked before there is a daemon,
  // so that it does not share the daemon's lock and listeners.
  struct Tally {
    int sluice = 0, refused = 0, direct = 0, other = 0;
  };
  class Hammer {
   public:
    Hammer(const LifecycleTest& test, uint16_t port) {
      EXPECT_EQ(pipe(control_), 0);
      EXPECT_EQ(pipe(result_), 0);
      child_ = fork();
      if (child_ != 0) return;
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      test.enter_cgroup();
      char byte = 0;
      if (read(control_[0], &byte, 1) != 1) _exit(1);
      fcntl(control_[0], F_SETFL, O_NONBLOCK);
      Tally tally;
      while (read(control_[0], &byte, 1) != 1) count_one(port, tally);
      _exit(write(result_[1], &tally, sizeof(tally)) == sizeof(tally) ? 0 : 1);
    }
    ~Hammer() {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
      for (int fd : {control_[0], control_[1], result_[0], result_[1]}) close(fd);
    }
    Hammer(const Hammer&) = delete;
    Hammer& operator=(const Hammer&) = delete;
    void start() const { EXPECT_EQ(write(control_[1], "s", 1), 1); }
    [[nodiscard]] Tally stop() const {
      EXPECT_EQ(write(control_[1], "x", 1), 1);
      Tally tally;
      pollfd wait = {result_[0], POLLIN, 0};
      EXPECT_EQ(poll(&wait, 1, 20000), 1) << "the client does not end";
      EXPECT_EQ(wait.revents == 0 ? 0 : read(result_[0], &tally, sizeof(tally)), static_cast<ssize_t>(sizeof(tally)));
      return tally;
    }

   private:
    static void count_one(uint16_t port, Tally& tally) {
      ConnectOptions options;
      options.to = "127.0.0.1";
      options.port = port;
      Attempt one = attempt(options);
      if (std::strcmp(one.reply, "sluice") == 0) {
        ++tally.sluice;
      } else if (std::strcmp(one.reply, "direct") == 0) {
        ++tally.direct;
      } else if (one.error == ECONNREFUSED) {
        ++tally.refused;
      } else {
        ++tally.other;
      }
    }
    int control_[2] = {-1, -1};
    int result_[2] = {-1, -1};
    pid_t child_ = -1;
  };
};

TEST_F(LifecycleTest, unload_leaves_nothing_also_without_a_daemon) {
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  EXPECT_EQ(attached_in_all(), kHooks.size());
  end_daemon();
  EXPECT_EQ(attached_in_all(), kHooks.size()) << "pinned links outlive the daemon";
  auto removed = unload(options_);
  ASSERT_TRUE(removed) << removed.error().message;
  EXPECT_EQ(removed->removed, static_cast<int>(kHooks.size() + kMapCount));
  EXPECT_FALSE(removed->daemon_lives);
  EXPECT_EQ(attached_in_all(), 0u);
  EXPECT_TRUE(nothing_pinned());
  removed = unload(options_);
  ASSERT_TRUE(removed);
  EXPECT_EQ(removed->removed, 0);
}

TEST_F(LifecycleTest, unload_under_a_living_daemon_detaches_and_the_daemon_notices) {
  HelloServer direct("127.0.0.1", "direct");
  go_live({target("db", {endpoint("127.0.0.1", direct.port())})});
  EXPECT_EQ(steering_->self_check(), "");
  const auto unloaded = unload(options_);
  ASSERT_TRUE(unloaded);
  EXPECT_TRUE(unloaded->daemon_lives);
  EXPECT_EQ(attached_in_all(), 0u);
  EXPECT_STREQ(connect_inside("127.0.0.1", direct.port()).reply, "direct");
  EXPECT_NE(steering_->self_check(), "");
  end_daemon();
  EXPECT_TRUE(nothing_pinned());
}

TEST_F(LifecycleTest, self_check_names_what_was_tampered_with) {
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  EXPECT_EQ(steering_->self_check(), "");
  ASSERT_EQ(unlink((options_.bpf_directory + "/map_notes").c_str()), 0);
  EXPECT_NE(steering_->self_check().find("notes"), std::string::npos);
  UniqueFd link(bpf_obj_get((options_.bpf_directory + "/link_connect6").c_str()));
  ASSERT_EQ(bpf_link_detach(link.get()), 0);
  EXPECT_NE(steering_->self_check().find("connect6: detached"), std::string::npos) << steering_->self_check();
}

TEST_F(LifecycleTest, self_check_notices_another_program_in_a_link) {
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  bpf_insn let_through[2] = {};
  let_through[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  let_through[0].imm = 1;
  let_through[1].code = BPF_JMP | BPF_EXIT;
  LIBBPF_OPTS(bpf_prog_load_opts, load, .expected_attach_type = BPF_CGROUP_INET4_CONNECT);
  UniqueFd other(bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "other", "GPL", let_through, 2, &load));
  ASSERT_TRUE(other.valid());
  UniqueFd link(bpf_obj_get((options_.bpf_directory + "/link_connect4").c_str()));
  ASSERT_EQ(bpf_link_update(link.get(), other.get(), nullptr), 0);
  EXPECT_NE(steering_->self_check().find("connect4: another program"), std::string::npos);
}

TEST_F(LifecycleTest, a_second_daemon_is_refused_by_name) {
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  auto second = Steering::start(options_);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find("another Sluice daemon (process " + std::to_string(getpid()) + ")"),
            std::string::npos)
      << second.error().message;
  EXPECT_STREQ(connect_inside("198.51.100.7", 5432).reply, "sluice") << "the first one is not disturbed";
  EXPECT_EQ(steering_->self_check(), "");
}

TEST_F(LifecycleTest, a_failed_attach_leaves_nothing) {
  // A program attached without "multi" makes the kernel refuse links at this hook: the sixth of our seven fails.
  bpf_insn let_through[2] = {};
  let_through[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  let_through[0].imm = 1;
  let_through[1].code = BPF_JMP | BPF_EXIT;
  LIBBPF_OPTS(bpf_prog_load_opts, load, .expected_attach_type = BPF_CGROUP_INET6_GETSOCKNAME);
  UniqueFd other(bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "other", "GPL", let_through, 2, &load));
  ASSERT_TRUE(other.valid());
  auto cgroup = open_cgroup(cgroup_);
  ASSERT_TRUE(cgroup);
  ASSERT_EQ(bpf_prog_attach(other.get(), cgroup->get(), BPF_CGROUP_INET6_GETSOCKNAME, 0), 0);
  auto started = Steering::start(options_);
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message.find("getsockname6"), std::string::npos) << started.error().message;
  EXPECT_EQ(attached_in_all(), 1u) << "only the other one";
  EXPECT_TRUE(nothing_pinned());
  ASSERT_EQ(bpf_prog_detach2(other.get(), cgroup->get(), BPF_CGROUP_INET6_GETSOCKNAME), 0);
  EXPECT_TRUE(Steering::start(options_));
}

TEST_F(LifecycleTest, a_cgroup_that_is_none_is_refused_and_leaves_nothing) {
  options_.cgroup_path = "/tmp";
  auto started = Steering::start(options_);
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message.find("not a cgroup v2 directory"), std::string::npos) << started.error().message;
  EXPECT_TRUE(nothing_pinned());
  options_.bpf_directory = "/tmp/sluice-nowhere";
  started = Steering::start(options_);
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message.find("BPF file system"), std::string::npos) << started.error().message;
}

TEST_F(LifecycleTest, a_restart_takes_over_without_a_window) {
  HelloServer direct("127.0.0.1", "direct");
  Hammer hammer(*this, direct.port());
  std::vector<SteeredTarget> targets = {target("db", {endpoint("127.0.0.1", direct.port())})};
  ASSERT_NO_FATAL_FAILURE(go_live(targets));
  uint64_t generation = steering_->target_generation();
  hammer.start();
  for (int i = 0; i < 5; ++i) {
    wait_until("connects arrive", [&] { return accepting_->accepted() > 10; });
    end_daemon();
    ASSERT_NO_FATAL_FAILURE(go_live(targets));
  }
  wait_until("connects arrive", [&] { return accepting_->accepted() > 10; });
  Tally tally = hammer.stop();
  EXPECT_EQ(tally.direct, 0) << "no connect may slip by";
  EXPECT_GT(tally.sluice, 50);
  EXPECT_EQ(steering_->target_generation(), generation + 5);
  TargetCounters counters = steering_->counters()[0];
  EXPECT_EQ(counters.connects, static_cast<uint64_t>(tally.sluice + tally.refused + tally.other))
      << "counted across restarts";
  expect_adds_up();
  EXPECT_EQ(steering_->self_check(), "");
}

TEST_F(LifecycleTest, programs_of_another_layout_are_replaced_without_a_window) {
  HelloServer direct("127.0.0.1", "direct");
  Hammer hammer(*this, direct.port());
  std::vector<SteeredTarget> targets = {target("db", {endpoint("127.0.0.1", direct.port())})};
  ASSERT_NO_FATAL_FAILURE(go_live(targets));
  hammer.start();
  for (uint32_t notes_max : {64u, 128u, 256u}) {
    wait_until("connects arrive", [&] { return accepting_->accepted() > 10; });
    end_daemon();
    options_.notes_max = notes_max;  // another size of a map is another layout
    ASSERT_NO_FATAL_FAILURE(go_live(targets));
  }
  wait_until("connects arrive", [&] { return accepting_->accepted() > 10; });
  Tally tally = hammer.stop();
  EXPECT_EQ(tally.direct, 0) << "no connect may slip by";
  EXPECT_GT(tally.sluice, 20);
  EXPECT_EQ(steering_->self_check(), "");
  EXPECT_EQ(attached_in_all(), kHooks.size());
  EXPECT_NE(access((options_.bpf_directory + "-new").c_str(), F_OK), 0);
  EXPECT_NE(access((options_.bpf_directory + "-old").c_str(), F_OK), 0);
}

TEST_F(LifecycleTest, what_a_dead_daemon_left_half_done_is_cleaned_up) {
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  end_daemon();
  ASSERT_EQ(mkdir((options_.bpf_directory + "-new").c_str(), 0700), 0);
  UniqueFd map(bpf_map_create(BPF_MAP_TYPE_ARRAY, "leftover", 4, 4, 1, nullptr));
  ASSERT_EQ(bpf_obj_pin(map.get(), (options_.bpf_directory + "-new/map_x").c_str()), 0);
  ASSERT_EQ(rename(options_.bpf_directory.c_str(), (options_.bpf_directory + "-old").c_str()), 0);
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  EXPECT_EQ(attached_in_all(), kHooks.size()) << "the old pins were taken over, not doubled";
  EXPECT_STREQ(connect_inside("198.51.100.7", 5432).reply, "sluice");
}

TEST_F(LifecycleTest, a_guard_enforces_without_a_daemon_and_is_taken_over) {
  HelloServer direct("127.0.0.1", "direct");
  std::vector<SteeredTarget> targets = {target("db", {endpoint("127.0.0.1", direct.port())})};
  Status guarded = attach_guard(options_, targets);
  ASSERT_TRUE(guarded) << guarded.error().message;
  EXPECT_EQ(connect_inside("127.0.0.1", direct.port()).error, ECONNREFUSED);
  go_live(targets);
  EXPECT_STREQ(connect_inside("127.0.0.1", direct.port()).reply, "sluice");
  EXPECT_EQ(steering_->counters()[0].refused_down, 1u);
  EXPECT_TRUE(attach_guard(options_, targets)) << "with a daemon there is nothing to guard";
  EXPECT_STREQ(connect_inside("127.0.0.1", direct.port()).reply, "sluice");
}

TEST_F(LifecycleTest, without_a_cgroup_it_attaches_at_the_root) {
  options_.cgroup_path.clear();
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});  // an address for documentation: nobody else is disturbed
  EXPECT_EQ(attached_in_all(), 0u) << "the private cgroup itself has none";
  ConnectOptions options;
  options.to = "198.51.100.7";
  options.port = 5432;
  EXPECT_STREQ(attempt(options).reply, "sluice") << "from the root cgroup";
  EXPECT_STREQ(connect_inside(options).reply, "sluice") << "and from one below";
  EXPECT_EQ(steering_->self_check(), "");
}

TEST_F(LifecycleTest, wrong_targets_change_nothing) {
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  uint64_t generation = steering_->target_generation();
  Status set = steering_->set_targets(std::vector<SteeredTarget>{target("a", {endpoint("198.51.100.8", 1)}),
                                                                 target("b", {endpoint("198.51.100.8", 1)})});
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().message, "set targets: targets a and b both have 198.51.100.8:1");
  EXPECT_EQ(steering_->target_generation(), generation);
  EXPECT_STREQ(connect_inside("198.51.100.7", 5432).reply, "sluice");
}

TEST_F(LifecycleTest, this_kernel_has_every_capability_and_trying_leaves_nothing) {
  std::vector<Capability> rows = probe_capabilities(options_);
  EXPECT_GT(rows.size(), 50u);
  for (const Capability& row : rows) {
    // What a kernel of this one's age cannot lack.
    EXPECT_TRUE(row.need != Need::required || row.finding == Finding::found) << row.name << ": " << row.detail;
    EXPECT_FALSE(row.detail.empty()) << row.name;
    EXPECT_FALSE(row.meaning.empty()) << row.name;
  }
  EXPECT_NE(access(("/sys/fs/bpf/sluice-trial-" + std::to_string(getpid())).c_str(), F_OK), 0);
  EXPECT_NE(access((cgroup_ + "/sluice-trial-" + std::to_string(getpid())).c_str(), F_OK), 0);
}

}  // namespace
}  // namespace sluice::interception::test
