// Events of the daemon itself and of control calls: they go through one ring that several threads share under a lock.
// Sessions never come here. Threading: any thread. Lifetime: outlives every caller; the AuditLog outlives it. Limits:
// kWaitingMax events wait for room in the ring; past that they are counted and the count is itself recorded as a loss
// event.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "daemon/audit/audit_log.h"
#include "daemon/base/clock.h"
#include "daemon/base/unique_fd.h"
#include "daemon/events/event_builder.h"
#include "daemon/events/event_ring.h"
#include "policies/cards/card_scanner.h"

namespace sluice {

class Recorder {
 public:
  static constexpr size_t kWaitingMax = 4096;

  [[nodiscard]] static Result<std::unique_ptr<Recorder>> create(audit::AuditLog& log, const Clock& clock);

  // An event of this daemon about `resource`, ready to be added to.
  [[nodiscard]] events::EventBuilder own(events::EventType type, events::EventOutcome outcome,
                                         std::string_view resource) const;
  // An event that somebody at the control socket causes.
  [[nodiscard]] events::EventBuilder of(const events::Actor& actor, events::EventType type,
                                        events::EventOutcome outcome, std::string_view resource) const;

  void publish(events::EventBuilder& event);
  // The same, and waits until it is on disk (bounded); an error where that did not happen.
  [[nodiscard]] Status publish_durably(events::EventBuilder& event);

  // Moves what waits into the ring, where there is room now. Called every second.
  void flush_waiting();
  [[nodiscard]] uint64_t self_findings() const;

 private:
  Recorder(audit::AuditLog& log, const Clock& clock, std::unique_ptr<policies::CardScanner> scanner,
           UniqueFd durable_event);
  void flush_locked();

  audit::AuditLog& log_;
  const Clock& clock_;
  events::Actor self_;
  mutable std::mutex mutex_;  // guards what follows
  std::unique_ptr<policies::CardScanner> scanner_;
  UniqueFd durable_event_;
  events::EventRing& ring_;
  std::deque<events::EncodedEvent> waiting_;
  uint64_t lost_ = 0;
  uint64_t self_findings_ = 0;
};

}  // namespace sluice
