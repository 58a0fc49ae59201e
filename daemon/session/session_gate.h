// What the pump and the worker ask of a session's gate beyond what the machine sees. Tests of the pump script it.
#pragma once

#include <cstdint>
#include <string_view>

#include "daemon/command/analysis_pool.h"
#include "daemon/events/event_builder.h"
#include "daemon/session/actions.h"
#include "daemon/session/gate.h"

namespace sluice::session {

// What a session moved, for its last event.
struct SessionTotals {
  uint64_t bytes_to_client = 0;
  uint64_t bytes_to_server = 0;
};

// What a gate decided, for lists of sessions.
struct GateTotals {
  uint64_t commands = 0;  // let go and refused
  uint64_t blocked = 0;   // of those, refused
};

class SessionGate : public Gate {
 public:
  // The highest event sequence that bytes released so far depend on; never falls; 0 where nothing has to be durable
  // first.
  [[nodiscard]] virtual uint64_t barrier() const = 0;

  // The analysis of the text that this session waits for. The session is resumed after it.
  virtual void analysed(command::AnalysisAnswer answer) = 0;

  // A command of this session waits within Sluice, so that a cancel request is for it; or none does any more.
  virtual void set_waiting(bool waiting) = 0;
  // Whether a cancel request was handed over that has not been seen to yet. Once for each.
  [[nodiscard]] virtual bool take_cancel() = 0;

  // Who and what the session is, with what the client claims as far as it is known; for lists of sessions.
  [[nodiscard]] virtual const events::SessionInfo& info() const = 0;
  [[nodiscard]] virtual const GateTotals& gate_totals() const = 0;

  // The session is over; called once, last.
  virtual void ended(CloseReason reason, std::string_view detail, const SessionTotals& totals) = 0;
};

}  // namespace sluice::session
