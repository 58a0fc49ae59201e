// Columns that policy names: `relation.column`, `schema.relation.column` or `column` alone, with globs. In a condition
// they match what a statement reads or writes; in a rule with `then: mask` they say which columns are masked whole,
// wherever their values turn up in a result. Immutable; any thread.
#pragma once

#include <string_view>
#include <vector>

#include "policies/rules/decision.h"
#include "policies/rules/glob.h"

namespace sluice::policies {

struct ColumnPattern {
  Glob schema, relation, column;  // everything where the pattern names none

  // `in_schema` empty: the text did not say which, so that a pattern with a schema may mean it. `in_column` empty: any
  // column of the relation.
  [[nodiscard]] Match match(std::string_view in_schema, std::string_view in_relation, std::string_view in_column) const;
  [[nodiscard]] bool covers(const ColumnPattern& other) const;
};

// What is masked whole in one session, of all rules that match it or may.
struct ColumnMasks {
  enum class Untraceable : uint8_t { mask, block };  // what becomes of results whose origin cannot be told
  enum class Numbers : uint8_t { zero, null };       // what a masked number is

  std::vector<ColumnPattern> patterns;
  Untraceable untraceable = Untraceable::mask;
  Numbers numbers = Numbers::zero;

  // True also where it only may be one of them.
  [[nodiscard]] bool covers(std::string_view schema, std::string_view relation, std::string_view column) const;
};

}  // namespace sluice::policies
