// The line that a person sees while a search goes on. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace sluice::cli {

struct Progress {
  uint64_t files = 0, findings = 0, bytes_read = 0;
  uint64_t bytes_total = 0;  // 0: not known
  uint64_t elapsed_ms = 0;
};

// At most `columns` characters, none of them wider than one.
[[nodiscard]] std::string progress_line(const Progress& progress, size_t columns);

}  // namespace sluice::cli
