// COPY … TO STDOUT in text or CSV as one stream of rows. A row usually is one CopyData message that ends in a line
// feed; where it is not (a server or a function cut it elsewhere, or the message is larger than the window), the row is
// a value in parts, and the tail that may be the start of a card number is held until the next bytes or the end of the
// row. Lifetime: one per machine. Limit: what is held, framing in between included, is at most kHeldMax.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "daemon/session/actions.h"
#include "daemon/session/postgres_masker.h"

namespace sluice::session {

class CopyOutStream {
 public:
  explicit CopyOutStream(PostgresMasker& masker) : masker_(masker) {}

  enum class RowEnd : uint8_t { no, yes };

  [[nodiscard]] bool in_row() const { return in_row_; }
  // Something that stands before everything else towards the client is held here.
  [[nodiscard]] bool holding() const { return !raw_.empty(); }
  [[nodiscard]] bool over_limit() const { return raw_.size() > kHeldMax; }

  // The next bytes of a row, behind `framing` (the message header, empty within a message). Sends on what is settled.
  void part(std::span<const uint8_t> framing, std::span<const uint8_t> payload, RowEnd row_end, Actions& actions);
  // A message of another kind between two of this stream, while something is held.
  void between(std::span<const uint8_t> message) { raw_.insert(raw_.end(), message.begin(), message.end()); }
  // The stream ends, or what comes next ends it.
  void finish(Actions& actions);

 private:
  struct Run {  // bytes of the row within raw_
    size_t offset;
    size_t size;
  };
  static constexpr size_t kHeldMax = 32 * 1024;

  void scan(policies::ValuePart part, Actions& actions);
  void send_settled(size_t settled, Actions& actions);

  PostgresMasker& masker_;
  bool in_row_ = false;
  policies::StreamState state_;
  std::vector<uint8_t> raw_;  // the byte stream from the first held byte on
  std::vector<Run> runs_;
  std::vector<uint8_t> value_;  // the bytes of runs_ without what is between
};

}  // namespace sluice::session
