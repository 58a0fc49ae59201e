// A worker's way into its event ring. Nothing is dropped: what finds the ring full waits here, in order, and while
// anything waits no session of the worker reads (back-pressure), so what can pile up is what one step of each session
// makes. Commands ask for room first (has_room), so that an intent is in the ring or its command has not been decided.
// One worker only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include "daemon/events/event_ring.h"

namespace sluice::session {

class EventOutbox {
 public:
  // Slots kept free for the completions and ends of what is under way.
  static constexpr size_t kReservedSlots = 1024;

  explicit EventOutbox(events::EventRing& ring) : ring_(ring) {}

  [[nodiscard]] bool has_room() const { return waiting_.empty() && ring_.free_slots() > kReservedSlots; }
  // A command waits for room; cleared by the worker when it has made the sessions try again.
  void want_room() { room_wanted_ = true; }
  [[nodiscard]] bool take_room_wanted() { return std::exchange(room_wanted_, false); }
  [[nodiscard]] bool room_wanted() const { return room_wanted_; }
  [[nodiscard]] bool congested() const { return !waiting_.empty(); }
  [[nodiscard]] bool log_failing() const { return ring_.state() == events::LogState::failing; }
  [[nodiscard]] uint64_t durable() const { return ring_.durable(); }

  // Its sequence; 0 where it waits for room (its sequence is not known yet).
  uint64_t publish(events::EncodedEvent&& event);

  // Moves what waits into the ring, as far as there is room. True where nothing waits any more.
  bool flush();

  // Asks the writer to tell when `sequence` is on disk.
  void request_durable(uint64_t sequence) { ring_.request_durable(sequence); }
  // Asks it to tell when it has made room: everything published so far is durable then, and its slots are free again.
  void request_room() { ring_.request_durable(last_sequence_); }

 private:
  events::EventRing& ring_;
  std::deque<events::EncodedEvent> waiting_;
  uint64_t last_sequence_ = 0;
  bool room_wanted_ = false;
};

}  // namespace sluice::session
