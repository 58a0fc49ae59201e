// A statement as the gates of a worker keep it: what the machine sees, and what the record needs besides.
// Lifetime: immutable, shared; every StatementRef that a gate is given back is one of these, for only gates make them.
#pragma once

#include <memory>

#include "daemon/command/masked_text.h"
#include "daemon/events/event_builder.h"
#include "daemon/session/gate.h"
#include "parsers/sql/analysis.h"

namespace sluice::session {

struct AnalysedStatement final : Statement {
  uint64_t serial = 0;                                    // of this process; no two statements share one
  events::StoredTextRef stored;                           // the masked text as the log keeps it
  policies::NameKind secrets = policies::NameKind::none;  // what its bind values may be
  sql::Lineage lineage;                                   // which columns feed which outputs
  bool only_executes_open = false;  // incomplete, but complete once the names in `executes` are resolved
};
using AnalysedRef = std::shared_ptr<const AnalysedStatement>;

// Puts together what the analysis found and the masked text.
[[nodiscard]] AnalysedRef make_statement(command::MaskedText masked, sql::Analysis analysis);

}  // namespace sluice::session
