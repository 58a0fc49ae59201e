// Problems as people and as programs read them. Values of files can hold anything, so what could steer a terminal is
// replaced. Threading: none.
#pragma once

#include <string>

#include "policies/rules/problem.h"

namespace sluice::config {

// One per problem, file by file and from top to bottom: "file:line:column: error: message", and below it "  hint: …"
// where there is one. A problem of the whole file has neither line nor column.
[[nodiscard]] std::string format_text(const policies::Problems& problems);

// The same as JSON lines: {"file":…,"line":…,"column":…,"severity":"error"|"warning","message":…,"hint":…}; line and
// column 0: whole file.
[[nodiscard]] std::string format_json(const policies::Problems& problems);

}  // namespace sluice::config
