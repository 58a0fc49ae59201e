#include "parsers/sql/grammar.h"

#include <atomic>
#include <cassert>
#include <cstdint>

// The server's setting of the same name, as libpg_query's scanner reads it; its headers do not declare it.
extern "C" {
// NOLINTNEXTLINE(readability-identifier-naming)
extern __thread bool standard_conforming_strings;
}

namespace sluice::sql {
namespace {

constexpr uint64_t kRefusedBlocksMax = (64u << 20) / 32;

}  // namespace

Parsed::Parsed(const std::string& text, Conforming conforming) {
  standard_conforming_strings = conforming == Conforming::yes;
  result_ = pg_query_parse_protobuf(text.c_str());
}

Parsed::~Parsed() {
  pg_query_free_protobuf_parse_result(result_);
}

tree::Message Parsed::root() const {
  assert(ok());
  return {tree::Type::ParseResult, {result_.parse_tree.data, result_.parse_tree.len}};
}

bool parse_plpgsql(const std::string& do_statement, Conforming conforming, std::string& json) {
  // libpg_query 15-4.0.0 loses 32 bytes on every block that its grammar refuses. So that nobody can send it out of
  // memory, the process stops asking after as many refusals as cost 64 MiB; blocks are unknown from then on.
  static std::atomic<uint64_t> refused{0};
  if (refused.load(std::memory_order_relaxed) > kRefusedBlocksMax) return false;
  standard_conforming_strings = conforming == Conforming::yes;
  const PgQueryPlpgsqlParseResult result = pg_query_parse_plpgsql(do_statement.c_str());
  const bool ok = result.error == nullptr && result.plpgsql_funcs != nullptr;
  if (ok) json = result.plpgsql_funcs;
  if (!ok) refused.fetch_add(1, std::memory_order_relaxed);
  pg_query_free_plpgsql_parse_result(result);
  return ok;
}

}  // namespace sluice::sql
