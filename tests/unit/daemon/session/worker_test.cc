// A whole worker on its thread: real loop, ring, gate and sockets; the server is a socket pair, the machine relays
// lines and asks the gate for each of the client's.
#include "daemon/session/worker.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <cstring>
#include <future>
#include <thread>

#include <gtest/gtest.h>

#include "daemon/base/thread.h"
#include "fakes.h"
#include "gate_rig.h"

namespace sluice::session {
namespace {

using testing::socket_pair;

// Every line of the client is a query; the server's bytes pass as they are.
class QueryMachine final : public Machine {
 public:
  explicit QueryMachine(Gate& gate) : gate_(gate) {}
  size_t on_bytes(Side from, std::span<uint8_t> bytes, Actions& actions) override {
    if (from == Side::server) {
      busy_ = false;
      actions.to_client(bytes);
      return bytes.size();
    }
    size_t taken = 0;
    while (taken < bytes.size() && !parked_) {
      auto* const newline = static_cast<uint8_t*>(std::memchr(bytes.data() + taken, '\n', bytes.size() - taken));
      if (newline == nullptr) break;
      const auto line = bytes.subspan(taken, static_cast<size_t>(newline - (bytes.data() + taken)) + 1);
      CommandRequest request;
      request.text = {reinterpret_cast<const char*>(line.data()), line.size() - 1};
      const Answer answer = gate_.submit(request);
      if (std::holds_alternative<Parked>(answer)) {
        parked_ = true;
        break;
      }
      if (const auto* passed = std::get_if<Passed>(&answer)) {
        actions.to_server(line, passed->permit);
        busy_ = true;
      } else {
        const std::string text = "ERROR " + std::get<Refused>(answer).sqlstate + "\n";
        actions.to_client_copy({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
      }
      taken += line.size();
    }
    return taken;
  }
  void on_end(Side from, Actions& actions) override {
    actions.close(from == Side::client ? CloseReason::client_left : CloseReason::server_left, "");
  }
  bool parked() const override { return parked_; }
  void resume(Actions&) override { parked_ = false; }
  void on_failure(Failure failure, std::string_view, Actions& actions) override {
    const std::string text = "FATAL " + std::to_string(static_cast<int>(failure)) + "\n";
    actions.to_client_copy({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  Phase phase() const override { return busy_ ? Phase::busy : Phase::idle; }
  std::vector<uint8_t> cancel_request() const override {
    static constexpr std::string_view kRequest = "CANCEL\n";
    return busy_ ? std::vector<uint8_t>(kRequest.begin(), kRequest.end()) : std::vector<uint8_t>();
  }

 private:
  Gate& gate_;
  bool parked_ = false;
  bool busy_ = false;
};

// Hands out socket pairs as if they were connections to the server.
class PairUpstreams final : public Upstreams {
 public:
  Result<std::unique_ptr<io::Transport>> open(const sockaddr_storage&, uint32_t) override {
    const std::lock_guard lock(mutex_);
    if (refuse) return fail("connect to the server: connection refused");
    auto [outer, inner] = socket_pair();
    servers_.push_back(std::move(outer));
    return std::make_unique<io::TcpTransport>(std::move(inner));
  }
  // The far end of the n-th connection; waits for it.
  int server(size_t n) {
    for (int i = 0; i < 10'000; ++i) {
      {
        const std::lock_guard lock(mutex_);
        if (servers_.size() > n) return servers_[n].get();
      }
      std::this_thread::yield();
      poll(nullptr, 0, 1);
    }
    ADD_FAILURE() << "the worker did not connect to the server";
    return -1;
  }
  void close_all() {
    const std::lock_guard lock(mutex_);
    servers_.clear();
  }
  std::atomic<bool> refuse{false};

 private:
  std::mutex mutex_;
  std::vector<UniqueFd> servers_;
};

// Plays the audit writer: makes durable what the test says.
struct WorkerRig {
  WorkerRig() {
    auto pool = command::AnalysisPool::start({});
    EXPECT_TRUE(pool.has_value());
    analysis = std::move(*pool);
    UniqueFd durable_event(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    ring = std::make_unique<events::EventRing>(durable_event.get());
    WorkerParts parts;
    parts.durable_event = std::move(durable_event);
    parts.ring = ring.get();
    std::string why;
    parts.scanner = policies::CardScanner::create(why);
    parts.analysis = analysis.get();
    parts.policies = &policies;
    parts.clock = &system_clock();
    parts.upstreams = &upstreams;
    parts.make_machine = [](const std::string&, Gate& gate, policies::CardScanner&, const MachineLimits&) {
      return std::make_unique<QueryMachine>(gate);
    };
    parts.hash_key = {3, 4};
    auto created = Worker::create(std::move(parts));
    EXPECT_TRUE(created.has_value());
    worker = std::move(*created);
    thread = std::move(*Thread::start("worker", sql::kAnalysisStackBytes, [this] { worker->run(); }));
  }
  ~WorkerRig() {
    worker->stop();
    thread.join();
  }

  UniqueFd connect() {
    auto [outer, inner] = socket_pair();
    auto arrival = std::make_shared<Arrival>();
    arrival->client = std::move(inner);
    const uint64_t serial = ++last_serial;
    arrival->subject.serial = serial;
    arrival->subject.info.id = std::string(15, '0') + std::to_string(serial);
    arrival->subject.info.target = "payments-db";
    arrival->subject.protocol = "postgres";
    EXPECT_TRUE(worker->adopt(arrival));
    return std::move(outer);
  }
  static void say(int fd, std::string_view text) {
    ASSERT_EQ(::send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // Reads until `size` bytes came, or the end.
  static std::string hear(int fd, size_t size) {
    std::string text;
    while (text.size() < size) {
      pollfd entry{fd, POLLIN, 0};
      if (poll(&entry, 1, 10'000) != 1) {
        ADD_FAILURE() << "nothing came after: " << text;
        break;
      }
      char buffer[4096];
      const ssize_t got = recv(fd, buffer, std::min(sizeof buffer, size - text.size()), 0);
      if (got <= 0) break;
      text.append(buffer, static_cast<size_t>(got));
    }
    return text;
  }
  static bool silent(int fd) {
    pollfd entry{fd, POLLIN, 0};
    return poll(&entry, 1, 50) == 0;
  }
  void wait_until(const char* what, const std::function<bool()>& condition) {
    for (int i = 0; i < 10'000; ++i) {
      if (condition()) return;
      poll(nullptr, 0, 1);
    }
    ADD_FAILURE() << "never: " << what;
  }
  std::vector<SessionRow> rows() {
    std::promise<std::vector<SessionRow>> promise;
    EXPECT_TRUE(worker->post([&] { promise.set_value(worker->rows()); }));
    return promise.get_future().get();
  }

  std::unique_ptr<command::AnalysisPool> analysis;
  std::unique_ptr<events::EventRing> ring;
  PolicySource policies{
      testing::GateRig::load("version: 1\nrules:\n  - {name: no-drop, when: {statement: [drop]}, then: block}\n")};
  PairUpstreams upstreams;
  std::unique_ptr<Worker> worker;
  Thread thread;
  uint64_t last_serial = 0;
};

TEST(Worker, ACommandReachesTheServerOnlyOnceItsIntentIsDurable) {
  WorkerRig rig;
  const UniqueFd client = rig.connect();
  const int server = rig.upstreams.server(0);
  WorkerRig::say(client.get(), "select 1\n");
  rig.wait_until("the worker asks for durability", [&] { return rig.ring->durable_requested() >= 2; });
  EXPECT_TRUE(WorkerRig::silent(server));
  rig.ring->mark_durable(1);
  EXPECT_TRUE(WorkerRig::silent(server)) << "only the session's start is durable";
  rig.ring->mark_durable(2);
  EXPECT_EQ(WorkerRig::hear(server, 9), "select 1\n");
  WorkerRig::say(server, "row\n");
  EXPECT_EQ(WorkerRig::hear(client.get(), 4), "row\n");
}

TEST(Worker, ARefusalComesBackAndNothingGoesOn) {
  WorkerRig rig;
  const UniqueFd client = rig.connect();
  const int server = rig.upstreams.server(0);
  WorkerRig::say(client.get(), "drop table cards\n");
  EXPECT_EQ(WorkerRig::hear(client.get(), 12), "ERROR 42501\n");
  EXPECT_TRUE(WorkerRig::silent(server));
}

TEST(Worker, ALongTextGoesThroughTheAnalysisThreads) {
  WorkerRig rig;
  const UniqueFd client = rig.connect();
  const int server = rig.upstreams.server(0);
  const std::string text = "select " + std::string(2 * kInlineTextBytesMax, '1') + "\n";
  WorkerRig::say(client.get(), text);
  rig.wait_until("the intent is recorded", [&] { return rig.ring->published() >= 2; });
  rig.ring->mark_durable(2);
  EXPECT_EQ(WorkerRig::hear(server, text.size()), text);
}

TEST(Worker, AFailingLogEndsWhatWaitsAndRefusesWhatComes) {
  WorkerRig rig;
  const UniqueFd waiting = rig.connect();
  const UniqueFd idle = rig.connect();
  const int server = rig.upstreams.server(0);
  rig.upstreams.server(1);
  WorkerRig::say(waiting.get(), "select 1\n");
  rig.wait_until("the intent is recorded", [&] { return rig.ring->published() >= 3; });
  rig.ring->set_state(events::LogState::failing);
  const std::string fatal = "FATAL " + std::to_string(static_cast<int>(Failure::log_unavailable)) + "\n";
  EXPECT_EQ(WorkerRig::hear(waiting.get(), fatal.size()), fatal);
  EXPECT_EQ(WorkerRig::hear(server, 9), "") << "end of file, and no command before it";
  WorkerRig::say(idle.get(), "select 2\n");
  EXPECT_EQ(WorkerRig::hear(idle.get(), 12), "ERROR 58030\n");
  const UniqueFd late = rig.connect();
  EXPECT_EQ(WorkerRig::hear(late.get(), fatal.size()), fatal);
  rig.ring->set_state(events::LogState::healthy);
  WorkerRig::say(idle.get(), "select 3\n");
  rig.wait_until("the log is used again", [&] { return rig.ring->durable_requested() >= rig.ring->published(); });
  rig.ring->mark_durable(rig.ring->published());
  EXPECT_EQ(WorkerRig::hear(rig.upstreams.server(1), 9), "select 3\n");
}

TEST(Worker, AFullRingStopsSessionsAndRoomLetsThemGoOn) {
  WorkerRig rig;
  const UniqueFd client = rig.connect();
  const int server = rig.upstreams.server(0);
  std::string sent;
  std::thread talker([&] {
    std::string line = "select 1\n";
    for (size_t i = 0; i < events::EventRing::kSlots + 5'000; ++i) {
      for (size_t at = 0; at < line.size();) {
        pollfd entry{client.get(), POLLOUT, 0};
        ASSERT_EQ(poll(&entry, 1, 20'000), 1) << "the client was never read again";
        const ssize_t n = ::send(client.get(), line.data() + at, line.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) at += static_cast<size_t>(n);
      }
    }
  });
  const size_t wanted = 9 * (events::EventRing::kSlots + 5'000);
  size_t received = 0;
  bool was_full = false;
  uint64_t released = 0;
  while (received < wanted) {
    const uint64_t published = rig.ring->published();
    if (published - released >= 4'000) was_full = was_full || rig.ring->free_slots() <= EventOutbox::kReservedSlots;
    pollfd entry{server, POLLIN, 0};
    if (poll(&entry, 1, 20) == 1) {
      char buffer[65536];
      const ssize_t got = recv(server, buffer, sizeof buffer, 0);
      ASSERT_GT(got, 0);
      received += static_cast<size_t>(got);
    } else {
      rig.ring->mark_durable(published);
      rig.ring->release(published);
      released = published;
    }
  }
  talker.join();
  EXPECT_EQ(received, wanted);
}

TEST(Worker, AnUnreachableServerIsSaidToTheClient) {
  WorkerRig rig;
  rig.upstreams.refuse = true;
  const UniqueFd client = rig.connect();
  const std::string fatal = "FATAL " + std::to_string(static_cast<int>(Failure::upstream_unreachable)) + "\n";
  EXPECT_EQ(WorkerRig::hear(client.get(), fatal.size()), fatal);
}

TEST(Worker, KillEndsOneSessionAndListsShowTheOthers) {
  WorkerRig rig;
  const UniqueFd first = rig.connect();
  const UniqueFd second = rig.connect();
  rig.upstreams.server(1);
  EXPECT_EQ(rig.rows().size(), 2u);
  std::promise<bool> known, unknown;
  ASSERT_TRUE(rig.worker->post([&] {
    known.set_value(rig.worker->kill("0000000000000001", "by a test"));
    unknown.set_value(rig.worker->kill("ffffffffffffffff", "by a test"));
  }));
  EXPECT_TRUE(known.get_future().get());
  EXPECT_FALSE(unknown.get_future().get());
  const std::string fatal = "FATAL " + std::to_string(static_cast<int>(Failure::killed)) + "\n";
  EXPECT_EQ(WorkerRig::hear(first.get(), fatal.size() + 1), fatal);
  EXPECT_TRUE(WorkerRig::silent(second.get()));
}

// A statement must not run on at the server when nobody waits for it any more.
TEST(Worker, KillAsksTheServerToCancelWhatItRuns) {
  WorkerRig rig;
  const UniqueFd client = rig.connect();
  const int server = rig.upstreams.server(0);
  WorkerRig::say(client.get(), "select 1\n");
  rig.wait_until("the intent is recorded", [&] { return rig.ring->published() >= 2; });
  rig.ring->mark_durable(2);
  EXPECT_EQ(WorkerRig::hear(server, 9), "select 1\n");
  std::promise<bool> killed;
  ASSERT_TRUE(rig.worker->post([&] { killed.set_value(rig.worker->kill("0000000000000001", "by a test")); }));
  EXPECT_TRUE(killed.get_future().get());
  EXPECT_EQ(WorkerRig::hear(rig.upstreams.server(1), 7), "CANCEL\n");
}

TEST(Worker, TheEndOfADrainAsksServersToCancelWhatTheyRun) {
  WorkerRig rig;
  const UniqueFd client = rig.connect();
  const int server = rig.upstreams.server(0);
  WorkerRig::say(client.get(), "select 1\n");
  rig.wait_until("the intent is recorded", [&] { return rig.ring->published() >= 2; });
  rig.ring->mark_durable(2);
  EXPECT_EQ(WorkerRig::hear(server, 9), "select 1\n");
  rig.worker->drain(50);
  EXPECT_EQ(WorkerRig::hear(rig.upstreams.server(1), 7), "CANCEL\n");
  rig.upstreams.close_all();
}

TEST(Worker, ManyConnectionsComeAndGoAndNothingIsLeft) {
  WorkerRig rig;
  for (int round = 0; round < 20; ++round) {
    std::vector<UniqueFd> clients;
    for (int i = 0; i < 9; ++i) clients.push_back(rig.connect());
    rig.upstreams.server(static_cast<size_t>(9 * round + 8));
    for (size_t i = 0; i < clients.size(); ++i) {
      if (i % 3 == 0) WorkerRig::say(clients[i].get(), "select 1\n");
      if (i % 3 == 1) WorkerRig::say(clients[i].get(), "select half of a li");
    }
    clients.clear();
    rig.ring->mark_durable(rig.ring->published());
    rig.ring->release(rig.ring->published());
  }
  rig.upstreams.close_all();
  rig.wait_until("all sessions are gone", [&] {
    rig.ring->mark_durable(rig.ring->published());
    return rig.worker->session_count() == 0;
  });
}

TEST(Worker, DrainEndsIdleSessionsAndThenTheWorker) {
  WorkerRig rig;
  const UniqueFd client = rig.connect();
  rig.upstreams.server(0);
  rig.worker->drain(5'000);
  const std::string fatal = "FATAL " + std::to_string(static_cast<int>(Failure::shutdown)) + "\n";
  EXPECT_EQ(WorkerRig::hear(client.get(), fatal.size()), fatal);
  rig.upstreams.close_all();
}

}  // namespace
}  // namespace sluice::session
