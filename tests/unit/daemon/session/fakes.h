// Scripted stand-ins for what surrounds the pump: a machine that relays frames, a gate, and a host with a real event
// loop over socket pairs.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/base/unique_fd.h"
#include "daemon/io/event_loop.h"
#include "daemon/io/tcp_transport.h"
#include "daemon/session/session.h"

namespace sluice::session::testing {

class FakeGate final : public SessionGate {
 public:
  struct Ended {
    CloseReason reason;
    std::string detail;
    SessionTotals totals;
  };
  explicit FakeGate(std::optional<Ended>& ended_out) : ended_out_(ended_out) {}

  Answer submit(const CommandRequest&) override { return Refused{"scripted", "42501"}; }
  void complete(CommandId, const Completion&, std::span<const FindingCount>) override {}
  void claimed(const policies::ClaimedIdentity&) override {}
  void note(SessionNote, std::string_view) override {}
  void cancel_key(std::span<const uint8_t>) override {}
  void set_waiting(bool waiting_in) override { waiting.push_back(waiting_in); }
  bool take_cancel() override { return std::exchange(cancel_handed_over, false); }
  uint64_t barrier() const override { return barrier_value; }
  void analysed(command::AnalysisAnswer) override {}
  const events::SessionInfo& info() const override { return info_; }
  const GateTotals& gate_totals() const override { return totals_; }
  void ended(CloseReason reason, std::string_view detail, const SessionTotals& totals) override {
    EXPECT_FALSE(ended_out_.has_value()) << "a session ends once";
    ended_out_ = Ended{reason, std::string(detail), totals};
  }

  uint64_t barrier_value = 0;
  std::vector<bool> waiting;
  bool cancel_handed_over = false;

 private:
  std::optional<Ended>& ended_out_;
  events::SessionInfo info_;
  GateTotals totals_;
};

// Relays lines. A line of the client that starts with '!' raises the gate's barrier, with '?' parks until answered,
// with '=' is echoed to the client, "quit" closes; everything else goes to the server. Lines of the server go to the
// client in upper case.
class LineMachine final : public Machine {
 public:
  explicit LineMachine(FakeGate& gate) : gate_(gate) {}

  size_t on_bytes(Side from, std::span<uint8_t> bytes, Actions& actions) override {
    size_t taken = 0;
    while (taken < bytes.size()) {
      if (from == Side::client && parked_) break;
      auto* const newline = static_cast<uint8_t*>(std::memchr(bytes.data() + taken, '\n', bytes.size() - taken));
      if (newline == nullptr) break;
      const auto line = bytes.subspan(taken, static_cast<size_t>(newline - (bytes.data() + taken)) + 1);
      if (from == Side::client) {
        if (!client_line(line, actions)) break;
      } else {
        for (uint8_t& c : line) c = static_cast<uint8_t>(std::toupper(c));
        actions.to_client(line);
        if (unpark_on_server_bytes) parked_ = false, answered_ = true;
      }
      taken += line.size();
    }
    return taken;
  }
  void on_end(Side from, Actions& actions) override {
    ends.push_back(from);
    if (close_on_end) actions.close(from == Side::client ? CloseReason::client_left : CloseReason::server_left, "");
  }
  bool parked() const override { return parked_; }
  void resume(Actions&) override {
    parked_ = false;
    answered_ = true;
  }
  void on_failure(Failure failure, std::string_view, Actions& actions) override {
    failures.push_back(failure);
    static constexpr std::string_view kText = "FATAL\n";
    actions.to_client({reinterpret_cast<const uint8_t*>(kText.data()), kText.size()});
  }
  Phase phase() const override { return phase_value; }
  bool cancellable() const override { return parked_; }
  Cancelled on_cancel() override {
    if (!parked_) return Cancelled::at_server;
    parked_ = false;
    withdrawn_ = true;
    return cancelled;
  }

  std::vector<Side> ends;
  std::vector<Failure> failures;
  Phase phase_value = Phase::idle;
  bool close_on_end = true;
  bool unpark_on_server_bytes = false;
  Cancelled cancelled = Cancelled::here;

 private:
  bool client_line(std::span<uint8_t> line, Actions& actions) {
    const auto permit = policies::Permit::for_upkeep(policies::Upkeep::sync);
    if (std::exchange(withdrawn_, false)) {
      static constexpr std::string_view kText = "cancelled\n";
      actions.to_client({reinterpret_cast<const uint8_t*>(kText.data()), kText.size()});
      return true;
    }
    if (line[0] == '?' && !std::exchange(answered_, false)) {
      parked_ = true;
      return false;
    }
    if (line[0] == '!') ++gate_.barrier_value;
    if (line[0] == '=') {
      actions.to_client(line);
    } else if (std::string_view(reinterpret_cast<char*>(line.data()), line.size()) == "quit\n") {
      actions.to_server(line, permit);
      actions.close(CloseReason::finished, "");
    } else {
      actions.to_server(line, permit);
    }
    return true;
  }
  FakeGate& gate_;
  bool parked_ = false;
  bool answered_ = false;
  bool withdrawn_ = false;
};

inline std::pair<UniqueFd, UniqueFd> socket_pair() {
  int fds[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// A transport that counts its calls.
class CountingTransport final : public io::Transport {
 public:
  struct Calls {
    int reads = 0, writes = 0, resets = 0;
    bool peer_lags = false;  // writes have to wait, and no event tells when they need not (io::ShortCircuit)
  };
  CountingTransport(UniqueFd fd, Calls& calls) : inner_(std::move(fd)), calls_(calls) {}
  io::IoResult read(std::span<uint8_t> into) override {
    ++calls_.reads;
    return inner_.read(into);
  }
  io::IoResult write(std::span<const iovec> pieces) override {
    ++calls_.writes;
    if (calls_.peer_lags) return {io::IoState::would_block, 0, 0, true};
    return inner_.write(pieces);
  }
  void shutdown_write() override { inner_.shutdown_write(); }
  void reset() override {
    ++calls_.resets;
    inner_.reset();
  }
  int fd() const override { return inner_.fd(); }

 private:
  io::TcpTransport inner_;
  Calls& calls_;
};

class FakeHost final : public SessionHost {
 public:
  FakeHost() : loop_(std::move(*io::EventLoop::create())), buffer_(kReadBufferBytes) {}

  std::span<uint8_t> read_buffer() override { return buffer_; }
  Actions& actions() override { return actions_; }
  uint64_t now_ms() const override { return now; }
  uint64_t durable() const override { return durable_sequence; }
  bool congested() const override { return is_congested; }
  void await_durable(Session& session, uint64_t sequence) override { waiting.emplace_back(sequence, &session); }
  void run_again(Session& session) override { again.insert(&session); }
  io::Timers& timers() override { return timers_; }
  void finished(Session&) override { ++finished_count; }
  bool cancel_at_server(Session& session) override {
    cancelled_at_server.push_back(&session);
    return server_takes_cancels;
  }

  // Turns until nothing happens any more.
  void settle() {
    for (int quiet = 0; quiet < 3;) {
      int events = 0;
      EXPECT_TRUE(loop_.wait(0, [] {}).has_value());
      const auto ready = std::exchange(again, {});
      for (Session* session : ready) session->run(), ++events;
      quiet = events == 0 ? quiet + 1 : 0;
    }
  }
  void make_durable(uint64_t sequence) {
    durable_sequence = sequence;
    const auto all = std::exchange(waiting, {});
    for (const auto& [wanted, session] : all) {
      if (wanted <= sequence)
        session->durable_reached();
      else
        waiting.emplace_back(wanted, session);
    }
    settle();
  }
  void pass_time(uint64_t ms) {
    now += ms;
    timers_.fire(now);
    settle();
  }
  io::EventLoop& loop() { return loop_; }

  uint64_t now = 1000;
  uint64_t durable_sequence = 0;
  bool is_congested = false;
  int finished_count = 0;
  bool server_takes_cancels = true;
  std::vector<Session*> cancelled_at_server;
  std::vector<std::pair<uint64_t, Session*>> waiting;
  std::set<Session*> again;

 private:
  io::EventLoop loop_;
  io::Timers timers_;
  std::vector<uint8_t> buffer_;
  Actions actions_;
};

// One session between two socket pairs, with the outer ends in the test's hands.
struct Rig {
  explicit Rig(SessionLimits limits_in = {}, Phase phase = Phase::idle) : limits(limits_in) {
    auto [client_outer, client_inner] = socket_pair();
    auto [server_outer, server_inner] = socket_pair();
    client = std::move(client_outer);
    server = std::move(server_outer);
    auto gate_owned = std::make_unique<FakeGate>(ended);
    gate = gate_owned.get();
    auto machine_owned = std::make_unique<LineMachine>(*gate);
    machine = machine_owned.get();
    machine->phase_value = phase;
    session = std::make_unique<Session>(1, host, limits,
                                        std::make_unique<CountingTransport>(std::move(client_inner), client_calls),
                                        std::make_unique<CountingTransport>(std::move(server_inner), server_calls),
                                        std::move(gate_owned), std::move(machine_owned));
    for (const Side side : {Side::client, Side::server}) {
      EXPECT_TRUE(
          host.loop().add(session->transport(side).fd(), io::EventLoop::kBothWays, session->handler(side)).has_value());
    }
    host.settle();
  }

  static void say(const UniqueFd& fd, std::string_view text) {
    ASSERT_EQ(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  void client_says(std::string_view text) { say(client, text), host.settle(); }
  void server_says(std::string_view text) { say(server, text), host.settle(); }
  // Everything that is there now.
  static std::string heard(const UniqueFd& fd) {
    std::string all;
    char buffer[65536];
    for (ssize_t n; (n = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0;) all.append(buffer, static_cast<size_t>(n));
    return all;
  }
  std::string client_hears() { return heard(client); }
  std::string server_hears() { return heard(server); }
  // A cancel request for the session's command was handed over, and its letter has come.
  void cancel() {
    gate->cancel_handed_over = true;
    session->cancel_command();
    host.settle();
  }
  static bool at_end(const UniqueFd& fd) {
    char c;
    return ::recv(fd.get(), &c, 1, MSG_PEEK) == 0;
  }

  SessionLimits limits;
  FakeHost host;
  CountingTransport::Calls client_calls, server_calls;
  std::optional<FakeGate::Ended> ended;
  FakeGate* gate = nullptr;
  LineMachine* machine = nullptr;
  UniqueFd client, server;
  std::unique_ptr<Session> session;
};

}  // namespace sluice::session::testing
