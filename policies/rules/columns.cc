#include "policies/rules/columns.h"

#include <algorithm>

namespace sluice::policies {

Match ColumnPattern::match(std::string_view in_schema, std::string_view in_relation, std::string_view in_column) const {
  if (!relation.matches(in_relation)) return Match::no;
  Match match = Match::yes;
  if (!schema.matches_everything()) {
    if (in_schema.empty()) {
      match = Match::maybe;  // the search_path decides, and it is not known here
    } else if (!schema.matches(in_schema)) {
      return Match::no;
    }
  }
  if (in_column.empty()) return column.matches_everything() ? match : Match::maybe;
  return column.matches(in_column) ? match : Match::no;
}

bool ColumnPattern::covers(const ColumnPattern& other) const {
  return schema.covers(other.schema) && relation.covers(other.relation) && column.covers(other.column);
}

bool ColumnMasks::covers(std::string_view schema, std::string_view relation, std::string_view column) const {
  return std::any_of(patterns.begin(), patterns.end(), [&](const ColumnPattern& pattern) {
    return pattern.match(schema, relation, column) != Match::no;
  });
}

}  // namespace sluice::policies
