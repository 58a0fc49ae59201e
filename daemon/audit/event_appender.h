// Turns events into records: the event itself, before it the statement text where this segment does not have it yet,
// and the session's context where this segment does not have that yet. So every segment can be read on its own, and
// whole segments can be removed when their time is over. Used by the audit writer alone; not thread safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "daemon/audit/segment_store.h"
#include "daemon/events/event_ring.h"

namespace sluice::audit {

// Texts of a segment that are remembered as stored; beyond it all are forgotten, and a text may be stored twice.
inline constexpr size_t kTextsRememberedMax = 65536;
// Sessions whose context is remembered. Beyond it a session's events in later segments are shown without identity.
inline constexpr size_t kSessionsRememberedMax = 1 << 20;

class EventAppender {
 public:
  explicit EventAppender(SegmentStore& store) : store_(store) {}

  // Bytes that appending this event takes at most.
  [[nodiscard]] uint64_t bytes_needed(const events::EventView& event) const;
  // REQUIRES: the store is active. Appends the event and what it refers to.
  void append(const events::EventView& event);
  // What was appended is durable: sessions that ended can be forgotten.
  void committed();

 private:
  struct Session {
    uint64_t index = 0;       // of the event that carries the context
    uint64_t generation = 0;  // of the segment that has it last
    std::string event;
  };

  void begin_segment_if_new();
  void append_context(const events::EventView& event);

  SegmentStore& store_;
  uint64_t generation_ = 0;
  std::unordered_set<std::string> texts_;  // by hash; SHA-256 needs no further hashing, but this is not what costs time
  std::unordered_map<uint64_t, Session> sessions_;
  std::vector<uint64_t> ended_;
};

}  // namespace sluice::audit
