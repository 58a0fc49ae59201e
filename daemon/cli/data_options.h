// What `--data` and `--pattern` of `sluice mask` and `sluice scan` ask for besides card data. Immutable after create();
// make_scanner() from any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "policies/cards/card_scanner.h"
#include "policies/cards/data_patterns.h"

namespace sluice::cli {

struct DataOptions {
  std::vector<std::string> kinds;     // pan, cvv, track (looked for anyway), iban, email, ssn
  std::vector<std::string> patterns;  // NAME=REGEX
};

class DataChoice {
 public:
  // Errors: a kind that there is not, a pattern that cannot be, a name twice.
  [[nodiscard]] static Result<DataChoice> create(const DataOptions& options);
  // Null, with `why` set.
  [[nodiscard]] std::unique_ptr<policies::CardScanner> make_scanner(std::string& why) const;

 private:
  std::shared_ptr<const policies::DataPatterns> patterns_;  // null: card data alone
};

}  // namespace sluice::cli
