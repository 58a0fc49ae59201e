// How a gate has a text analysed: at once where that is cheap and bounded, else by the analysis threads, whose answer
// comes to the worker later. One per worker.
#pragma once

#include <memory>
#include <optional>

#include "daemon/command/analysis_pool.h"

namespace sluice::session {

// A text up to this size is analysed on the worker itself (bytes): a hand-over costs more than the grammar does, and
// the worst text of this size stays within a millisecond and a fraction of the worker's stack.
inline constexpr size_t kInlineTextBytesMax = 512;

class Analyst {
 public:
  virtual ~Analyst() = default;
  // A value: the answer. nullopt: it comes later, under the job's ticket.
  [[nodiscard]] virtual std::optional<sql::Analysis> analyze(command::AnalysisJob job) = 0;
};

class PoolAnalyst final : public Analyst {
 public:
  // The pool outlives it. REQUIRES: called on a thread with a stack of sql::kAnalysisStackBytes.
  PoolAnalyst(command::AnalysisPool& pool, std::shared_ptr<command::AnalysisMailbox> mailbox)
      : pool_(pool), mailbox_(std::move(mailbox)) {}

  [[nodiscard]] std::optional<sql::Analysis> analyze(command::AnalysisJob job) override {
    if (job.text.size() <= kInlineTextBytesMax) {
      return sql::analyze(job.text, {job.client_encoding, job.standard_conforming_strings, job.certain});
    }
    return pool_.submit(mailbox_, std::move(job));
  }

 private:
  command::AnalysisPool& pool_;
  std::shared_ptr<command::AnalysisMailbox> mailbox_;
};

}  // namespace sluice::session
