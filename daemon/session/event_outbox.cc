#include "daemon/session/event_outbox.h"

namespace sluice::session {

uint64_t EventOutbox::publish(events::EncodedEvent&& event) {
  if (waiting_.empty()) {
    if (const auto sequence = ring_.publish(event); sequence.has_value()) return last_sequence_ = *sequence;
  }
  waiting_.push_back(std::move(event));
  return 0;
}

bool EventOutbox::flush() {
  while (!waiting_.empty()) {
    const auto sequence = ring_.publish(waiting_.front());
    if (!sequence.has_value()) return false;
    last_sequence_ = *sequence;
    waiting_.pop_front();
  }
  return true;
}

}  // namespace sluice::session
