#include "parsers/sql/builtin.h"

#include <algorithm>
#include <iterator>

namespace sluice::sql {
namespace {

#include "parsers/sql/builtin_names.inc"

struct SideDoor {
  std::string_view prefix;  // every name that begins so
  Reach reach;
};

// PostgreSQL 15 documentation: 9.15.3 (mapping to XML), 9.13 (text search), 9.27 (administration), 35.3/35.4 (large
// objects).
constexpr SideDoor kSideDoors[] = {
    {"query_to_xml", Reach::runs_sql},
    {"ts_stat", Reach::runs_sql},
    {"ts_rewrite", Reach::runs_sql},  // its second form takes a query
    {"cursor_to_xml", Reach::relations},
    {"table_to_xml", Reach::relations},
    {"schema_to_xml", Reach::relations},
    {"database_to_xml", Reach::relations},
    {"lo_", Reach::relations},
    {"loread", Reach::relations},
    {"lowrite", Reach::relations},
    {"pg_read_", Reach::relations},
    {"pg_ls_", Reach::relations},
    {"pg_stat_file", Reach::relations},
    {"pg_logical_slot_", Reach::relations},  // hands out what was written, from the log
    {"binary_upgrade_", Reach::relations},
    {"plpgsql_inline_handler", Reach::runs_sql},
    {"plpgsql_call_handler", Reach::runs_sql},
    {"set_config", Reach::settings},
    {"pg_reload_conf", Reach::settings},
};

template <size_t N>
constexpr bool sorted(const std::string_view (&names)[N]) {
  return std::is_sorted(std::begin(names), std::end(names));
}
static_assert(sorted(kBuiltinFunctions) && sorted(kBuiltinOperators), "looked up by binary search");

template <size_t N>
bool contains(const std::string_view (&names)[N], std::string_view name) {
  return std::binary_search(std::begin(names), std::end(names), name);
}

constexpr std::string_view kInformationSchema = "information_schema.";
constexpr size_t kNameBytesMax = 64;  // NAMEDATALEN

}  // namespace

Reach reach_of(std::string_view schema, std::string_view name) {
  if (schema == "information_schema") {
    char qualified[kInformationSchema.size() + kNameBytesMax];
    if (name.size() > kNameBytesMax) return Reach::unknown;
    char* end = std::copy(kInformationSchema.begin(), kInformationSchema.end(), qualified);
    end = std::copy(name.begin(), name.end(), end);
    return contains(kBuiltinFunctions, {qualified, static_cast<size_t>(end - qualified)}) ? Reach::none
                                                                                          : Reach::unknown;
  }
  if ((!schema.empty() && schema != "pg_catalog") || !contains(kBuiltinFunctions, name)) return Reach::unknown;
  for (const SideDoor& door : kSideDoors) {
    if (name.starts_with(door.prefix)) return door.reach;
  }
  return Reach::none;
}

bool is_builtin_operator(std::string_view schema, std::string_view name) {
  return (schema.empty() || schema == "pg_catalog") && contains(kBuiltinOperators, name);
}

}  // namespace sluice::sql
