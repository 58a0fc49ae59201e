// Reads a whole configuration or policy file, bounded. What cannot be read is a problem with the file's name, never
// half a text.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "policies/rules/problem.h"

namespace sluice::policies {

// Opens a file or directory to be read: a descriptor that the caller closes, or a negated errno. The daemon, which has
// given up root, has another process open what it may not.
using FileOpener = std::function<int(const std::string& path)>;
[[nodiscard]] int open_to_read(const std::string& path);

// Regular files of at most kYamlBytesMax. nullopt with the reason in `problems`. Warns where others may write the file.
[[nodiscard]] std::optional<std::string> read_text_file(const std::string& path, Problems& problems,
                                                        const FileOpener& opener = open_to_read);

}  // namespace sluice::policies
