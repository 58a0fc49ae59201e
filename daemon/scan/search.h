// Searches files, directories and standard input with a worker per core: one thread walks, the workers search, and what
// they find leaves in the order of the paths. Lifetime: one call.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/scan/file_search.h"
#include "daemon/scan/tree_walk.h"
#include "policies/cards/card_scanner.h"

namespace sluice::scan {

// The name of standard input among paths.
inline constexpr std::string_view kStandardInput = "-";

struct SearchOptions {
  std::vector<std::string> paths;  // in this order; a directory: every regular file below it
  WalkOptions walk;
  FileSearchOptions file;
  unsigned workers = 0;  // 0: one per core that this process may use
  int standard_input = 0;
  uint64_t shown_per_file_max = UINT64_MAX;  // findings beyond that are counted, and said to be there
  int output = -1;  // the descriptor that the report goes to; a file that is the same one is left out
};

// Written by the workers, read by anyone meanwhile.
struct SearchCounts {
  Monitor monitor;
  std::atomic<uint64_t> files{0}, members{0}, bytes{0};
  std::atomic<uint64_t> findings{0}, files_with_findings{0};
  std::atomic<uint64_t> problems{0};  // what could not be read
  std::atomic<uint64_t> links_left{0}, left_out{0}, noted{0};
};

// How findings and messages look; called by many threads. `path` is empty for standard input.
class SearchFormat {
 public:
  virtual ~SearchFormat() = default;
  virtual void hit(std::string& out, std::string_view path, std::string_view member, const TextHit& hit) const = 0;
  virtual void message(std::string& err, std::string_view path, std::string_view member,
                       std::string_view what) const = 0;
};

using MakeScanner = std::function<std::unique_ptr<policies::CardScanner>(std::string& why)>;
using SearchSink = std::function<bool(std::string_view out, std::string_view err)>;
// Now and then while the search goes on, on the calling thread.
using OnProgress = std::function<void()>;

// Errors: no scanner, no thread, the output failed. What could not be read is in `counts`.
[[nodiscard]] Status search(const SearchOptions& options, const SearchFormat& format, const MakeScanner& make_scanner,
                            const SearchSink& sink, const OnProgress& on_progress, SearchCounts& counts);

// Cores that this process may use, at most kWorkersMax.
[[nodiscard]] unsigned default_workers();

}  // namespace sluice::scan
