// A statement as the gates of a worker keep it: what the machine sees, and what the record needs besides.
// Lifetime: immutable, shared; every StatementRef that a gate is given back is one of these, for only gates make them.
#pragma once

#include <memory>
#include <string_view>

#include "daemon/events/event_builder.h"
#include "daemon/session/gate.h"
#include "parsers/sql/analysis.h"
#include "policies/cards/card_scanner.h"

namespace sluice::session {

struct AnalysedStatement final : Statement {
  events::StoredTextRef stored;     // the masked text as the log keeps it
  bool only_executes_open = false;  // incomplete, but complete once the names in `executes` are resolved
};
using AnalysedRef = std::shared_ptr<const AnalysedStatement>;

// Puts together what the analysis found and the masked text. `text` is as sent; nothing of it is kept unmasked.
[[nodiscard]] AnalysedRef make_statement(std::string_view text, sql::Analysis analysis, policies::CardScanner& scanner);

}  // namespace sluice::session
