#include "policies/rules/facts.h"

#include <array>
#include <cassert>

namespace sluice::policies {
namespace {

// In the order of StatementKind.
constexpr std::array<std::string_view, kStatementKindCount> kStatementWords = {
    "select",  "insert",  "update", "delete", "merge",  "truncate", "copy",      "create",  "alter",
    "drop",    "grant",   "revoke", "call",   "do",     "explain",  "prepare",   "execute", "declare",
    "fetch",   "set",     "show",   "begin",  "commit", "rollback", "savepoint", "lock",    "vacuum",
    "analyze", "comment", "listen", "notify", "other",  "unknown",
};
static_assert(kStatementWords.back() == "unknown");

}  // namespace

std::string_view to_string(StatementKind kind) {
  const auto index = static_cast<size_t>(kind);
  assert(index < kStatementKindCount);
  return kStatementWords[index];
}

bool parse_statement_kind(std::string_view word, StatementKind& kind) {
  for (size_t i = 0; i < kStatementWords.size(); ++i) {
    if (kStatementWords[i] != word) continue;
    kind = static_cast<StatementKind>(i);
    return true;
  }
  return false;
}

}  // namespace sluice::policies
