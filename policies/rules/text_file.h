// Reads a whole configuration or policy file, bounded. What cannot be read is a problem with the file's name, never
// half a text.
#pragma once

#include <optional>
#include <string>

#include "policies/rules/problem.h"

namespace sluice::policies {

// Regular files of at most kYamlBytesMax. nullopt with the reason in `problems`. Warns where others may write the file.
[[nodiscard]] std::optional<std::string> read_text_file(const std::string& path, Problems& problems);

}  // namespace sluice::policies
