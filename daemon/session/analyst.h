// How a gate has a text analysed: at once where that is cheap and bounded, else by the analysis threads, whose answer
// comes to the worker later. One per worker.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "daemon/command/analysis_pool.h"

namespace sluice::session {

// A text up to this size is analysed on the worker itself (bytes): a hand-over costs more than the grammar does, and
// the worst text of this size stays within a millisecond and a fraction of the worker's stack.
inline constexpr size_t kInlineTextBytesMax = 512;

// And no more of them within one turn of the worker (bytes): beyond it they go to the analysis threads as well.
inline constexpr size_t kInlineBytesPerTurnMax = 64 * 1024;

class Analyst {
 public:
  virtual ~Analyst() = default;
  // Whether a text of this size would be taken now. Where it would not, its session waits and is resumed later.
  [[nodiscard]] virtual bool has_room(size_t text_bytes) = 0;
  // A value: the answer. nullopt: it comes later, under the job's ticket.
  [[nodiscard]] virtual std::optional<sql::Analysis> analyze(command::AnalysisJob job) = 0;
};

class PoolAnalyst final : public Analyst {
 public:
  // The pool outlives it. REQUIRES: called on a thread with a stack of sql::kAnalysisStackBytes.
  PoolAnalyst(command::AnalysisPool& pool, std::shared_ptr<command::AnalysisMailbox> mailbox)
      : pool_(pool), mailbox_(std::move(mailbox)) {}

  // --- the worker: at the start of a turn, and whether sessions wait for room
  void begin_turn() { inline_bytes_left_ = kInlineBytesPerTurnMax; }
  [[nodiscard]] bool room_wanted() const { return room_wanted_; }
  [[nodiscard]] bool take_room_wanted() { return std::exchange(room_wanted_, false); }

  [[nodiscard]] bool has_room(size_t text_bytes) override {
    const bool room = is_inline(text_bytes) || pool_.has_room(text_bytes);
    room_wanted_ = room_wanted_ || !room;
    return room;
  }
  [[nodiscard]] std::optional<sql::Analysis> analyze(command::AnalysisJob job) override {
    if (is_inline(job.text.size())) {
      inline_bytes_left_ -= job.text.size();
      return sql::analyze(job.text, {job.client_encoding, job.standard_conforming_strings, job.certain});
    }
    return pool_.submit(mailbox_, std::move(job));
  }

 private:
  [[nodiscard]] bool is_inline(size_t text_bytes) const {
    return text_bytes <= std::min(kInlineTextBytesMax, inline_bytes_left_);
  }

  command::AnalysisPool& pool_;
  std::shared_ptr<command::AnalysisMailbox> mailbox_;
  size_t inline_bytes_left_ = kInlineBytesPerTurnMax;
  bool room_wanted_ = false;
};

}  // namespace sluice::session
