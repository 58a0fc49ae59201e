// The thread that writes the log: takes events out of the rings, appends, commits, answers "durable up to", and gets
// over failures. Owns the segment store. Everything public may be called from other threads.
//
// One pass: take what is there (bounded) → write → commit when somebody waits (strict) or when the flush interval is
// over. An event stays in its ring's slot until it is durable; after a failed write the same events are simply taken
// again.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "daemon/audit/audit_log.h"
#include "daemon/audit/event_appender.h"
#include "daemon/audit/segment_store.h"
#include "daemon/base/unique_fd.h"
#include "daemon/events/event_ring.h"

namespace sluice::audit {

class LogWriter {
 public:
  static constexpr size_t kEventsPerPassMax = 8192;           // over all rings
  static constexpr uint64_t kUncommittedBytesMax = 8u << 20;  // a commit is forced beyond this
  static constexpr uint64_t kUnwrittenBytesMax = 1u << 20;
  static constexpr uint64_t kPaceAboveEvents = 4;  // commits that served more are paced
  static constexpr uint32_t kRetryMs = 250;        // while failing
  static constexpr uint32_t kStopMs = 5000;        // longest wait for a failing disk at a stop

  LogWriter(FileSystem& file_system, const LogOptions& options, StoreOptions store_options, LogPosition position);
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // Begins the first segment and the thread.
  [[nodiscard]] Status start();
  [[nodiscard]] events::EventRing& add_ring(int durable_fd);
  [[nodiscard]] LogStatus status() const;
  [[nodiscard]] Status flush(uint32_t timeout_ms);

 private:
  struct Producer {
    std::unique_ptr<events::EventRing> ring;
    uint64_t appended = 0;      // sequence up to which events are in the store (writer thread)
    uint64_t flush_target = 0;  // sequence that a flush() waits for
  };

  void run();
  void take_new_rings();
  // True where there was something to append.
  [[nodiscard]] Result<bool> append_pass();
  [[nodiscard]] Status append_event(const events::EventView& event);
  [[nodiscard]] Status commit();
  [[nodiscard]] bool commit_due(int64_t now_ns) const;
  [[nodiscard]] bool may_let_events_gather() const;
  [[nodiscard]] bool somebody_waits() const;
  [[nodiscard]] bool all_durable() const;
  [[nodiscard]] int64_t half_interval_ns() const;
  void note_flushes();
  void serve_flushes();
  void pace(int64_t now_ns);
  void went_wrong(const Error& error);
  void try_to_recover();
  void note_failure();
  void sleep();
  void stop_thread();
  void finish();
  void publish_status();

  const LogOptions options_;
  int64_t (*const now_ns_)();
  SegmentStore store_;
  EventAppender appender_;
  UniqueFd wake_fd_;

  // Writer thread alone.
  std::vector<Producer*> rings_;
  std::deque<events::EncodedEvent> own_events_;  // the writer's own, not durable yet
  size_t own_appended_ = 0;
  DurationHistogram commits_;  // read by any thread
  int64_t uncommitted_since_ns_ = 0;
  int64_t last_commit_ns_ = 0;
  uint64_t uncommitted_events_ = 0;
  uint64_t last_commit_events_ = 0;
  int64_t failing_since_ns_ = 0;  // monotonic; 0: healthy
  int64_t next_try_ns_ = 0;

  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> flushes_wanted_{0};
  uint64_t flushes_seen_ = 0;
  bool flush_pending_ = false;

  mutable std::mutex mutex_;  // what follows
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Producer>> producers_;
  uint64_t flushes_served_ = 0;
  LogStatus status_;

  std::thread thread_;
};

}  // namespace sluice::audit
