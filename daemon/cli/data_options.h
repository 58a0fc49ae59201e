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
  std::vector<std::string> kinds;     // pan, track (looked for anyway), cvv, iban, email, ssn
  std::vector<std::string> patterns;  // NAME=REGEX
  bool trust_keys = false;            // a key that says what else a number is makes it no card's
};

class DataChoice {
 public:
  // Errors: a kind that there is not, a pattern that cannot be, a name twice.
  [[nodiscard]] static Result<DataChoice> create(const DataOptions& options);
  // Null, with `why` set. `secrets`: where codes and PINs count unless `cvv` is asked for.
  [[nodiscard]] std::unique_ptr<policies::CardScanner> make_scanner(policies::KeyedSecrets secrets,
                                                                    std::string& why) const;

 private:
  bool codes_ = false;
  policies::ForeignKeys keys_ = policies::ForeignKeys::distrusted;
  std::shared_ptr<const policies::DataPatterns> patterns_;  // null: card data alone
};

}  // namespace sluice::cli
