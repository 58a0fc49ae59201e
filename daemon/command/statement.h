// The meaning of a statement text in policy's words: what parsers/sql saw, converted. Parsers and policies never see
// each other; this is the one place that knows both. Used by the session's gate, by `explain` and by replay alike.
// Pure; any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "parsers/sql/analysis.h"
#include "policies/rules/facts.h"

namespace sluice::command {

// The facts of one analysed text. Total: what the analysis left open is incomplete here too.
[[nodiscard]] policies::StatementFacts facts_of(const sql::Analysis& analysis);

// The facts of a text that nobody could analyse (queue full, unknown prepared statement …): everything is unknown.
[[nodiscard]] policies::StatementFacts unknown_facts(std::string_view why);

// A text that runs prepared statements by name (SQL-level EXECUTE) means what those contain. `own` are the facts of the
// text, `executed` those of every name in Analysis::executes, as the session knows them (a null entry: not known). The
// result is complete where all of them are and where EXECUTE was the only thing that left `own` incomplete
// (Analysis::only_executes_open).
enum class OnlyExecutesOpen : bool { no, yes };
[[nodiscard]] policies::StatementFacts with_executed(const policies::StatementFacts& own, OnlyExecutesOpen open,
                                                     std::span<const policies::StatementFacts* const> executed);

}  // namespace sluice::command
