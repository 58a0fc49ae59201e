// What each path of the control API does, without a word of HTTP framing: the server reads requests and writes replies.
//   GET  /v1/status                          one object
//   GET  /v1/sessions                        lines, live sessions
//   GET  /v1/sessions/ID                     one object
//   POST /v1/sessions/ID/kill                needs may_change()
//   GET  /v1/connections                     lines: open connections to targets that go past Sluice
//   POST /v1/connections/end?id=A,B&target&all=1     ends them; needs may_change()
//   POST /v1/reload                          needs may_change()
//   GET  /metrics                            for Prometheus
//   GET  /v1/events?since_ns&until_ns&filter&limit&from_index&follow     lines, streamed
// A refusal is {"error": "a sentence"}. Threading: any control thread; holds no state.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/control/operations.h"
#include "daemon/control/request_target.h"

namespace sluice::control {

struct ControlRequest {
  std::string method;
  RequestTarget target;
  Caller caller;
  bool may_change = false;
};

enum class ReplyForm : uint8_t { json, lines, metrics };

// A whole reply. `body` is JSON, lines of JSON, or metrics.
struct ControlReply {
  unsigned status = 200;
  std::string body;
  ReplyForm form = ReplyForm::json;
};

// Where a streamed reply goes. Every call answers false once nobody reads any more; the stream then ends.
class LineSink {
 public:
  virtual ~LineSink() = default;
  [[nodiscard]] virtual bool line(std::string_view text) = 0;
  [[nodiscard]] virtual bool flush() = 0;  // what was buffered goes out, the reply begins if it has not
  [[nodiscard]] virtual bool pause(std::chrono::milliseconds time) = 0;  // between two looks at the log
};

// How often a following reader looks for new events.
inline constexpr std::chrono::milliseconds kFollowInterval{200};

[[nodiscard]] bool is_stream(const ControlRequest& request);

// For every request that is not a stream.
[[nodiscard]] ControlReply answer(const ControlRequest& request, Operations& operations);

// For a stream. A reply means that nothing was sent yet and this is what to say; an error means that the stream broke
// half-way.
[[nodiscard]] Result<std::optional<ControlReply>> stream(const ControlRequest& request, Operations& operations,
                                                         LineSink& sink);

}  // namespace sluice::control
