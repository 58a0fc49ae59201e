// Appends records to the log: the current segment, the tree's frontier, commits, rolling over, giving a segment up
// after a failed write. Knows nothing of rings and events. One thread (the audit writer); the reserve segment is
// prepared beside it.
//
// A failed write or fdatasync is never repeated on the same pages: abandon() goes back to the last commit, and begin()
// starts a new segment there; whoever appended since then appends again.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "daemon/audit/file_system.h"
#include "daemon/audit/log_format.h"
#include "daemon/audit/recovery.h"
#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace sluice::audit {

// Prepares the file that becomes the next segment, on its own thread, so that a full disk shows while the current
// segment still has room, and no commit waits for zeros being written.
class Reserve {
 public:
  static constexpr uint32_t kRetryMs = 250;

  Reserve(FileSystem& file_system, std::string directory, int directory_fd, uint64_t bytes,
          Preallocation preallocation);
  ~Reserve();
  Reserve(const Reserve&) = delete;
  Reserve& operator=(const Reserve&) = delete;

  // Starts preparing where there is none. Never waits.
  void want();
  // The prepared file, still under its reserve name; waits while it is being made. After an Error it is tried again.
  [[nodiscard]] Result<UniqueFd> take();
  // Waits until there is one to take; an Error where it cannot be made now.
  [[nodiscard]] Status wait_ready();
  // Removes it, and makes no other until want().
  [[nodiscard]] Status discard();
  // Why there is none although it is wanted; empty where all is well.
  [[nodiscard]] std::string trouble() const;

 private:
  enum class State : uint8_t { none, making, ready, failed };
  void run();
  [[nodiscard]] Result<UniqueFd> make();

  FileSystem& file_system_;
  const std::string directory_;
  const std::string path_;
  const int directory_fd_;
  const uint64_t bytes_;
  const Preallocation preallocation_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  State state_ = State::none;
  bool stop_ = false;
  UniqueFd fd_;
  std::string trouble_;
  std::thread thread_;
};

struct StoreOptions {
  std::string directory;
  int directory_fd = -1;
  uint64_t segment_bytes = 0;
  Preallocation preallocation = Preallocation::zeroed;
  BootId boot_id{};
  std::string host;
  int64_t (*now_ns)() = nullptr;
};

class SegmentStore {
 public:
  SegmentStore(FileSystem& file_system, StoreOptions options, LogPosition position);

  // REQUIRES: !active(). Starts the next segment; on an Error nothing has changed, and it may be called again.
  [[nodiscard]] Status begin();
  [[nodiscard]] bool active() const { return fd_.valid(); }
  // Counts the segments begun: what is known about a segment's content is void when it changes.
  [[nodiscard]] uint64_t generation() const { return generation_; }

  // REQUIRES: active(). Into memory only. Returns the record's leaf index.
  uint64_t append(RecordKind kind, std::string_view payload_1, std::string_view payload_2 = {});
  // Whether `bytes` more of records fit the segment. A segment without records takes one of any size.
  [[nodiscard]] bool fits(uint64_t bytes) const;
  // Hands what was appended to the kernel.
  [[nodiscard]] Status write();
  // ... and makes it durable. After an Error of write() or commit(): abandon().
  [[nodiscard]] Status commit();
  // Waits until there is space for a next segment. Error: there is none now.
  [[nodiscard]] Status wait_reserve() { return reserve_.wait_ready(); }
  // REQUIRES: everything committed, wait_reserve() succeeded (a segment is not sealed before it is certain where the
  // log goes on). Seals the segment and begins the next one. Error: it could not be sealed (still active(): abandon()),
  // or the next one could not be begun (!active(): begin() later).
  [[nodiscard]] Status roll();
  void abandon();
  // Seals and trims: the end of a clean stop.
  [[nodiscard]] Status close();

  [[nodiscard]] uint64_t leaves() const { return frontier_.size(); }
  [[nodiscard]] uint64_t uncommitted_bytes() const { return offset_ + buffer_.size() - committed_.offset; }
  [[nodiscard]] uint64_t unwritten_bytes() const { return buffer_.size(); }
  [[nodiscard]] uint64_t total_bytes() const { return closed_bytes_ + (active() ? offset_ : 0); }
  [[nodiscard]] uint64_t segments() const { return segments_; }
  [[nodiscard]] const LogId& log_id() const { return log_id_; }
  [[nodiscard]] std::string reserve_trouble() const { return reserve_.trouble(); }

 private:
  struct Committed {
    uint64_t offset = 0;
    Frontier frontier;
  };

  [[nodiscard]] Status seal(SealReason reason);
  void ended(PreviousEnd how, uint64_t bytes);

  FileSystem& file_system_;
  const StoreOptions options_;
  LogId log_id_;
  Reserve reserve_;

  UniqueFd fd_;
  std::string name_;
  uint64_t generation_ = 0;
  uint64_t next_number_ = 0;
  uint64_t offset_ = 0;       // where buffer_ goes
  std::string buffer_;        // appended, not written
  bool after_commit_ = true;  // the next record is the first one after a commit
  Frontier frontier_;
  Committed committed_;

  PreviousEnd previous_end_;
  uint64_t previous_bytes_;
  UniqueFd abandoned_;    // to be cut at previous_bytes_ before the next segment begins
  std::string leftover_;  // a segment that begin() could not make durable
  uint64_t closed_bytes_ = 0;
  uint64_t segments_ = 0;
};

}  // namespace sluice::audit
