// Every command with its options, as the parser knows them: what shell completion and the manual page are made from
// (scripts/packaging/make_manual.py), so that neither can say anything else than --help does. Pure.
#pragma once

#include <nlohmann/json.hpp>

namespace CLI {
class App;
}

namespace sluice::cli {

// {name, description, footer, options [{names[], value, description}], arguments [{name, description, many}],
//  commands [the same, nested]}
[[nodiscard]] nlohmann::ordered_json describe_commands(const CLI::App& app);

}  // namespace sluice::cli
