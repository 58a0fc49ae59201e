// An event as a reader sees it: what is stored, joined with the context of its session and the text of its statement.
// Borrows all of them. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/audit/filter.h"
#include "daemon/events/event.pb.h"

namespace sluice::audit {

struct EventRecord {
  uint64_t index = 0;
  const events::Event* event = nullptr;
  const events::Event* context =
      nullptr;  // the event with the session's identity and origin; may be `event`; null: unknown
  bool has_text = false;
  std::string_view text;  // masked; of a command whose text is known
};

// One JSON object as docs/events.md describes it; appended to `out`.
void append_json(const EventRecord& record, std::string& out);
// A JSON string with its quotes. What is not UTF-8 becomes U+FFFD; control characters of every kind are escaped, so
// that a terminal never sees them.
void append_json_string(std::string_view text, std::string& out);
// The 16 hex digits of a session, or its own name where it has another form.
[[nodiscard]] std::string session_id(const events::Event& event, const events::Event* context);

class EventSubject final : public FilterSubject {
 public:
  // `load_text` is called when a filter asks for the text, at most once per event.
  EventSubject(EventRecord& record, const std::function<void(EventRecord&)>& load_text)
      : record_(record), load_text_(load_text) {}
  void values(FilterKey key, std::vector<std::string_view>& out) const override;

 private:
  std::string_view keep(std::string text) const;

  EventRecord& record_;
  const std::function<void(EventRecord&)>& load_text_;
  mutable std::vector<std::unique_ptr<std::string>> kept_;
};

}  // namespace sluice::audit
