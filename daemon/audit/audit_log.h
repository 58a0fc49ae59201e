// The audit log as the rest of the daemon sees it: start it, give it rings, ask how it is. The writer thread is its
// own. When writing fails, the writer says `failing` to every ring, keeps all events in the rings, tries again every
// 250 ms, and once it works writes a control_failure event (cause, duration) before anything else, then what waited,
// and says `healthy`. On disk: segments in the directory, docs/log-format.md. Reading: event_query.h. Proof: verify.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/counter.h"
#include "daemon/base/result.h"
#include "daemon/events/event_ring.h"

namespace sluice::audit {

class FileSystem;

enum class Durability : uint8_t { strict, relaxed };

struct LogOptions {
  std::string directory;
  Durability durability = Durability::strict;
  uint64_t segment_bytes = 64u << 20;
  uint32_t flush_interval_ms = 20;    // relaxed: at most this much is lost in a power cut
  uint32_t commit_interval_us = 500;  // strict: shortest time between commits under load
  std::string host;                   // name of the host, for the record; may be empty
  FileSystem* file_system = nullptr;  // for tests that make writes fail; null: the real one
};

struct LogStatus {
  events::LogState state = events::LogState::healthy;
  uint64_t events = 0;  // leaves in the log
  uint64_t bytes = 0;
  uint64_t segments = 0;
  std::string warning;    // what will make it fail soon (no space for the next segment); empty otherwise
  uint64_t failures = 0;  // times it went from healthy to failing
  std::string failure;    // why it is failing; empty otherwise
  std::string recovered;  // what recovery found at start ("truncated 37 torn bytes"), empty for a clean one
  std::string log_id;
  DurationCounts commits;             // how long it took to make a batch of events durable
  std::vector<uint64_t> not_durable;  // by ring, in the order of add_ring(): events published and not on disk yet
};

class AuditLog {
 public:
  // Opens or creates, recovers (kill -9, torn writes), starts the writer. Fails where what is there is not a torn tail
  // (tampering).
  [[nodiscard]] static Result<std::unique_ptr<AuditLog>> open(const LogOptions& options);
  virtual ~AuditLog() = default;  // stops the writer: drains every ring, trims and seals the segment

  // A ring for one producer thread. Valid until the AuditLog goes; call before the producer starts.
  [[nodiscard]] virtual events::EventRing& add_ring(int durable_fd) = 0;
  [[nodiscard]] virtual LogStatus status() const = 0;
  // Waits until everything published so far is durable (bounded). For the control thread's lifecycle events and for
  // tests.
  [[nodiscard]] virtual Status flush(uint32_t timeout_ms) = 0;
};

}  // namespace sluice::audit
