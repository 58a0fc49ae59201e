// What the pump and the worker ask of a session's gate beyond what the machine sees. Tests of the pump script it.
#pragma once

#include <cstdint>
#include <string_view>

#include "daemon/session/actions.h"
#include "daemon/session/gate.h"

namespace sluice::session {

// What a session moved, for its last event.
struct SessionTotals {
  uint64_t bytes_to_client = 0;
  uint64_t bytes_to_server = 0;
};

class SessionGate : public Gate {
 public:
  // The highest event sequence that bytes released so far depend on; never falls; 0 where nothing has to be durable first.
  [[nodiscard]] virtual uint64_t barrier() const = 0;

  // The session is over; called once, last.
  virtual void ended(CloseReason reason, std::string_view detail, const SessionTotals& totals) = 0;
};

}  // namespace sluice::session
