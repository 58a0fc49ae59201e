// The words of the event vocabulary, and back.
#include <algorithm>
#include <array>
#include <cassert>

#include "daemon/events/event_builder.h"

namespace sluice::events {
namespace {

constexpr std::array<std::string_view, kEventTypeCount> kTypeWords = {
    "daemon_started",
    "daemon_stopped",
    "daemon_draining",
    "policy_loaded",
    "policy_rejected",
    "session_started",
    "session_ended",
    "authentication",
    "command_received",
    "command_completed",
    "command_blocked",
    "connect_refused",
    "uncovered_connection",
    "coverage",
    "tamper_warning",
    "control_failure",
    "control_recovery",
    "loss",
    "log_read",
    "protocol_violation",
    "limit_exceeded",
    "session_killed",
    "self_finding",
    "log_recovered",
    "acceleration",
};
static_assert(kTypeWords[kEventTypeCount - 1] == "acceleration");

}  // namespace

std::string_view to_string(EventType type) {
  const auto position = static_cast<size_t>(type);
  assert(position < kTypeWords.size());
  return kTypeWords[position];
}

std::optional<EventType> parse_event_type(std::string_view word) {
  const auto* found = std::find(kTypeWords.begin(), kTypeWords.end(), word);
  if (found == kTypeWords.end()) return std::nullopt;
  return static_cast<EventType>(found - kTypeWords.begin());
}

std::string_view to_string(EventOutcome outcome) {
  switch (outcome) {
    case EventOutcome::success:
      return "success";
    case EventOutcome::failure:
      return "failure";
    case EventOutcome::refused:
      return "refused";
  }
  return "failure";
}

}  // namespace sluice::events
