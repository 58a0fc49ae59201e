// Reads events back: from segments to the JSON that `sluice events --json` prints, joined with the session's identity
// and the stored texts. Used by the control API and by `sessions show`. Reads files alone; safe beside a running
// writer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "daemon/base/result.h"

namespace sluice::audit {

struct EventQuery {
  int64_t since_ns = INT64_MIN;
  int64_t until_ns = INT64_MAX;
  std::string filter;  // `type=command_blocked and target=payments-* and identity.user=alice and command.text~"cards"`;
                       // empty: all
  uint64_t limit = 0;  // 0: unlimited
  uint64_t from_index = 0;  // for --follow: first index wanted
};

struct QueryResult {
  uint64_t next_index = 0;  // where to go on
  uint64_t matched = 0;
};

// A query that can be gone on with: what `events --follow` and other readers that wait for more hold on to. Keeps its
// place and the sessions and texts of the segment it stands in, so that going on costs what is new. Memory is bounded
// by one segment's sessions and texts (their places, not their bytes). One thread.
class EventStream {
 public:
  [[nodiscard]] static Result<EventStream> open(const std::string& directory, const EventQuery& query);
  ~EventStream();
  EventStream(EventStream&&) noexcept;
  EventStream& operator=(EventStream&&) noexcept;

  // Calls `line` for what is there now, then returns; the next call goes on behind it. Where a failed write made the
  // writer give a segment up, records that were not durable yet are shown again in their new place.
  [[nodiscard]] Result<QueryResult> run(const std::function<bool(std::string_view)>& line);

 private:
  struct State;
  EventStream();
  std::unique_ptr<State> state_;
};

// Calls `line` with one JSON object (no newline) per matching event, in order; stops early where it returns false.
// Errors: a filter that does not parse (message has the position and a hint), a directory that cannot be read.
[[nodiscard]] Result<QueryResult> query_events(const std::string& directory, const EventQuery& query,
                                               const std::function<bool(std::string_view)>& line);

}  // namespace sluice::audit
