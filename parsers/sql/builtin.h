// What PostgreSQL itself brings along: functions, types written like functions, operators of pg_catalog, and which of
// the functions reach further than their name says. A function that is not known here is somebody's own and may do
// anything. Limits: pg_catalog is searched first unless search_path names it later; a session that does so may call
// another function than the one judged here. Names are those of PostgreSQL 15 (builtin_names.inc); a newer server's
// additions count as unknown.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice::sql {

enum class Reach : uint8_t {
  none,       // computes from its arguments
  settings,   // may change how later texts are read
  relations,  // reads or writes relations, files or large objects that its arguments name
  runs_sql,   // runs SQL that it is given
  unknown,    // not PostgreSQL's own
};

// `schema` is empty where the text does not qualify the name; both are folded.
[[nodiscard]] Reach reach_of(std::string_view schema, std::string_view name);

[[nodiscard]] bool is_builtin_operator(std::string_view schema, std::string_view name);

}  // namespace sluice::sql
