// The short-circuit on real sockets, inside of a private cgroup. This process plays both ends: one stands for a socket
// of the daemon, the other for a foreign one.
#include "daemon/interception/accelerate.h"

#include <bpf/bpf.h>
#include <grp.h>
#include <linux/capability.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <chrono>
#include <cstdio>
#include <tuple>

#include "daemon/interception/accelerate_pair.h"
#include "daemon/interception/programs.h"
#include "daemon/io/tcp_transport.h"
#include "harness.h"

namespace sluice::interception::test {
namespace {

constexpr uint8_t kIntoDaemon = SLUICE_INTO_DAEMON;
constexpr uint8_t kBothWays = SLUICE_INTO_DAEMON | SLUICE_INTO_FOREIGN;
constexpr uint64_t kFloodBytesMax = 64u << 20;

class AccelerateTest : public BpfTest {
 protected:
  void SetUp() override {
    BpfTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    enter_cgroup();
    auto cgroup = open_cgroup(cgroup_);
    ASSERT_TRUE(cgroup) << cgroup.error().message;
    auto programs = Programs::load(options_.bpf_directory, std::move(*cgroup), 1024);
    ASSERT_TRUE(programs) << programs.error().message;
    programs_ = std::move(*programs);
    auto accelerator = Accelerator::load(*programs_);
    ASSERT_TRUE(accelerator) << accelerator.error().message;
    accelerator_ = std::move(*accelerator);
  }
  void TearDown() override {
    accelerator_.reset();
    programs_.reset();
    BpfTest::TearDown();
  }
  TrialPair pair_of(uint8_t into) {
    auto pair = make_trial_pair(*accelerator_, into);
    EXPECT_TRUE(pair) << pair.error().message;
    return pair ? std::move(*pair) : TrialPair{};
  }
  sluice_end end_of(int fd) const {
    const auto end = accelerator_->own_end(fd);
    EXPECT_TRUE(end.has_value()) << "the socket did not join";
    return end.value_or(sluice_end{});
  }
  // Hides the other end from a writer, as if it had not joined yet.
  void hide_peer(int writer) const {
    sluice_end end = end_of(writer);
    end.peer = 0;
    ASSERT_TRUE(accelerator_->put_own_end(writer, end));
  }
  void show_peer(int writer, const sluice_end& as) const {
    sluice_end end = end_of(writer);
    end.peer = as.peer;
    end.peer_key = as.peer_key;
    ASSERT_TRUE(accelerator_->put_own_end(writer, end));
  }
  // As the service makes it of Steering.
  class Watch final : public io::LagWatch {
   public:
    explicit Watch(const Accelerator& accelerator) : accelerator_(accelerator) {}
    bool reader_lags(int fd, uint64_t& seen) const override { return accelerator_.reader_lags(fd, seen); }

   private:
    const Accelerator& accelerator_;
  };
  std::unique_ptr<Programs> programs_;
  std::unique_ptr<Accelerator> accelerator_;
};

// Runs `body` in a child process while this one does `meanwhile`.
template <typename T>
T in_child_while(const std::function<T()>& body, const std::function<void()>& meanwhile) {
  int ends[2] = {-1, -1};
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd from(ends[0]);
  UniqueFd into(ends[1]);
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const T result = body();
    _exit(write(into.get(), &result, sizeof(result)) == static_cast<ssize_t>(sizeof(result)) ? 0 : 1);
  }
  into.reset();
  meanwhile();
  T result = {};
  EXPECT_EQ(read(from.get(), &result, sizeof(result)), static_cast<ssize_t>(sizeof(result))) << "the child died";
  waitpid(child, nullptr, 0);
  return result;
}

const char* text_of(int way) {
  return way == SLUICE_REDIRECTED ? "redirected" : way == SLUICE_BY_TCP ? "by TCP" : "undecided";
}

// --- the self-test ---

TEST_F(AccelerateTest, TheSelfTestFindsNothingFatalHereAndSaysWhatItSaw) {
  const AccelerationReport report = try_acceleration(accelerator_.get(), "");
  for (const AccelerationCheck& check : report.checks) {
    std::printf("%-7s %-15s %s\n", check.passed ? "passed" : "failed", check.name.c_str(), check.detail.c_str());
    EXPECT_FALSE(check.detail.empty()) << check.name;
    EXPECT_EQ(check.meaning.empty(), check.passed) << check.name;
    EXPECT_TRUE(check.passed || check.weight != CheckWeight::fatal) << check.name << ": " << check.detail;
  }
  EXPECT_GT(report.checks.size(), 8u);
  EXPECT_EQ(report.for_on, Acceleration::both_ways);
  EXPECT_GT(report.into_daemon_percent, 0u);
  EXPECT_GT(report.both_ways_percent, 0u);
  std::printf("auto: %s: %s; %u %% into the daemon, %u %% both ways\n", std::string(to_string(report.for_auto)).c_str(),
              report.why_auto.c_str(), report.into_daemon_percent, report.both_ways_percent);
}

TEST_F(AccelerateTest, TheSelfTestLeavesNothingInTheMaps) {
  (void)try_acceleration(accelerator_.get(), "");
  uint8_t any[sizeof(sluice_exempt_key)] = {};
  EXPECT_NE(bpf_map_get_next_key(programs_->map(MapId::exempt), nullptr, any), 0);
}

TEST_F(AccelerateTest, OutsideOfTheCgroupTheSelfTestFailsAndNothingIsTaken) {
  leave_cgroup();
  const AccelerationReport report = try_acceleration(accelerator_.get(), "");
  EXPECT_EQ(report.for_on, Acceleration::none);
  EXPECT_EQ(report.for_auto, Acceleration::none);
  EXPECT_EQ(report.why_on, "the self-test failed: joining");
}

TEST_F(AccelerateTest, WhatCannotBeLoadedIsNotTaken) {
  const AccelerationReport report = try_acceleration(nullptr, "accelerate: load: no such thing");
  ASSERT_EQ(report.checks.size(), 1u);
  EXPECT_EQ(report.checks[0].detail, "accelerate: load: no such thing");
  EXPECT_EQ(report.for_on, Acceleration::none);
}

// --- who joins ---

TEST_F(AccelerateTest, OnlyTheDirectionsThatAreAskedForAreRedirected) {
  for (const uint8_t into : {kIntoDaemon, kBothWays}) {
    TrialPair pair = pair_of(into);
    ASSERT_TRUE(put(pair.foreign.get(), "question"));
    EXPECT_EQ(take(pair.daemon.get(), 8), "question");
    ASSERT_TRUE(put(pair.daemon.get(), "answer"));
    EXPECT_EQ(take(pair.foreign.get(), 6), "answer");
    EXPECT_STREQ(text_of(end_of(pair.foreign.get()).way), "redirected");
    EXPECT_STREQ(text_of(end_of(pair.daemon.get()).way), into == kBothWays ? "redirected" : "by TCP");
    EXPECT_TRUE(accelerator_->short_circuited(pair.daemon.get()));
  }
}

TEST_F(AccelerateTest, AnOrdinaryConnectionDoesNotJoin) {
  TrialPair pair = pair_of(0);
  ASSERT_TRUE(put(pair.daemon.get(), "x"));
  EXPECT_EQ(take(pair.foreign.get(), 1), "x");
  EXPECT_FALSE(accelerator_->own_end(pair.daemon.get()));
  EXPECT_FALSE(accelerator_->own_end(pair.foreign.get()));
  EXPECT_EQ(accelerator_->totals().ends, 0u);
}

TEST_F(AccelerateTest, AnEndIsForgottenWhenItsSocketCloses) {
  sluice_short_circuits before = accelerator_->totals();
  TrialPair pair = pair_of(kBothWays);
  EXPECT_EQ(accelerator_->totals().ends, before.ends + 2);
  pair.foreign.reset();
  EXPECT_TRUE(at_end(pair.daemon.get()));
  ASSERT_EQ(shutdown(pair.daemon.get(), SHUT_WR), 0);
  wait_until("the end is forgotten", [&] { return !accelerator_->other_end(pair.daemon.get()); });
}

TEST_F(AccelerateTest, AnotherOwnersSocketsGoByTcp) {
  auto second = Accelerator::load(*programs_);  // attached after the first, so that it comes second on every socket
  ASSERT_TRUE(second) << second.error().message;
  auto pair = make_trial_pair(**second, kBothWays);
  ASSERT_TRUE(pair) << pair.error().message;
  EXPECT_EQ(stream_through({**second, pair->daemon.get()}, pair->foreign.get(), 1 << 20, 3), "");
  EXPECT_EQ(stream_through({**second, pair->foreign.get()}, pair->daemon.get(), 1 << 20, 5), "");
  const auto end = (*second)->own_end(pair->daemon.get());
  ASSERT_TRUE(end);
  EXPECT_STREQ(text_of(end->way), "by TCP");
  EXPECT_EQ(end->reason, SLUICE_TCP_BUSY);
  EXPECT_EQ((*second)->totals().messages, 0u);
}

TEST_F(AccelerateTest, MultipathSocketsDoNotJoin) {
  constexpr int kMptcp = 262;  // IPPROTO_MPTCP
  UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, kMptcp));
  if (!listener.valid()) GTEST_SKIP() << "skipped: no MPTCP on this kernel: " << std::strerror(errno);
  sockaddr_storage where = address_of("127.0.0.1", 0);
  socklen_t size = size_of(where);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&where), size), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&where), &size), 0);
  UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, kMptcp));
  ASSERT_TRUE(accelerator_->exempt_trial(client.get(), kBothWays));
  ASSERT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&where), size_of(where)), 0);
  UniqueFd accepted(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  accelerator_->forget_trial(client.get());
  ASSERT_TRUE(put(client.get(), "over mptcp"));
  EXPECT_EQ(take(accepted.get(), 10), "over mptcp");
  EXPECT_EQ(accelerator_->totals().ends, 0u);
  EXPECT_EQ(accelerator_->totals().messages, 0u);
}

TEST_F(AccelerateTest, EncryptionInTheKernelEndsIt) {
  for (const bool by_daemon : {true, false}) {
    TrialPair pair = pair_of(kBothWays);
    const int writer = by_daemon ? pair.daemon.get() : pair.foreign.get();
    const int reader = by_daemon ? pair.foreign.get() : pair.daemon.get();
    ASSERT_TRUE(put(writer, "a"));
    EXPECT_EQ(take(reader, 1), "a");
    EXPECT_STREQ(text_of(end_of(writer).way), "redirected");
    if (setsockopt(writer, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) != 0)
      GTEST_SKIP() << "skipped: no kernel TLS here: " << std::strerror(errno);
    ASSERT_TRUE(put(writer, "b"));  // no keys are set yet: plain bytes, but no longer ours to hand over
    EXPECT_EQ(take(reader, 1), "b");
    EXPECT_STREQ(text_of(end_of(writer).way), "by TCP");
    EXPECT_EQ(end_of(writer).reason, SLUICE_TCP_ENCRYPTED);
  }
}

// --- order ---

TEST_F(AccelerateTest, BytesFromBeforeJoiningAreNotOvertakenIntoTheDaemon) {
  for (int unread = 0; unread < 6; ++unread) {
    TrialPair pair = pair_of(kIntoDaemon);
    const int writer = pair.foreign.get();
    const int reader = pair.daemon.get();
    const sluice_end known = end_of(writer);
    hide_peer(writer);
    std::string sent;
    for (int i = 0; i < unread; ++i) {
      sent += std::to_string(i);
      ASSERT_TRUE(put(writer, std::to_string(i)));
    }
    show_peer(writer, known);
    sent += "x";
    ASSERT_TRUE(put(writer, "x"));
    EXPECT_STREQ(text_of(end_of(writer).way), unread == 0 ? "redirected" : "undecided");
    EXPECT_EQ(take(reader, sent.size()), sent);
    ASSERT_TRUE(put(writer, "yz"));  // everything is taken: now it may begin
    EXPECT_EQ(take(reader, 2), "yz");
    EXPECT_STREQ(text_of(end_of(writer).way), "redirected");
  }
}

TEST_F(AccelerateTest, BytesFromBeforeJoiningForbidItIntoOthers) {
  TrialPair pair = pair_of(kBothWays);
  const int writer = pair.daemon.get();
  const sluice_end known = end_of(writer);
  hide_peer(writer);
  ASSERT_TRUE(put(writer, "a"));
  EXPECT_EQ(take(pair.foreign.get(), 1), "a");
  show_peer(writer, known);
  ASSERT_TRUE(put(writer, "b"));
  EXPECT_EQ(take(pair.foreign.get(), 1), "b");
  EXPECT_STREQ(text_of(end_of(writer).way), "by TCP");
  EXPECT_EQ(end_of(writer).reason, SLUICE_TCP_NO_PEER);
}

TEST_F(AccelerateTest, APeerThatIsNotWhoItWasIsNotBelieved) {
  TrialPair pair = pair_of(kBothWays);
  const int writer = pair.daemon.get();
  sluice_end wrong = end_of(writer);
  wrong.peer_key.socket_cookie += 1;
  ASSERT_TRUE(accelerator_->put_own_end(writer, wrong));
  ASSERT_TRUE(put(writer, "a"));
  EXPECT_EQ(take(pair.foreign.get(), 1), "a");
  EXPECT_STREQ(text_of(end_of(writer).way), "by TCP");
}

// --- integrity ---

class Streams : public AccelerateTest, public ::testing::WithParamInterface<std::tuple<int, bool, bool>> {};

// Writer and reader on threads of their own, so that bytes arrive while the other side is anywhere.
TEST_P(Streams, ArriveAsTheyWereSent) {
  const auto [into, from_daemon, slow_reader] = GetParam();
  TrialPair pair = pair_of(static_cast<uint8_t>(into));
  const int writer = from_daemon ? pair.daemon.get() : pair.foreign.get();
  const int reader = from_daemon ? pair.foreign.get() : pair.daemon.get();
  constexpr uint64_t kBytes = 24u << 20;
  std::string failure;
  TrialWriter daemon_writes(*accelerator_, writer);
  const bool from_daemon_now = from_daemon;  // structured bindings are not captured
  std::thread sender([&, seed = uint32_t{12'345}]() mutable {
    std::string chunk;
    for (uint64_t sent = 0; sent < kBytes;) {
      seed = seed * 1'664'525 + 1'013'904'223;
      const size_t size = std::min<uint64_t>(1 + (seed >> 8) % 60'000, kBytes - sent);
      chunk.resize(size);
      for (size_t i = 0; i < size; ++i) chunk[i] = pattern_at(sent + i);
      size_t done = 0;
      while (done < size) {
        const ssize_t now = from_daemon_now ? daemon_writes.write(chunk.data() + done, size - done)
                                            : send(writer, chunk.data() + done, size - done, MSG_NOSIGNAL);
        if (now > 0) {
          done += static_cast<size_t>(now);
        } else if (errno != EAGAIN) {
          failure = std::strerror(errno);
          return;
        } else {
          (void)wait_for(writer, POLLOUT, 1);
          std::this_thread::yield();  // where the reader lags there is room all the same
        }
      }
      sent += size;
    }
    shutdown(writer, SHUT_WR);
  });
  std::vector<char> in(32'768);
  uint64_t got = 0;
  uint32_t seed = 99;
  bool right = true;
  bool ended = false;
  while (right && !ended && wait_for(reader, POLLIN, 10'000)) {
    seed = seed * 1'664'525 + 1'013'904'223;
    const ssize_t now = recv(reader, in.data(), 1 + (seed >> 8) % in.size(), 0);
    if (now == 0) ended = true;
    for (ssize_t i = 0; i < now; ++i)
      right = right && in[static_cast<size_t>(i)] == pattern_at(got + static_cast<uint64_t>(i));
    if (now > 0) got += static_cast<uint64_t>(now);
    if (slow_reader && (seed >> 8) % 64 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  sender.join();
  EXPECT_EQ(failure, "");
  EXPECT_TRUE(right) << "a byte before " << got << " is not the one that was sent";
  EXPECT_TRUE(ended);
  EXPECT_EQ(got, kBytes);
}
std::string name_of(const ::testing::TestParamInfo<std::tuple<int, bool, bool>>& stream) {
  const int into = std::get<0>(stream.param);
  return std::string(into == 0           ? "Plain"
                     : into == kBothWays ? "BothWays"
                                         : "IntoDaemon") +
         (std::get<1>(stream.param) ? "FromDaemon" : "FromForeign") + (std::get<2>(stream.param) ? "Slow" : "");
}
INSTANTIATE_TEST_SUITE_P(Accelerate, Streams,
                         ::testing::Combine(::testing::Values(0, int{kIntoDaemon}, int{kBothWays}), ::testing::Bool(),
                                            ::testing::Bool()),
                         name_of);

TEST_F(AccelerateTest, HalfCloseKeepsTheOtherDirectionOpen) {
  TrialPair pair = pair_of(kBothWays);
  ASSERT_TRUE(put(pair.foreign.get(), "last question"));
  ASSERT_EQ(shutdown(pair.foreign.get(), SHUT_WR), 0);
  EXPECT_EQ(take(pair.daemon.get(), 13), "last question");
  EXPECT_TRUE(at_end(pair.daemon.get()));
  EXPECT_EQ(stream_through({*accelerator_, pair.daemon.get()}, pair.foreign.get(), 1 << 20, 3), "");
  ASSERT_EQ(shutdown(pair.daemon.get(), SHUT_WR), 0);
  EXPECT_TRUE(at_end(pair.foreign.get()));
}

// --- back-pressure ---

TEST_F(AccelerateTest, AnIdleForeignReaderStopsTheDaemonAtHalfItsReceiveBuffer) {
  TrialPair pair = pair_of(kBothWays);
  int buffer = 0;
  socklen_t size = sizeof(buffer);
  ASSERT_EQ(getsockopt(pair.foreign.get(), SOL_SOCKET, SO_RCVBUF, &buffer, &size), 0);
  TrialWriter writer(*accelerator_, pair.daemon.get());
  const Flood flooded = flood(writer, 1'000, kFloodBytesMax);
  EXPECT_TRUE(flooded.stopped);
  EXPECT_LE(flooded.written, static_cast<uint64_t>(buffer) / 2 + 1'000) << "one write beyond the bound";
  EXPECT_GT(flooded.written, static_cast<uint64_t>(buffer) / 2 - 2'000);
}

TEST_F(AccelerateTest, AForeignReaderNeverHasTwoQueues) {
  TrialPair pair = pair_of(kBothWays);
  const int writer = pair.daemon.get();
  const uint64_t* notices = accelerator_->notices_of(writer);
  uint64_t seen = *notices;
  uint64_t sent = 0;
  while (!accelerator_->reader_lags(writer, seen)) {
    ASSERT_TRUE(put(writer, std::string(5'000, pattern_at(0))));
    sent += 5'000;
  }
  // A writer that does not ask is not stopped, and what it writes stays in the one queue.
  ASSERT_TRUE(put(writer, std::string(5'000, pattern_at(0))));
  sent += 5'000;
  EXPECT_STREQ(text_of(end_of(writer).way), "redirected");
  EXPECT_EQ(take(pair.foreign.get(), sent - 1).size(), sent - 1);
  EXPECT_TRUE(accelerator_->reader_lags(writer, seen)) << "one byte waits";
  EXPECT_EQ(take(pair.foreign.get(), 1).size(), 1u);
  EXPECT_FALSE(accelerator_->reader_lags(writer, seen));
  ASSERT_TRUE(put(writer, "y"));
  EXPECT_EQ(take(pair.foreign.get(), 1), "y");
  EXPECT_STREQ(text_of(end_of(writer).way), "by TCP");
  EXPECT_EQ(end_of(writer).reason, SLUICE_TCP_FULL);
}

TEST_F(AccelerateTest, AnIdleDaemonStopsAForeignWriterAndNothingWaitsForATimer) {
  TrialPair pair = pair_of(kIntoDaemon);
  const Flood flooded = flood({*accelerator_, pair.foreign.get()}, 8'192, kFloodBytesMax);
  EXPECT_TRUE(flooded.stopped);
  EXPECT_LT(flooded.written, 16u << 20);
  EXPECT_STREQ(text_of(end_of(pair.foreign.get()).way), "by TCP");
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(drain_flood(pair.daemon.get(), flooded.written), "");
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(150))
      << "less than TCP's shortest timer";
}

TEST_F(AccelerateTest, WhatWentBackToTcpStaysThere) {
  TrialPair pair = pair_of(kIntoDaemon);
  const Flood flooded = flood({*accelerator_, pair.foreign.get()}, 8'192, kFloodBytesMax);
  EXPECT_EQ(drain_flood(pair.daemon.get(), flooded.written), "");
  const uint64_t messages = accelerator_->totals().messages;
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(put(pair.foreign.get(), "x"));
    EXPECT_EQ(take(pair.daemon.get(), 1), "x");
  }
  EXPECT_EQ(accelerator_->totals().messages, messages);
}

// An edge-triggered owner takes a short read for "nothing more". The daemon's transport must not end one between what
// was handed over and what came by TCP behind it.
TEST_F(AccelerateTest, TheTransportReadsAcrossTheFallBack) {
  TrialPair pair = pair_of(kIntoDaemon);
  const int reader = pair.daemon.get();
  const Watch watch(*accelerator_);
  io::TcpTransport transport(std::move(pair.daemon), {accelerator_->notices_of(reader), &watch});
  const Flood flooded = flood({*accelerator_, pair.foreign.get()}, 8'192, 200'000);
  ASSERT_STREQ(text_of(end_of(pair.foreign.get()).way), "by TCP");
  std::vector<uint8_t> buffer(1 << 20);
  uint64_t got = 0;
  for (;;) {
    const io::IoResult result = transport.read(buffer);
    ASSERT_EQ(result.state, io::IoState::ok);
    got += result.bytes;
    if (result.bytes < buffer.size()) break;
  }
  EXPECT_EQ(got, flooded.written) << "a short read came before the end of what was there";
}

TEST_F(AccelerateTest, AnEdgeTriggeredForeignReaderNeverWaitsForWhatIsThere) {
  TrialPair pair = pair_of(kBothWays);
  const int reader = pair.foreign.get();
  const Watch watch(*accelerator_);
  const uint64_t* notices = accelerator_->notices_of(pair.daemon.get());
  io::TcpTransport transport(std::move(pair.daemon), {notices, &watch});
  const UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
  ASSERT_EQ(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, reader, &event), 0);
  constexpr uint64_t kBytes = 8u << 20;
  std::thread sender([&] {
    std::vector<char> chunk(20'000);
    uint64_t sent = 0;
    while (sent < kBytes) {
      for (size_t i = 0; i < chunk.size(); ++i) chunk[i] = pattern_at(sent + i);
      const iovec piece = {chunk.data(), chunk.size()};
      const io::IoResult result = transport.write({&piece, 1});
      if (result.state == io::IoState::ok) {
        sent += result.bytes;
      } else if (result.look_again) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      } else {
        (void)wait_for(transport.fd(), POLLOUT);
      }
    }
    transport.shutdown_write();
  });
  uint64_t got = 0;
  bool right = true;
  bool ended = false;
  std::vector<char> in(16'384);
  while (!ended) {
    epoll_event ready = {};
    if (epoll_wait(epoll.get(), &ready, 1, 5'000) != 1) break;  // would be the hang
    for (;;) {
      const ssize_t now = recv(reader, in.data(), in.size(), 0);
      for (ssize_t i = 0; i < now; ++i)
        right = right && in[static_cast<size_t>(i)] == pattern_at(got + static_cast<uint64_t>(i));
      if (now > 0) got += static_cast<uint64_t>(now);
      ended = now == 0;
      if (now < static_cast<ssize_t>(in.size()) && (ready.events & EPOLLRDHUP) == 0) break;  // "nothing more"
      if (now <= 0) break;
    }
  }
  EXPECT_TRUE(ended) << "stalled after " << got << " bytes";
  EXPECT_TRUE(right);
  if (!ended) shutdown(reader, SHUT_RDWR);
  sender.join();
}

// --- the end of a connection ---

TEST_F(AccelerateTest, AWriterThatClosesLeavesWhatItWrote) {
  for (const bool by_daemon : {true, false}) {
    TrialPair pair = pair_of(kBothWays);
    UniqueFd& writer = by_daemon ? pair.daemon : pair.foreign;
    const int reader = by_daemon ? pair.foreign.get() : pair.daemon.get();
    ASSERT_TRUE(put(writer.get(), "last words"));
    writer.reset();
    EXPECT_EQ(take(reader, 10), "last words");
    EXPECT_TRUE(at_end(reader));
  }
}

TEST_F(AccelerateTest, AReaderThatClosesWithUnreadBytesEndsTheConnection) {
  for (const bool by_daemon : {true, false}) {
    TrialPair pair = pair_of(kBothWays);
    UniqueFd& reader = by_daemon ? pair.daemon : pair.foreign;
    const int writer = by_daemon ? pair.foreign.get() : pair.daemon.get();
    ASSERT_TRUE(put(writer, "never read"));
    ASSERT_TRUE(wait_for(reader.get(), POLLIN));
    reader.reset();
    char byte = 0;
    ASSERT_TRUE(wait_for(writer, POLLIN | POLLHUP | POLLRDHUP));
    const ssize_t got = recv(writer, &byte, 1, 0);
    EXPECT_TRUE(got == 0 || (got < 0 && errno == ECONNRESET));
    // Whoever goes on writing learns of it.
    wait_until("a write fails", [&] { return send(writer, "x", 1, MSG_NOSIGNAL) < 0 && errno != EAGAIN; });
  }
}

TEST_F(AccelerateTest, PollTellsOfBytesAndOfTheEnd) {
  TrialPair pair = pair_of(kBothWays);
  EXPECT_FALSE(wait_for(pair.foreign.get(), POLLIN, 0));
  ASSERT_TRUE(put(pair.daemon.get(), "x"));
  EXPECT_TRUE(wait_for(pair.foreign.get(), POLLIN));
  EXPECT_EQ(take(pair.foreign.get(), 1), "x");
  EXPECT_FALSE(wait_for(pair.foreign.get(), POLLIN, 0));
  EXPECT_TRUE(wait_for(pair.foreign.get(), POLLOUT, 0));
  pair.daemon.reset();
  EXPECT_TRUE(wait_for(pair.foreign.get(), POLLRDHUP));
}

// What the kernel says to FIONREAD is what the self-test found: `auto` depends on it.
TEST_F(AccelerateTest, FionreadIsAsTheSelfTestSays) {
  const AccelerationReport report = try_acceleration(accelerator_.get(), "");
  const auto check = std::find_if(report.checks.begin(), report.checks.end(),
                                  [](const AccelerationCheck& one) { return one.name == "FIONREAD"; });
  ASSERT_NE(check, report.checks.end());
  TrialPair pair = pair_of(kIntoDaemon);
  ASSERT_TRUE(put(pair.daemon.get(), "12345"));
  ASSERT_TRUE(wait_for(pair.foreign.get(), POLLIN));
  int queued = -1;
  ASSERT_EQ(ioctl(pair.foreign.get(), FIONREAD, &queued), 0);
  EXPECT_TRUE(queued == 5 || !check->passed);
  EXPECT_TRUE(queued == 5 || report.for_auto == Acceleration::none);
}

// --- death ---

// Kills the process that holds one end of a connection after it wrote; the other end is in this process.
class KilledEnd : public AccelerateTest {
 protected:
  // The child owns the end that `child_is_daemon` names, writes, and is killed. Returns the end that stays.
  UniqueFd survive(bool child_is_daemon, bool child_owns_programs) {
    UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage where = address_of("127.0.0.1", 0);
    socklen_t size = size_of(where);
    EXPECT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&where), size), 0);
    EXPECT_EQ(listen(listener.get(), 1), 0);
    EXPECT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&where), &size), 0);
    const pid_t child = fork();
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (child_is_daemon) {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (!accelerator_->exempt_trial(fd, kBothWays)) _exit(1);
        if (connect(fd, reinterpret_cast<sockaddr*>(&where), size_of(where)) != 0) _exit(2);
        if (!put(fd, "from the grave")) _exit(3);
      } else {
        const int fd = accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
        if (!put(fd, "from the grave")) _exit(3);
      }
      pause();
      _exit(0);
    }
    UniqueFd mine;
    if (child_is_daemon) {
      mine.reset(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    } else {
      mine.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      EXPECT_TRUE(accelerator_->exempt_trial(mine.get(), kBothWays));
      connect(mine.get(), reinterpret_cast<sockaddr*>(&where), size_of(where));
    }
    EXPECT_TRUE(wait_for(mine.get(), POLLIN));
    const auto end = accelerator_->other_end(mine.get());
    EXPECT_TRUE(end && end->way == SLUICE_REDIRECTED);
    if (child_owns_programs) {  // nobody else holds programs and maps but the child and the sockets
      accelerator_.reset();
      programs_.reset();
    }
    ::kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    return mine;
  }
};

TEST_F(KilledEnd, ADaemonThatIsKilledEndsItsConnectionsAndLosesNothingThatItHandedOver) {
  const UniqueFd mine = survive(true, true);
  EXPECT_EQ(take(mine.get(), 14), "from the grave");
  EXPECT_TRUE(at_end(mine.get()));
}

TEST_F(KilledEnd, AClientThatIsKilledEndsItsConnection) {
  const UniqueFd mine = survive(false, false);
  EXPECT_EQ(take(mine.get(), 14), "from the grave");
  EXPECT_TRUE(at_end(mine.get()));
}

TEST_F(AccelerateTest, WhenItIsTurnedOffLiveConnectionsGoOn) {
  TrialPair pair = pair_of(kBothWays);
  ASSERT_TRUE(put(pair.daemon.get(), "waits"));
  auto other = Accelerator::load(*programs_);  // for the pace of the writers alone
  ASSERT_TRUE(other) << other.error().message;
  accelerator_ = std::move(*other);
  EXPECT_EQ(take(pair.foreign.get(), 5), "waits");
  EXPECT_EQ(stream_through({*accelerator_, pair.daemon.get()}, pair.foreign.get(), 4 << 20, 3), "");
  EXPECT_EQ(stream_through({*accelerator_, pair.foreign.get()}, pair.daemon.get(), 4 << 20, 5), "");
}

// --- without privileges ---

struct Unprivileged {
  int step = 0;  // that failed; 0: none did
  bool short_circuited = false;
  bool lagged = false;
};

// What the daemon does after start needs no capability: sockets join by themselves, and the maps are open.
TEST_F(AccelerateTest, AfterLoadingNoCapabilityIsNeeded) {
  const auto seen = in_child<Unprivileged>([&] {
    Unprivileged out;
    constexpr uid_t kNobody = 65'534;
    if (setgroups(0, nullptr) != 0 || setresgid(kNobody, kNobody, kNobody) != 0 ||
        setresuid(kNobody, kNobody, kNobody) != 0) {
      out.step = 1;
      return out;
    }
    __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct capabilities[2] = {};
    if (syscall(SYS_capget, &header, capabilities) != 0 || capabilities[0].effective != 0 ||
        capabilities[1].effective != 0) {
      out.step = 2;
      return out;
    }
    auto pair = make_trial_pair(*accelerator_, kBothWays);
    if (!pair) {
      out.step = 3;
      return out;
    }
    if (!put(pair->foreign.get(), "question") || take(pair->daemon.get(), 8) != "question") out.step = 4;
    if (!put(pair->daemon.get(), "answer") || take(pair->foreign.get(), 6) != "answer") out.step = 5;
    out.short_circuited = accelerator_->short_circuited(pair->daemon.get());
    TrialWriter writer(*accelerator_, pair->daemon.get());
    const Flood flooded = flood(writer, 8'192, kFloodBytesMax);
    out.lagged = flooded.stopped && flooded.written < 1u << 20;
    if (!drain_flood(pair->foreign.get(), flooded.written).empty()) out.step = 6;
    if (writer.write("x", 1) != 1) out.step = 7;
    return out;
  });
  EXPECT_EQ(seen.step, 0);
  EXPECT_TRUE(seen.short_circuited);
  EXPECT_TRUE(seen.lagged);
}

// --- with steering ---

// The whole way: a client that is steered here, and the socket that was accepted for it.
TEST_F(BpfTest, ASteeredConnectionIsShortCircuitedAsItsTargetAsks) {
  if (geteuid() != 0) GTEST_SKIP() << "skipped: attaching eBPF programs needs root";
  for (const AccelerateWish wish : {AccelerateWish::on, AccelerateWish::off}) {
    enter_cgroup();  // listeners and accepted sockets belong to the cgroup of the process that listens
    SteeredTarget cards = target("cards", {endpoint("127.0.0.1", 5432)});
    cards.accelerate = wish;
    auto started = Steering::start(options_);
    ASSERT_TRUE(started) << started.error().message;
    const AccelerationReport& report = (*started)->prepare_acceleration({&cards, 1});
    EXPECT_EQ(report.of(wish), wish == AccelerateWish::on ? Acceleration::both_ways : Acceleration::none);
    ASSERT_TRUE((*started)->set_targets({&cards, 1}));
    auto listeners = (*started)->open_listeners();
    ASSERT_TRUE(listeners);
    ASSERT_TRUE((*started)->go_live());
    const Attempt attempt_made = in_child_while<Attempt>(
        [&] {
          (*started)->heartbeat();
          ConnectOptions options;
          options.to = "127.0.0.1";
          options.port = 5432;
          options.want_reply = false;
          UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
          Attempt out = attempt_on(fd.get(), options);
          if (out.error == 0 && !put(fd.get(), "hello")) fail_at(out, "send");
          if (out.error == 0) std::strncpy(out.reply, take(fd.get(), 5).c_str(), sizeof(out.reply) - 1);
          return out;
        },
        [&] {
          UniqueFd accepted;
          if (!wait_for((*listeners)[0], POLLIN)) return;
          accepted.reset(accept4((*listeners)[0], nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
          EXPECT_TRUE((*started)->take_note(accepted.get()));
          EXPECT_EQ(take(accepted.get(), 5), "hello");
          EXPECT_TRUE(put(accepted.get(), "there"));
          EXPECT_EQ((*started)->short_circuited(accepted.get(), -1), wish == AccelerateWish::on);
          EXPECT_EQ((*started)->short_circuit_notices(accepted.get()) != nullptr, wish == AccelerateWish::on);
        });
    EXPECT_EQ(attempt_made.error, 0) << attempt_made.step;
    EXPECT_STREQ(attempt_made.reply, "there");
    started->reset();
    leave_cgroup();
  }
}

}  // namespace
}  // namespace sluice::interception::test
