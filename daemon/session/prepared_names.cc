#include "daemon/session/prepared_names.h"

#include <algorithm>

#include "daemon/command/statement.h"

namespace sluice::session {
namespace {

// A prepared statement cannot itself be an EXECUTE on the server; one step more than that costs nothing and ends any
// cycle.
constexpr size_t kDepthMax = 2;

}  // namespace

void PreparedNames::add(std::string_view name, const AnalysedRef& statement) {
  if (name.empty()) return;  // SQL cannot name the unnamed statement
  auto found = names_.find(std::string(name));
  if (found == names_.end()) {
    if (names_.size() >= kNamesMax) return;
    found = names_.emplace(name, Meanings{}).first;
  }
  Meanings& meanings = found->second;
  if (std::find(meanings.statements.begin(), meanings.statements.end(), statement) != meanings.statements.end()) return;
  if (meanings.statements.size() >= kMeaningsMax) {
    meanings.too_many = true;
    return;
  }
  meanings.statements.push_back(statement);
}

void PreparedNames::collect(const AnalysedStatement& statement, size_t depth,
                            std::vector<const policies::StatementFacts*>& facts) const {
  for (const std::string& name : statement.executes) {
    const auto found = names_.find(name);
    if (found == names_.end() || found->second.too_many || depth >= kDepthMax) {
      facts.push_back(nullptr);
      continue;
    }
    for (const AnalysedRef& meaning : found->second.statements) {
      facts.push_back(&meaning->facts);
      if (!meaning->executes.empty()) collect(*meaning, depth + 1, facts);
    }
  }
}

policies::StatementFacts PreparedNames::facts_with_executed(const AnalysedStatement& statement) const {
  std::vector<const policies::StatementFacts*> executed;
  collect(statement, 0, executed);
  const auto open = statement.only_executes_open ? command::OnlyExecutesOpen::yes : command::OnlyExecutesOpen::no;
  return command::with_executed(statement.facts, open, executed);
}

}  // namespace sluice::session
