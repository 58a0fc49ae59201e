#include "daemon/command/function_call.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>

namespace sluice::command {
namespace {

using policies::Access;
using policies::StatementFacts;
using policies::StatementKind;

enum class Touches : uint8_t { large_objects, server_files_too };

struct KnownFunction {
  uint32_t oid;
  std::string_view name;
  Touches touches;
};

constexpr KnownFunction kKnown[] = {
    {715, "pg_catalog.lo_create", Touches::large_objects},
    {764, "pg_catalog.lo_import", Touches::server_files_too},
    {765, "pg_catalog.lo_export", Touches::server_files_too},
    {767, "pg_catalog.lo_import", Touches::server_files_too},
    {952, "pg_catalog.lo_open", Touches::large_objects},
    {953, "pg_catalog.lo_close", Touches::large_objects},
    {954, "pg_catalog.loread", Touches::large_objects},
    {955, "pg_catalog.lowrite", Touches::large_objects},
    {956, "pg_catalog.lo_lseek", Touches::large_objects},
    {957, "pg_catalog.lo_creat", Touches::large_objects},
    {958, "pg_catalog.lo_tell", Touches::large_objects},
    {964, "pg_catalog.lo_unlink", Touches::large_objects},
    {1004, "pg_catalog.lo_truncate", Touches::large_objects},
    {3170, "pg_catalog.lo_lseek64", Touches::large_objects},
    {3171, "pg_catalog.lo_tell64", Touches::large_objects},
    {3172, "pg_catalog.lo_truncate64", Touches::large_objects},
    {3457, "pg_catalog.lo_from_bytea", Touches::large_objects},
    {3458, "pg_catalog.lo_get", Touches::large_objects},
    {3459, "pg_catalog.lo_get", Touches::large_objects},
    {3460, "pg_catalog.lo_put", Touches::large_objects},
};
static_assert(std::is_sorted(std::begin(kKnown), std::end(kKnown),
                             [](const KnownFunction& a, const KnownFunction& b) { return a.oid < b.oid; }),
              "looked up by binary search");

}  // namespace

StatementFacts function_call_facts(uint32_t function_oid) {
  StatementFacts facts;
  facts.kinds = {StatementKind::call};
  const auto* const known =
      std::lower_bound(std::begin(kKnown), std::end(kKnown), function_oid,
                       [](const KnownFunction& function, uint32_t oid) { return function.oid < oid; });
  if (known == std::end(kKnown) || known->oid != function_oid) {
    facts.why_unknown = "function " + std::to_string(function_oid) + " is called by its number";
    return facts;
  }
  facts.kinds_complete = true;
  facts.functions = {std::string(known->name)};
  facts.functions_complete = true;
  facts.relations = {{"pg_catalog", "pg_largeobject", Access::read_write},
                     {"pg_catalog", "pg_largeobject_metadata", Access::read_write}};
  facts.relations_complete = facts.columns_complete = known->touches == Touches::large_objects;
  if (!facts.relations_complete) facts.why_unknown = std::string(known->name) + " reads or writes files of the server";
  return facts;
}

}  // namespace sluice::command
