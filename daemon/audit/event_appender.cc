#include "daemon/audit/event_appender.h"

#include <cassert>

namespace sluice::audit {

static_assert(events::kTextBytesMax + kHashBytes + 1 <= kRecordBytesMax);
static_assert(2 * events::kEventBytesMax <= kRecordBytesMax);

uint64_t EventAppender::bytes_needed(const events::EventView& event) const {
  constexpr uint64_t kContextBytesUsual = 512;
  uint64_t bytes = kRecordHeaderBytes + 1 + event.bytes.size();
  if (event.text != nullptr) bytes += kRecordHeaderBytes + 1 + kHashBytes + event.text->masked.size();
  if (event.session != 0) bytes += kContextBytesUsual;
  return bytes;
}

void EventAppender::begin_segment_if_new() {
  if (generation_ == store_.generation()) return;
  generation_ = store_.generation();
  texts_.clear();
}

void EventAppender::append_context(const events::EventView& event) {
  const auto found = sessions_.find(event.session);
  if (found == sessions_.end() || found->second.generation == generation_) return;
  std::string index;
  append_u64(index, found->second.index);
  store_.append(RecordKind::context, index, found->second.event);
  found->second.generation = generation_;
}

void EventAppender::append(const events::EventView& event) {
  begin_segment_if_new();
  if (event.text != nullptr) {
    if (texts_.size() >= kTextsRememberedMax) texts_.clear();
    if (texts_.insert(event.text->sha256).second)
      store_.append(RecordKind::text, event.text->sha256, event.text->masked);
  }
  if (event.session != 0 && !event.context) append_context(event);
  const uint64_t index = store_.append(RecordKind::event, event.bytes);
  if (event.session == 0) return;
  if (event.context && (sessions_.size() < kSessionsRememberedMax || sessions_.contains(event.session))) {
    sessions_[event.session] = {index, generation_, std::string(event.bytes)};
  }
  if (event.type == events::EventType::session_ended) ended_.push_back(event.session);
}

void EventAppender::committed() {
  for (const uint64_t session : ended_) sessions_.erase(session);
  ended_.clear();
}

}  // namespace sluice::audit
