// The commands that a client sent and the server has not answered yet, in order: what each backend message is matched
// against. Lifetime: entries live from forwarding to their last answer. Limit: kPipelineMax; beyond it the client
// waits.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "daemon/session/gate.h"
#include "daemon/session/postgres_types.h"

namespace sluice::session {

inline constexpr size_t kPipelineMax = 32 * 1024;

// Columns of a result, as described; kept where policy names columns.
struct DescribedColumns {
  std::vector<command::ResultColumn> columns;
  uint64_t epoch = 0;  // Gate::columns_epoch() when they came
  bool planned = false;
  ColumnPlanRef plan;  // once planned
};
using DescribedRef = std::shared_ptr<DescribedColumns>;

// A prepared statement. The text is not kept, only what was made of it.
struct Prepared {
  StatementRef statement;                 // null: its text was never seen
  std::vector<uint32_t> parameter_types;  // declared or described; 0 where open
  bool columns_known = false;             // `columns` is what the server said (none: it returns no rows)
  ShapeRef columns;                       // all text
  ShapeRef columns_binary;                // the same in binary; made when first needed
  uint64_t described_in = 0;              // segment of a Describe in flight; 0: none
  DescribedRef described;
};
using PreparedRef = std::shared_ptr<Prepared>;

struct Portal {
  PreparedRef prepared;  // null: unknown
  postgres::ResultFormats formats;
  ShapeRef shape;  // once known
  DescribedRef described;
  uint64_t bound_in = 0;  // segment of its Bind
  uint64_t described_in = 0;
  uint64_t executions_seen = 0;  // the session's count of executions up to which the portal is surely still this one
  CommandId command = 0;         // of its Bind, until an Execute takes it over or ReadyForQuery ends it
};
using PortalRef = std::shared_ptr<Portal>;

// What was refused, and what stands in for it.
struct StandIn {
  std::string message;
  std::string sqlstate;
  std::string token;  // the random name in it: must never reach the client
  bool cancels_copy = false;
};

enum class PendingKind : uint8_t {
  query,
  parse,
  bind,
  describe_statement,
  describe_portal,
  execute,
  close_statement,
  close_portal,
  function_call,
  sync,
};

struct Pending {
  PendingKind kind = PendingKind::sync;
  bool injected = false;  // a Describe of ours: its answer is swallowed
  bool changes_settings = false;
  bool may_copy_in = false;
  bool reads_result = false;  // RowDescription has come (query), or ParameterDescription (describe_statement)
  bool copying_out = false;
  bool failed = false;
  bool clears_statements = false;                                                  // DEALLOCATE ALL
  postgres::ResultFormats::Rule result = postgres::ResultFormats::Rule::all_text;  // function_call
  char error_code[6] = {};
  uint64_t segment = 0;
  CommandId command = 0;  // 0: nothing to complete
  uint64_t rows = 0;
  uint64_t bytes = 0;
  std::string name;  // of a statement or portal
  PreparedRef prepared;
  PortalRef portal;
  StatementRef statement;                    // query
  size_t statements_ended = 0;               // query: of its text
  std::vector<std::string> statement_names;  // that its SQL makes or takes away
  std::unique_ptr<StandIn> stand_in;

  [[nodiscard]] bool ends_segment() const {
    return kind == PendingKind::sync || kind == PendingKind::query || kind == PendingKind::function_call;
  }
};

}  // namespace sluice::session
