// A problem in a configuration or policy file, with the place a person can jump to. All problems of a file are
// collected and shown together; a file with one never replaces a running configuration.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::policies {

enum class Severity : uint8_t { error, warning };

struct Problem {
  std::string file;
  uint32_t line = 0;    // from 1; 0 where the problem is of the whole file
  uint32_t column = 0;  // from 1
  Severity severity = Severity::error;
  std::string message;  // what is wrong
  std::string hint;     // how to mend it; may be empty ("did you mean `addresses`?")
};

using Problems = std::vector<Problem>;

}  // namespace sluice::policies
