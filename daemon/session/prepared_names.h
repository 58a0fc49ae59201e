// What the names of prepared statements may stand for in a session, as far as it showed them: for SQL-level EXECUTE,
// whose text alone says nothing. Whether a PREPARE succeeded, or which of two came last, is the server's knowledge; so
// a name stands for everything that was ever prepared under it, and a name that was not seen stands for nothing known
// (unknown, and so never harmless). Limits: kNamesMax names, kMeaningsMax statements each; past them a name is unknown.
// One session only.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "daemon/session/analysed_statement.h"
#include "policies/rules/facts.h"

namespace sluice::session {

class PreparedNames {
 public:
  static constexpr size_t kNamesMax = 1024;
  static constexpr size_t kMeaningsMax = 8;

  void add(std::string_view name, const AnalysedRef& statement);

  // The facts of a text together with those of everything it may execute.
  [[nodiscard]] policies::StatementFacts facts_with_executed(const AnalysedStatement& statement) const;

 private:
  struct Meanings {
    std::vector<AnalysedRef> statements;
    bool too_many = false;
  };
  void collect(const AnalysedStatement& statement, size_t depth,
               std::vector<const policies::StatementFacts*>& facts) const;

  std::unordered_map<std::string, Meanings> names_;
};

}  // namespace sluice::session
