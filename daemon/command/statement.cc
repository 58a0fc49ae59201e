#include "daemon/command/statement.h"

#include <algorithm>

namespace sluice::command {
namespace {

using policies::Access;
using policies::ColumnUse;
using policies::Relation;
using policies::StatementFacts;
using policies::StatementKind;

// The two enums list the same words in the same order; conversion is a cast that these assertions keep honest.
static_assert(static_cast<int>(sql::Kind::select) == static_cast<int>(StatementKind::select));
static_assert(static_cast<int>(sql::Kind::copy) == static_cast<int>(StatementKind::copy));
static_assert(static_cast<int>(sql::Kind::do_) == static_cast<int>(StatementKind::do_));
static_assert(static_cast<int>(sql::Kind::execute) == static_cast<int>(StatementKind::execute));
static_assert(static_cast<int>(sql::Kind::commit) == static_cast<int>(StatementKind::commit));
static_assert(static_cast<int>(sql::Kind::notify) == static_cast<int>(StatementKind::notify));
static_assert(static_cast<int>(sql::Kind::unknown) == static_cast<int>(StatementKind::unknown));

Access access_of(const sql::RelationUse& use) {
  if (use.reads && use.writes) return Access::read_write;
  return use.writes ? Access::write : Access::read;
}

void add_kind(std::vector<StatementKind>& kinds, StatementKind kind) {
  if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) kinds.push_back(kind);
}

Access both(Access a, Access b) {
  return a == b ? a : Access::read_write;
}

void add_relation(std::vector<Relation>& relations, const Relation& more) {
  const auto same = std::find_if(relations.begin(), relations.end(), [&](const Relation& known) {
    return known.schema == more.schema && known.name == more.name;
  });
  if (same == relations.end()) {
    relations.push_back(more);
  } else {
    same->access = both(same->access, more.access);
  }
}

// Repeats are looked for only while that is cheap: they do no harm.
constexpr size_t kRepeatsLookedForMax = 256;

void add_column(std::vector<ColumnUse>& columns, const ColumnUse& more) {
  if (columns.size() > kRepeatsLookedForMax || std::find(columns.begin(), columns.end(), more) == columns.end())
    columns.push_back(more);
}

// Statements that read and write columns by name. Any other (TRUNCATE, ALTER, GRANT …) is about all of what it names.
bool names_columns(sql::Kind kind) {
  switch (kind) {
    case sql::Kind::select:
    case sql::Kind::insert:
    case sql::Kind::update:
    case sql::Kind::delete_:
    case sql::Kind::merge:
    case sql::Kind::copy:
    case sql::Kind::explain:
    case sql::Kind::prepare:
    case sql::Kind::execute:
    case sql::Kind::declare:
    case sql::Kind::fetch:
    case sql::Kind::do_:
      return true;
    default:
      return false;
  }
}

void add_columns(const sql::Analysis& analysis, StatementFacts& facts) {
  const sql::Lineage& lineage = analysis.lineage;
  for (const sql::ColumnReference& reference : lineage.references) {
    const bool certain = reference.any_of.size() == 1 && !reference.optional;
    for (const uint32_t index : reference.any_of) {
      const sql::ColumnName& name = lineage.names[index];
      facts.columns.push_back({name.schema, name.relation, name.column, Access::read, certain});
    }
  }
  for (const uint32_t index : lineage.written) {
    const sql::ColumnName& name = lineage.names[index];
    facts.columns.push_back({name.schema, name.relation, name.column, Access::write, true});
  }
  if (!std::all_of(analysis.kinds.begin(), analysis.kinds.end(), names_columns)) {
    for (const sql::RelationUse& use : analysis.relations) {
      if (use.writes) add_column(facts.columns, {use.schema, use.name, "", Access::write, true});
    }
  }
  facts.columns_complete = lineage.complete;
}

}  // namespace

StatementFacts facts_of(const sql::Analysis& analysis) {
  StatementFacts facts;
  facts.kinds.reserve(analysis.kinds.size());
  for (const sql::Kind kind : analysis.kinds) facts.kinds.push_back(static_cast<StatementKind>(kind));
  facts.relations.reserve(analysis.relations.size());
  for (const sql::RelationUse& use : analysis.relations)
    facts.relations.push_back({use.schema, use.name, access_of(use)});
  facts.functions = analysis.functions;
  add_columns(analysis, facts);
  facts.kinds_complete = analysis.kinds_complete;
  facts.relations_complete = analysis.relations_complete;
  facts.functions_complete = analysis.functions_complete;
  facts.why_unknown = analysis.why_unknown;
  return facts;
}

StatementFacts unknown_facts(std::string_view why) {
  StatementFacts facts;
  facts.kinds.push_back(StatementKind::unknown);
  facts.why_unknown = why;
  return facts;
}

StatementFacts with_executed(const StatementFacts& own, OnlyExecutesOpen open,
                             std::span<const StatementFacts* const> executed) {
  StatementFacts all = own;
  if (open == OnlyExecutesOpen::yes) {
    all.kinds_complete = all.relations_complete = all.functions_complete = all.columns_complete = true;
    all.why_unknown.clear();
  }
  for (const StatementFacts* const one : executed) {
    if (one == nullptr) {
      add_kind(all.kinds, StatementKind::unknown);
      all.kinds_complete = all.relations_complete = all.functions_complete = all.columns_complete = false;
      all.why_unknown = "executes a prepared statement that this session did not show";
      continue;
    }
    for (const StatementKind kind : one->kinds) add_kind(all.kinds, kind);
    for (const Relation& relation : one->relations) add_relation(all.relations, relation);
    for (const std::string& name : one->functions) {
      if (std::find(all.functions.begin(), all.functions.end(), name) == all.functions.end())
        all.functions.push_back(name);
    }
    for (const ColumnUse& use : one->columns) add_column(all.columns, use);
    all.columns_complete = all.columns_complete && one->columns_complete;
    all.kinds_complete = all.kinds_complete && one->kinds_complete;
    all.relations_complete = all.relations_complete && one->relations_complete;
    all.functions_complete = all.functions_complete && one->functions_complete;
    if (all.why_unknown.empty()) all.why_unknown = one->why_unknown;
  }
  return all;
}

}  // namespace sluice::command
