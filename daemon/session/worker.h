// A worker: one thread, one epoll loop, the sessions that live on it for life, and what they share: read buffer,
// scanner, statement cache, event ring. No locks on the data path; other threads speak to it through its mailbox.
// Lifetime: made by the service, which runs run() on a thread with a stack of sql::kAnalysisStackBytes; ends after
// drain() or stop(). Limits: session_limits.h; one turn handles a bounded number of events and a bounded number of
// bytes per session.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/base/unique_fd.h"
#include "daemon/io/mailbox.h"
#include "daemon/io/tcp_transport.h"
#include "daemon/io/timers.h"
#include "daemon/session/command_gate.h"
#include "daemon/session/session.h"
#include "daemon/session/upstream_cancel.h"

namespace sluice::session {

// Opens connections to protected servers: sockets that steering lets through. Any worker calls it.
class Upstreams {
 public:
  virtual ~Upstreams() = default;
  // A non-blocking socket whose connect() is under way. `device`: interface index that the client had bound itself to,
  // or 0.
  [[nodiscard]] virtual Result<std::unique_ptr<io::Transport>> open(const sockaddr_storage& destination,
                                                                    uint32_t device) = 0;
};

// An accepted connection whose identity is resolved.
struct Arrival {
  UniqueFd client;
  sockaddr_storage destination{};
  uint32_t device = 0;  // interface index that the client had bound itself to, or 0
  SessionSubject subject;
  MachineLimits machine_limits;
};

// Null where no machine speaks the protocol.
using MachineFactory = std::function<std::unique_ptr<Machine>(
    const std::string& protocol, Gate& gate, policies::CardScanner& scanner, const MachineLimits& limits)>;

// A live session as lists show it.
struct SessionRow {
  events::SessionInfo info;
  int64_t started_ns = 0;
  Phase phase = Phase::startup;
  GateTotals decided;
  SessionTotals moved;
  bool accelerated = false;  // some of its bytes go past TCP
};

struct WorkerParts {
  UniqueFd durable_event;  // the eventfd that `ring` signals
  events::EventRing* ring = nullptr;
  std::unique_ptr<policies::CardScanner> scanner;
  command::AnalysisPool* analysis = nullptr;
  const PolicySource* policies = nullptr;
  const Clock* clock = nullptr;
  Upstreams* upstreams = nullptr;
  std::function<bool(int client_fd, int server_fd)> short_circuited;  // for rows(); empty: none ever is
  std::function<io::ShortCircuit(int client_fd)> short_circuit_of;    // for the client's transport
  MachineFactory make_machine;
  command::HashKey hash_key{};
  Durability durability = Durability::strict;
  std::shared_ptr<CancelDesk> cancels = std::make_shared<CancelDesk>();                    // one for all workers
  std::function<std::shared_ptr<catalog::Catalog>(const std::string& target)> catalog_of;  // may be empty
  SessionLimits limits;
};

class Worker final : private SessionHost {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Worker>> create(WorkerParts parts);
  ~Worker();

  // The thread's body.
  void run();

  // --- any thread ---
  // False where the worker takes no more; then the arrival still owns its socket.
  [[nodiscard]] bool adopt(const std::shared_ptr<Arrival>& arrival);
  [[nodiscard]] bool post(io::Letter letter) { return mailbox_->post(std::move(letter)); }
  // Sessions end when they are idle, and after `timeout_ms` all the same; then run() returns.
  void drain(uint64_t timeout_ms);
  // All sessions end now; then run() returns.
  void stop();
  [[nodiscard]] size_t session_count() const { return session_count_.load(std::memory_order_relaxed); }
  // Rises with every turn of the loop; who watches posts a letter first, so that there is one.
  [[nodiscard]] uint64_t turns() const { return turns_.load(std::memory_order_relaxed); }
  [[nodiscard]] const GateCounters& counters() const { return counters_; }
  // Events of this worker that are not on disk yet, and the places that its ring has.
  [[nodiscard]] const events::EventRing& ring() const { return *parts_.ring; }
  // Connections that were reset because nothing about them could be recorded.
  [[nodiscard]] uint64_t refused_unrecorded() const { return refused_unrecorded_.load(std::memory_order_relaxed); }

  // --- the worker's thread, by way of a letter ---
  [[nodiscard]] std::vector<SessionRow> rows() const;
  // False where there is no such session.
  [[nodiscard]] bool kill(std::string_view session_id, std::string_view detail);

 private:
  class Watch final : public io::FdHandler {
   public:
    Watch(Worker& worker, void (Worker::*action)()) : worker_(worker), action_(action) {}
    void on_ready(uint32_t) override { (worker_.*action_)(); }

   private:
    Worker& worker_;
    void (Worker::*action_)();
  };
  struct Resident {
    std::unique_ptr<Session> session;
    int64_t started_ns = 0;
  };

  Worker(WorkerParts parts, io::EventLoop loop, std::unique_ptr<io::Mailbox> mailbox,
         std::shared_ptr<command::AnalysisMailbox> answers);

  // SessionHost
  std::span<uint8_t> read_buffer() override { return read_buffer_; }
  Actions& actions() override { return actions_; }
  uint64_t now_ms() const override { return now_ms_; }
  uint64_t durable() const override { return outbox_.durable(); }
  bool congested() const override { return outbox_.congested(); }
  void await_durable(Session& session, uint64_t sequence) override;
  void run_again(Session& session) override { again_.push_back(session.serial()); }
  io::Timers& timers() override { return timers_; }
  void finished(Session& session) override { finished_.push_back(session.serial()); }
  bool cancel_at_server(Session& session) override;

  void welcome(Arrival& arrival);
  void turn();
  [[nodiscard]] int wait_ms() const;
  void log_moved();
  void answers_came();
  void serve_durable();
  void watch_log_state();
  void make_room();
  void run_ready();
  void bury();
  void bury_cancels();
  void wind_down();
  [[nodiscard]] Session* find(uint64_t serial) const;
  template <typename Action>
  void for_each(Action&& action);

  WorkerParts parts_;
  io::EventLoop loop_;
  std::unique_ptr<io::Mailbox> mailbox_;
  std::shared_ptr<command::AnalysisMailbox> answers_;
  io::Timers timers_;
  std::vector<uint8_t> read_buffer_;
  Actions actions_;
  EventOutbox outbox_;
  command::StatementCache<AnalysedStatement> statements_;
  PoolAnalyst analyst_;
  policies::PolicyCache policy_cache_;
  BindExcerpt bind_excerpt_;
  GateCounters counters_;
  policies::ScannerDesk scanners_;
  GateContext gate_context_;
  Watch durable_watch_{*this, &Worker::log_moved};
  Watch answers_watch_{*this, &Worker::answers_came};

  std::unordered_map<uint64_t, Resident> sessions_;  // by serial
  std::vector<uint64_t> again_;
  std::vector<uint64_t> finished_;
  std::vector<std::unique_ptr<UpstreamCancel>> upstream_cancels_;
  struct DurableWaiter {
    uint64_t sequence = 0;
    uint64_t serial = 0;
    uint64_t since_ns = 0;
  };
  std::deque<DurableWaiter> durable_waiters_;  // by rising sequence
  uint64_t durable_wanted_ = 0;
  uint64_t now_ms_ = 0;
  uint64_t analysis_room_look_ms_ = 0;
  uint64_t drain_deadline_ms_ = UINT64_MAX;
  bool draining_ = false;
  bool stopping_ = false;
  bool log_was_failing_ = false;
  std::atomic<size_t> session_count_{0};
  std::atomic<uint64_t> turns_{0};
  std::atomic<uint64_t> refused_unrecorded_{0};
};

}  // namespace sluice::session
