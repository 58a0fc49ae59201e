// Notes: there for steered connections, absent for others, gone with the connection, bounded.
#include <bpf/bpf.h>

#include "bpf/abi.h"
#include "tests/bpf/harness.h"

namespace sluice::interception::test {
namespace {

class NotesTest : public BpfTest {
 protected:
  UniqueFd notes_map() const { return UniqueFd(bpf_obj_get((options_.bpf_directory + "/map_notes").c_str())); }
  int note_count() const {
    UniqueFd map = notes_map();
    EXPECT_TRUE(map.valid());
    sluice_note_key key = {};
    sluice_note_key next = {};
    int count = 0;
    for (void* previous = nullptr; bpf_map_get_next_key(map.get(), previous, &next) == 0; previous = &key) {
      key = next;
      ++count;
    }
    return count;
  }
  uint16_t listener_port() const {
    sockaddr_storage own = {};
    socklen_t size = sizeof(own);
    getsockname(listener_fds_[0], reinterpret_cast<sockaddr*>(&own), &size);
    return ntohs(reinterpret_cast<sockaddr_in&>(own).sin_port);
  }
  // Connects `count` times from one process that keeps them open until it ends; how many were refused.
  int refused_of(int count) const {
    return in_child<int>([&] {
      enter_cgroup();
      int refused = 0;
      for (int i = 0; i < count; ++i) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_storage to = address_of("198.51.100.7", 5432);
        if (connect(fd, reinterpret_cast<sockaddr*>(&to), size_of(to)) != 0)
          refused += errno == ECONNREFUSED ? 1 : 1000;
      }
      return refused;
    });
  }
};

TEST_F(NotesTest, a_note_is_taken_once_and_leaves_the_map) {
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  EXPECT_STREQ(connect_inside("198.51.100.7", 5432).reply, "sluice");
  EXPECT_EQ(note_count(), 0);
}

TEST_F(NotesTest, an_uninvited_connection_has_no_note) {
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  Attempt inside = connect_inside("127.64.1.1", listener_port());
  EXPECT_EQ(inside.error, ECONNRESET) << inside.reply;
  ConnectOptions options;
  options.to = "127.64.1.1";
  options.port = listener_port();
  Attempt outside = attempt(options);  // from a process that no hook covers
  EXPECT_EQ(outside.error, ECONNRESET) << outside.reply;
  EXPECT_EQ(accepting_->uninvited(), 2);
  EXPECT_EQ(accepting_->accepted(), 0);
}

TEST_F(NotesTest, a_note_that_was_left_behind_is_not_inherited) {
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  // As if a connection with the very same addresses had left its note: an uninvited one must not come under its name.
  constexpr uint16_t kClientPort = 39871;
  sluice_note_key key = {};
  key.netns_cookie = *own_netns_cookie();
  key.local[2] = key.remote[2] = htonl(0xffff);
  key.local[3] = htonl(0x7f000001);
  key.remote[3] = htonl(0x7f400101);
  key.local_port = kClientPort;
  key.remote_port = listener_port();
  sluice_note note = {};
  note.uid = 12345;
  ASSERT_EQ(bpf_map_update_elem(notes_map().get(), &key, &note, BPF_ANY), 0);
  Attempt seen = in_child<Attempt>([&] {
    enter_cgroup();
    UniqueFd fd(socket(AF_INET, SOCK_STREAM, 0));
    int on = 1;
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    sockaddr_storage source = address_of("127.0.0.1", kClientPort);
    Attempt out;
    if (bind(fd.get(), reinterpret_cast<sockaddr*>(&source), size_of(source)) != 0) return fail_at(out, "bind"), out;
    ConnectOptions options;
    options.to = "127.64.1.1";
    options.port = listener_port();
    return attempt_on(fd.get(), options);
  });
  EXPECT_EQ(seen.error, ECONNRESET) << seen.step << seen.reply;
  EXPECT_EQ(accepting_->accepted(), 0);
  EXPECT_EQ(note_count(), 0);
}

TEST_F(NotesTest, a_connection_that_ends_before_it_is_accepted_takes_its_note_along) {
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  accepting_->halt();
  steering_->heartbeat();
  int connected = in_child<int>([&] {
    enter_cgroup();
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_storage to = address_of("198.51.100.7", 5432);
    if (connect(fd, reinterpret_cast<sockaddr*>(&to), size_of(to)) != 0) return errno;
    linger reset = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
    return 0;
  });
  EXPECT_EQ(connected, 0);
  EXPECT_EQ(note_count(), 0);
}

TEST_F(NotesTest, a_client_that_sends_and_closes_at_once_is_still_noted) {
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  accepting_->halt();
  steering_->heartbeat();
  pid_t sent = in_child<pid_t>([&] {  // as drivers do that cancel a query without waiting for an answer
    enter_cgroup();
    UniqueFd fd(socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_storage to = address_of("198.51.100.7", 5432);
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&to), size_of(to)) != 0) return -1;
    return send(fd.get(), "cancel", 6, 0) == 6 ? getpid() : -1;
  });
  ASSERT_GT(sent, 0);
  UniqueFd accepted(accept4(listener_fds_[0], nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(accepted.valid());
  auto note = steering_->take_note(accepted.get());
  ASSERT_TRUE(note);
  EXPECT_EQ(note->pid, sent);
  char got[8] = {};
  EXPECT_EQ(recv(accepted.get(), got, sizeof(got), 0), 6);
}

TEST_F(NotesTest, self_check_sweeps_notes_that_nobody_came_for) {
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  sluice_note_key key = {};
  sluice_note note = {};
  note.connect_ktime_ns = 1;
  for (key.local_port = 1; key.local_port <= 3; ++key.local_port) {
    if (key.local_port == 3) note.connect_ktime_ns = static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u;
    ASSERT_EQ(bpf_map_update_elem(notes_map().get(), &key, &note, BPF_ANY), 0);
  }
  if (now.tv_sec < 130) GTEST_SKIP() << "skipped: the machine has not been up long enough to have old notes";
  EXPECT_EQ(steering_->self_check(), "");
  EXPECT_EQ(note_count(), 1) << "the young one stays";
}

TEST_F(NotesTest, a_full_map_refuses_and_counts_and_recovers) {
  options_.notes_max = 8;
  go_live({target("db", {endpoint("198.51.100.7", 5432)})});
  accepting_->halt();
  steering_->heartbeat();
  EXPECT_EQ(refused_of(20), 12);
  EXPECT_EQ(note_count(), 8);
  TargetCounters counters = steering_->counters()[0];
  EXPECT_EQ(counters.redirected, 8u);
  EXPECT_EQ(counters.refused_notes_full, 12u);
  expect_adds_up();
  accepting_ = std::make_unique<AcceptLoop>(*steering_, listener_fds_);
  wait_until("the notes are taken", [&] { return note_count() == 0; });
  EXPECT_STREQ(connect_inside("198.51.100.7", 5432).reply, "sluice");
}

}  // namespace
}  // namespace sluice::interception::test
