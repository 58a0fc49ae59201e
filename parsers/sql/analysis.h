// What a PostgreSQL statement text says: kinds, relations, functions, and how sure that is. Wraps libpg_query (the
// server's own grammar, PostgreSQL 15). Pure; but it recurses, so it must run on a thread with kAnalysisStackBytes of
// stack (daemon/command/analysis_pool.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/sql/lineage.h"

namespace sluice::sql {

inline constexpr size_t kAnalysisStackBytes = 64u << 20;

// Checked by a scan before the grammar sees the text; past one of them the statement is unknown.
struct AnalysisLimits {
  size_t text_bytes_max = 1u << 20;
  size_t tokens_max = 20'000;
  size_t nesting_max = 500;
  size_t statements_max = 1'000;
};

// The session's settings that the reading of a text depends on.
struct TextSettings {
  std::string_view client_encoding = "UTF8";
  bool standard_conforming_strings = true;
  bool certain = true;
};

enum class Kind : uint8_t {  // the policy language's words, docs/policy.md; converted in daemon/command
  select,
  insert,
  update,
  delete_,
  merge,
  truncate,
  copy,
  create,
  alter,
  drop,
  grant,
  revoke,
  call,
  do_,
  explain,
  prepare,
  execute,
  declare,
  fetch,
  set,
  show,
  begin,
  commit,
  rollback,
  savepoint,
  lock,
  vacuum,
  analyze,
  comment,
  listen,
  notify,
  other,
  unknown,
};

struct RelationUse {
  std::string schema;  // empty where not qualified
  std::string name;
  bool reads = false;
  bool writes = false;
};

struct Analysis {
  std::vector<Kind> kinds;  // nested ones included, no repeats; {unknown} where it could not be read
  std::vector<RelationUse> relations;
  std::vector<std::string> functions;  // "schema.name" or "name", folded
  bool kinds_complete = false;
  bool relations_complete = false;
  bool functions_complete = false;
  std::string why_unknown;
  size_t statements = 0;
  bool may_change_settings = true;  // SET, RESET, set_config, DISCARD, DO, CALL, a user function …
  bool depends_on_settings = true;  // backslash or bytes ≥ 0x80 in an encoding where that matters
  bool copies_in = false;           // COPY … FROM STDIN
  bool copies_out = false;          // COPY … TO STDOUT
  bool copies_binary = false;       // a COPY with FORMAT binary
  bool copies_program = false;  // COPY … PROGRAM; also the function "copy_program" ("copy_file" for a server's file)
  std::vector<std::string> prepares;
  std::vector<std::string> executes;
  std::vector<std::string> deallocates;  // "*" for ALL, DISCARD ALL
  std::vector<std::string> declares;     // cursors of DECLARE
  std::vector<std::string> fetches;      // cursors of FETCH and MOVE; what they read was decided at DECLARE
  bool only_executes_open =
      false;        // incomplete, but only because of `executes`: complete once those names are resolved
  Lineage lineage;  // which columns it mentions, and which of its outputs they feed
};

// Total: never throws, never crashes on any bytes; what it cannot read is unknown, with the reason.
[[nodiscard]] Analysis analyze(std::string_view text, const TextSettings& settings, const AnalysisLimits& limits = {});

// A cheap look at the bytes, for the worker thread: must this text wait for in-flight settings?
[[nodiscard]] bool text_depends_on_settings(std::string_view text);

}  // namespace sluice::sql
