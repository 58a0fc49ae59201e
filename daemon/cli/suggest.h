// "Did you mean …?" for commands and options. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sluice::cli {

// The word of `known` that `typed` is most likely a slip of; empty where none is near (more than a third of it
// differs).
[[nodiscard]] std::string nearest(std::string_view typed, const std::vector<std::string>& known);

}  // namespace sluice::cli
