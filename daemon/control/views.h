// The JSON of the control API, which is also what `--json` prints: snake_case names, RFC 3339 times in UTC with
// nanoseconds. Scripts rely on it (docs/operate.md): names are added, never changed. Pure functions.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "daemon/control/operations.h"

namespace sluice::control {

using Json = nlohmann::ordered_json;  // fields in the order in which a person wants to read them

[[nodiscard]] Json to_json(const StatusView& view);
[[nodiscard]] Json to_json(const SessionView& view);
[[nodiscard]] Json to_json(const UncoveredView& view);
[[nodiscard]] Json to_json(const EndResult& result);
[[nodiscard]] Json to_json(const ReloadResult& result);
[[nodiscard]] Json to_json(const policies::Problem& problem);

// One line, no newline. Bytes that are not UTF-8 become U+FFFD: a client can put anything into a name.
[[nodiscard]] std::string to_line(const Json& json);

}  // namespace sluice::control
