// Threads that analyse statement texts and mask them for the record, so that no worker ever waits on the grammar or on
// a text of megabytes: libpg_query recurses (1+1+… of 60 KB needs more than an ordinary stack) and is slow on hostile
// texts. A worker submits a job and goes on; the answer comes back through the worker's mailbox, whose eventfd sits in
// the worker's epoll set.
//
// Every job is answered exactly once: with its analysis, or as unknown with the reason (queue full, waited too long,
// stopping). Lifetime: the pool outlives all who submit; a mailbox is shared by its worker and by the jobs under way,
// so a worker may leave early. Threading: submit() from any thread; a mailbox is drained by its own worker only.
// Limits: PoolLimits; a job's text was already bounded by the protocol (statement_bytes_max), and queue_bytes_max
// bounds all of them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <pthread.h>

#include "daemon/base/counter.h"
#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/command/masked_text.h"
#include "parsers/sql/analysis.h"

namespace sluice::command {

struct PoolLimits {
  size_t threads = 2;
  size_t queue_jobs_max = 1024;
  size_t queue_bytes_max = 64u << 20;
  std::chrono::milliseconds wait_max{2000};  // a job that waited longer is answered unknown, not analysed
  sql::AnalysisLimits analysis = {};
};

struct AnalysisJob {
  uint64_t ticket = 0;  // the asker's own number, handed back with the answer
  std::string text;
  std::string client_encoding = "UTF8";
  bool standard_conforming_strings = true;
  bool certain = true;
};

struct AnalysisAnswer {
  uint64_t ticket = 0;
  sql::Analysis analysis;
  MaskedText masked;
};

// Everything unknown, for the reason given.
[[nodiscard]] sql::Analysis unknown_analysis(std::string_view why);

// Where one worker's answers wait for it.
class AnalysisMailbox {
 public:
  [[nodiscard]] static Result<std::shared_ptr<AnalysisMailbox>> create();
  explicit AnalysisMailbox(UniqueFd event) : event_(std::move(event)) {}

  // Readable (level) while answers wait. Owned by the mailbox.
  [[nodiscard]] int event_fd() const { return event_.get(); }
  // All answers so far, in the order they were finished; clears the event.
  [[nodiscard]] std::vector<AnalysisAnswer> take();

 private:
  friend class AnalysisPool;
  void put(AnalysisAnswer answer);

  UniqueFd event_;
  std::mutex mutex_;
  std::vector<AnalysisAnswer> answers_;
};

class AnalysisPool {
 public:
  // Starts the threads, each with sql::kAnalysisStackBytes of stack and a guard page below it.
  [[nodiscard]] static Result<std::unique_ptr<AnalysisPool>> start(const PoolLimits& limits);
  ~AnalysisPool();  // stop()
  AnalysisPool(const AnalysisPool&) = delete;
  AnalysisPool& operator=(const AnalysisPool&) = delete;

  // A value: the answer, at once and final (unknown: queue full, or stopping). nullopt: it will come through the
  // mailbox.
  [[nodiscard]] std::optional<sql::Analysis> submit(std::shared_ptr<AnalysisMailbox> mailbox, AnalysisJob job);

  // Whether submit() would take a text of this size now. True where waiting would not change its answer.
  [[nodiscard]] bool has_room(size_t text_bytes) const;

  // Answers what waits as unknown, lets what runs finish, joins the threads. Idempotent; not from an analysis thread.
  void stop();

  struct Counters {
    uint64_t analysed = 0;
    uint64_t refused_full = 0;
    uint64_t expired = 0;
    uint64_t waiting = 0;        // jobs in the queue now
    uint64_t waiting_bytes = 0;  // of text
    DurationCounts took;         // the analysis itself, without the wait for a thread
  };
  [[nodiscard]] Counters counters() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Waiting {
    std::shared_ptr<AnalysisMailbox> mailbox;
    AnalysisJob job;
    Clock::time_point since;
  };

  explicit AnalysisPool(const PoolLimits& limits) : limits_(limits) {}
  [[nodiscard]] Status spawn();
  struct Crew {  // one thread, and what it alone uses
    AnalysisPool* pool = nullptr;
    std::unique_ptr<policies::CardScanner> scanner;
    pthread_t thread{};
  };
  static void* thread_main(void* crew);
  void run(policies::CardScanner& scanner);
  void answer(Waiting& waiting, sql::Analysis analysis, policies::CardScanner& scanner);

  const PoolLimits limits_;
  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Waiting> queue_;  // at most queue_jobs_max jobs and queue_bytes_max bytes of text
  size_t queue_bytes_ = 0;
  bool stopping_ = false;
  Counters counters_;
  std::vector<std::unique_ptr<Crew>> crews_;  // those whose thread runs
};

}  // namespace sluice::command
