// What a function called by its number (PostgreSQL's FunctionCall message) does, in policy's words. Drivers use that
// message for large objects and for little else, so the functions of large objects are known here; of any other number
// nothing is known. The numbers are those of PostgreSQL's pg_proc.dat: fixed, the same in every version, and never
// given to another function (numbers below 10000 are assigned by hand, see PostgreSQL documentation, "System Catalog
// Initial Data"). Pure; any thread.
#pragma once

#include <cstdint>

#include "policies/rules/facts.h"

namespace sluice::command {

[[nodiscard]] policies::StatementFacts function_call_facts(uint32_t function_oid);

}  // namespace sluice::command
