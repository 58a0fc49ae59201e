// A regular expression that is matched in linear time (Hyperscan, block mode), so that no pattern can stall a query.
// What Hyperscan cannot do in linear time (back-references, look-around) is refused when it is compiled. One thread at
// a time.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "daemon/base/result.h"

struct hs_database;
struct hs_scratch;

namespace sluice::audit {

class Pattern {
 public:
  [[nodiscard]] static Result<Pattern> compile(const std::string& expression);
  // Whether it occurs anywhere in `text` (bytes; dot matches newlines too). An internal error counts as a match: a
  // query shows too much rather than too little.
  [[nodiscard]] bool occurs_in(std::string_view text) const;

 private:
  struct FreeDatabase {
    void operator()(hs_database* database) const;
  };
  struct FreeScratch {
    void operator()(hs_scratch* scratch) const;
  };
  std::unique_ptr<hs_database, FreeDatabase> database_;
  std::unique_ptr<hs_scratch, FreeScratch> scratch_;
};

}  // namespace sluice::audit
