// Bytes on their way to one peer: what its socket did not take yet, and what must not leave before the log is durable.
// In order, always: whatever is appended goes behind what waits. A mark says "from this byte on only when the log is
// durable up to this sequence" (docs/decisions/0001-durability-as-an-output-barrier.md). Lifetime: one per direction of
// a session, on its worker. Limits: the pump stops reading the other side while bytes wait (kPendingBytesMax), so what
// can pile up is the output of one step more. An empty queue keeps at most kKeptBytes of memory.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "daemon/session/actions.h"

namespace sluice::session {

class OutputQueue {
 public:
  static constexpr size_t kKeptBytes = 1024;

  [[nodiscard]] bool empty() const { return head_ == bytes_.size(); }
  [[nodiscard]] size_t size() const { return bytes_.size() - head_; }

  // Copies the pieces, the first `skip` bytes of them left out (they were sent). `barrier`: 0, or the sequence that
  // they wait for. True where that is a new one, which nothing in the queue waited for before.
  bool append(std::span<const Actions::Piece> pieces, size_t skip, uint64_t barrier);

  // What may leave now, with the log durable up to `durable`.
  [[nodiscard]] std::span<const uint8_t> ready(uint64_t durable);
  void consume(size_t bytes);

  // The first barrier that is still in the way; 0 where none is.
  [[nodiscard]] uint64_t waits_for(uint64_t durable) const;

  // Forgets everything: the bytes will never leave.
  void discard();

 private:
  struct Mark {
    size_t offset;      // into bytes_
    uint64_t sequence;  // rising
  };
  void settle(uint64_t durable);

  std::vector<uint8_t> bytes_;
  size_t head_ = 0;
  std::vector<Mark> marks_;
  size_t first_mark_ = 0;
};

}  // namespace sluice::session
