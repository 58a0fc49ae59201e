// COPY … TO STDOUT as one stream of values, cut into CopyData messages anywhere. In text and CSV a value is a row,
// which usually is one message that ends in a line feed; in binary it is a field. A value that stands whole in one
// message never comes here. Of one that does not, what may still change is held: the tail that may be the start of a
// card number, or, up to kWholeFieldMax, the whole field, because only a whole field can be read as a number or a
// record. Lifetime: one per machine. Limit: what is held, framing in between included, is at most kHeldMax.
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
  // A larger field is looked at in parts, wherever the borders of its messages are.
  static constexpr size_t kWholeFieldMax = 32 * 1024;

  [[nodiscard]] bool in_row() const { return in_row_; }
  // Something that stands before everything else towards the client is held here.
  [[nodiscard]] bool holding() const { return !raw_.empty(); }
  [[nodiscard]] bool over_limit() const { return raw_.size() > kHeldMax; }

  // Text: the next bytes of a row, behind `framing` (the message header, empty within a message). Sends on what is
  // settled.
  void part(std::span<const uint8_t> framing, std::span<const uint8_t> payload, RowEnd row_end, Actions& actions);
  // Binary: the next bytes of a field of `field_bytes` in all. Sends on what is settled.
  struct FieldPiece {
    std::span<const uint8_t> bytes;
    uint32_t field_bytes = 0;
    bool begins = false;
    bool ends = false;
    policies::NameKind name = policies::NameKind::none;  // what the name of its column says
  };
  void field(const FieldPiece& piece, Actions& actions);
  // Framing, or a message of another kind, between two pieces of this stream, while something is held.
  void between(std::span<const uint8_t> message) { raw_.insert(raw_.end(), message.begin(), message.end()); }
  // The stream ends, or what comes next ends it.
  void finish(Actions& actions);

 private:
  struct Run {  // bytes of the row within raw_
    size_t offset;
    size_t size;
  };
  static constexpr size_t kHeldMax = 256 * 1024;
  static constexpr size_t kPartMin = 4096;  // smaller parts of a large field wait for more

  void hold(std::span<const uint8_t> bytes);
  void scan(policies::ValuePart part, Actions& actions);
  void send_settled(size_t settled, Actions& actions);

  PostgresMasker& masker_;
  ColumnShape shape_{policies::ValueType::copy_row};
  bool in_row_ = false;      // or within a field
  bool in_parts_ = false;    // a part of it has been looked at
  bool wait_whole_ = false;  // it is looked at once it is whole
  size_t fresh_ = 0;         // bytes that came since
  policies::StreamState state_;
  std::vector<uint8_t> raw_;  // the byte stream from the first held byte on
  std::vector<Run> runs_;
  std::vector<uint8_t> value_;  // the bytes of runs_ without what is between
};

}  // namespace sluice::session
