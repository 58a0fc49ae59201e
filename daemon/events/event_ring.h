// The way of an event from a worker to the audit writer: a wait-free single-producer, single-consumer ring of
// preallocated slots. Producer: one worker (or the control thread, which has a ring of its own). Consumer: the audit
// writer. Nothing is dropped: a full ring makes publish() say so, and the session waits. A slot is given back only when
// the writer releases it, which it does when the event is on disk: the ring is the memory from which events are written
// once more when a write failed.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "daemon/events/event_builder.h"

namespace sluice::events {

// Whether the log takes events. `failing`: it cannot be written; no command may be forwarded until it recovers.
enum class LogState : uint8_t { healthy, failing };

// What the writer tells its producers; one per ring.

// An event as it lies in its slot. Valid until the slot is released.
struct EventView {
  std::string_view bytes;
  const StoredTextRef& text;
  EventType type;
  uint64_t session;
  bool context;
};

class EventRing {
 public:
  static constexpr size_t kSlots = 16384;
  static constexpr size_t kInlineBytes = 240;  // larger events take a heap block

  // `durable_fd` (eventfd, owned by the producer; -1 for none) is written by the writer when durability advances while
  // the producer waits for it, and when the state changes.
  explicit EventRing(int durable_fd);
  ~EventRing();
  EventRing(const EventRing&) = delete;
  EventRing& operator=(const EventRing&) = delete;

  // --- producer ---
  // Sequence of the event (from 1), or nullopt where the ring is full; only an event that was taken is moved from.
  [[nodiscard]] std::optional<uint64_t> publish(EncodedEvent& event);
  [[nodiscard]] std::optional<uint64_t> publish(EncodedEvent&& event) { return publish(event); }
  [[nodiscard]] size_t free_slots() const;
  [[nodiscard]] uint64_t durable() const;  // all sequences up to this one are on disk
  [[nodiscard]] LogState state() const;
  // "Tell me through durable_fd when `sequence` is durable": the highest one asked for counts. Also wakes a sleeping
  // writer.
  void request_durable(uint64_t sequence);

  // --- consumer ---
  // The last sequence published; at() may be called for sequences after released() and up to it.
  [[nodiscard]] uint64_t published() const;
  [[nodiscard]] EventView at(uint64_t sequence) const;
  // Gives back the slots of all sequences up to this one.
  void release(uint64_t sequence);
  // Up to `max` events in order, moved out and released. The simple form for tests; the writer uses at() and release().
  size_t drain(std::vector<EncodedEvent>& out, size_t max);
  [[nodiscard]] uint64_t drained() const;
  void mark_durable(uint64_t sequence);  // signals durable_fd where asked for
  void set_state(LogState state);        // signals durable_fd on change
  [[nodiscard]] uint64_t durable_requested() const;
  // The writer's wake-up (eventfd); set once before producers start. A sleeping writer is woken by request_durable()
  // and by a ring that is half full, else by its own timer, so that most events cost no system call.
  void set_writer_fd(int fd);
  void set_writer_sleeping(bool sleeping);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::events
