// One event as one line for a person. Takes the JSON that event_query.h makes; unknown or missing fields are left out,
// never invented. Pure besides colours.
#pragma once

#include <string>

#include "daemon/cli/context.h"

namespace sluice::cli {

// "2026-11-21T09:30:00.123Z  command_blocked  refused  payments-db  alice /usr/bin/psql[4711]  …"
[[nodiscard]] std::string event_line(const Context& context, const Json& event);

// "alice /usr/bin/psql[4711]" from an identity object; "-" where nothing is known.
[[nodiscard]] std::string describe_process(const Json& identity);

}  // namespace sluice::cli
