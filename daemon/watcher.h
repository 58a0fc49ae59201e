// Watches the daemon itself, on a thread of its own: the heartbeat that the kernel wants (only while every worker and
// the acceptor make progress), the health of steering and of the log, what the workers counted, and once a minute the
// proof of coverage. A worker that hangs stops the heartbeat, and the kernel then decides by when_down: fail closed.
// Lifetime: start() to stop(); what it watches outlives it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/acceptor.h"
#include "daemon/audit/audit_log.h"
#include "daemon/base/thread.h"
#include "daemon/interception/steering.h"
#include "daemon/recorder.h"
#include "daemon/session/worker.h"
#include "daemon/target_table.h"

namespace sluice {

class Watcher {
 public:
  static constexpr uint32_t kTickMs = 250;
  // Ordinary turns take milliseconds, and a third of a second where clients do their worst on a busy machine
  // (tests/integration/test_turns.py).
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  static constexpr uint64_t kHungAfterMs = 10'000;  // everything takes tens of times longer
#else
  static constexpr uint64_t kHungAfterMs = 1'000;
#endif
  static constexpr uint64_t kCoverageMs = 60'000;

  struct Watched {
    interception::Steering& steering;
    const TargetTable& targets;
    Acceptor& acceptor;
    Recorder& recorder;
    const audit::AuditLog& log;
    std::vector<session::Worker*> workers;
  };
  explicit Watcher(Watched watched);
  ~Watcher();
  [[nodiscard]] Status start();
  void stop();

  // The acceptor ends: from now on it is not expected to make progress.
  void acceptor_ends() {
    acceptor_ends_.store(true, std::memory_order_relaxed);
  }

  // As sentences; empty where all is well.
  [[nodiscard]] std::vector<std::string> problems() const;
  // One coverage event per target, with what steering counted and what was accepted.
  void record_coverage();

 private:
  struct Progress {
    uint64_t turns = 0;
    uint64_t seen_ms = 0;
  };
  void run();
  void tick(uint64_t now_ms);
  [[nodiscard]] bool all_make_progress(uint64_t now_ms);
  void look_at_steering();
  void look_at_log();
  void look_at_counters();
  void look_at_refusals();

  Watched watched_;
  std::vector<Progress> progress_;  // of the workers, then of the acceptor
  std::string steering_problem_;
  std::string hung_;
  bool log_failing_ = false;
  std::atomic<bool> acceptor_ends_{false};
  std::map<std::string, interception::TargetCounters> coverage_seen_;  // by target, as of the last look
  uint64_t self_findings_seen_ = 0;
  uint64_t unrecorded_seen_ = 0;
  uint64_t second_ms_ = 0;
  uint64_t coverage_ms_ = 0;
  mutable std::mutex mutex_;  // guards problems_ and stopping_
  std::condition_variable wake_;
  std::vector<std::string> problems_;
  bool stopping_ = false;
  Thread thread_;
};

}  // namespace sluice
