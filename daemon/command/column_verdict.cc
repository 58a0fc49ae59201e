#include "daemon/command/column_verdict.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace sluice::command {
namespace {

using policies::ColumnUse;

// PostgreSQL documentation, "System Columns".
constexpr std::array<std::string_view, 6> kSystemColumns = {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"};
// Attribute numbers of system columns are negative.
constexpr uint16_t kSystemAttribute = 0x8000;
// Uses added to one statement's facts; past it what is left is unknown.
constexpr size_t kUsesMax = 20'000;

bool is_system_column(std::string_view name) {
  return std::find(kSystemColumns.begin(), kSystemColumns.end(), name) != kSystemColumns.end();
}

// A schema of the server's own; what its relations hold is said elsewhere (pg_stats and its like are untraceable).
bool is_own_schema(std::string_view schema) {
  return schema == "pg_catalog" || schema == "information_schema";
}

// The relation that a star stands for; null where that cannot be told: which of several depends on the search_path.
const catalog::Relation* starred(const sql::Lineage& lineage, const sql::OutputColumn& star,
                                 const catalog::Snapshot* snapshot) {
  if (star.form != sql::OutputColumn::Form::star || snapshot == nullptr || star.references.size() != 1) return nullptr;
  const sql::ColumnReference& reference = lineage.references[star.references.front()];
  if (reference.any_of.size() != 1) return nullptr;
  const sql::ColumnName& name = lineage.names[reference.any_of.front()];
  const catalog::Relation* found = nullptr;
  for (const catalog::Relation* const candidate : snapshot->by_name(name.relation)) {
    if (!name.schema.empty() && candidate->schema != name.schema) continue;
    if (found != nullptr) return nullptr;
    found = candidate;
  }
  return found != nullptr && found->own ? found : nullptr;
}

}  // namespace

ColumnVerdict ColumnResolver::of_column(const catalog::Column& column) const {
  for (const catalog::Origin& origin : column.origins) {
    if (masks_.covers(origin.schema, origin.relation, origin.column)) return ColumnVerdict::masked;
  }
  return column.untraceable ? ColumnVerdict::untraceable : ColumnVerdict::clear;
}

ColumnVerdict ColumnResolver::of_number(const ResultColumn& column) const {
  if (known_.snapshot == nullptr) return ColumnVerdict::untraceable;
  const catalog::Relation* const relation = known_.snapshot->by_oid(column.table_oid);
  if (relation == nullptr) return ColumnVerdict::untraceable;
  if (column.attribute >= kSystemAttribute) return ColumnVerdict::clear;
  const catalog::Column* const found = relation->attribute(column.attribute);
  return found == nullptr ? ColumnVerdict::untraceable : of_column(*found);
}

ColumnResolver::Item ColumnResolver::of_relation(const catalog::Relation& relation, const std::string& column) const {
  if (!relation.own) return {ColumnVerdict::clear, true};
  Item all;
  for (const catalog::Column& one : relation.columns) {
    if (!column.empty() && one.name != column) continue;
    all.known = true;
    all.verdict = std::max(all.verdict, of_column(one));
  }
  if (column.empty()) all.known = true;
  if (!all.known && is_system_column(column)) return {ColumnVerdict::clear, true};
  if (all.known && !known_.names_trusted) all.verdict = std::max(all.verdict, ColumnVerdict::untraceable);
  return all;
}

ColumnResolver::Item ColumnResolver::of_name(const sql::ColumnName& name, const std::string& column) const {
  const bool covered = masks_.covers(name.schema, name.relation, column);
  if (!known_.has_catalog) return {covered ? ColumnVerdict::masked : ColumnVerdict::clear, true};
  if (is_own_schema(name.schema)) return {ColumnVerdict::clear, true};
  Item all;
  bool any = false;
  if (known_.snapshot != nullptr) {
    for (const catalog::Relation* const relation : known_.snapshot->by_name(name.relation)) {
      if (!name.schema.empty() && relation->schema != name.schema) continue;
      any = true;
      const Item one = of_relation(*relation, column);
      all.known = all.known || one.known;
      all.verdict = std::max(all.verdict, one.verdict);
    }
  }
  if (any) return all;
  // A relation that the catalog does not know (yet): made just now, or seen by its own session alone.
  return {covered ? ColumnVerdict::masked : ColumnVerdict::untraceable, true};
}

// `name`: what the server calls the column; empty where it does not say.
ColumnVerdict ColumnResolver::of_output(const sql::Lineage& lineage, const sql::OutputColumn& output,
                                        const std::string& name) const {
  ColumnVerdict verdict = output.untraceable ? ColumnVerdict::untraceable : ColumnVerdict::clear;
  for (const uint32_t index : output.references) {
    const sql::ColumnReference& reference = lineage.references[index];
    bool known = reference.optional;
    for (const uint32_t alternative : reference.any_of) {
      const sql::ColumnName& mentioned = lineage.names[alternative];
      const bool star = output.form == sql::OutputColumn::Form::star && mentioned.column.empty();
      const Item item = of_name(mentioned, star ? name : mentioned.column);
      known = known || item.known;
      verdict = std::max(verdict, item.verdict);
    }
    if (!known) verdict = std::max(verdict, ColumnVerdict::untraceable);
  }
  return verdict;
}

// What stands before the first star is counted from the front, what stands behind the last from the back; in between
// it may be any of them, by name where there is one.
ColumnVerdict ColumnResolver::of_place(const sql::Lineage& lineage, const Columns& outputs, size_t place, size_t places,
                                       const std::string& name) const {
  const auto is_value = [](const sql::OutputColumn& output) { return output.form == sql::OutputColumn::Form::value; };
  const auto first = static_cast<size_t>(std::find_if_not(outputs.begin(), outputs.end(), is_value) - outputs.begin());
  if (first == outputs.size()) {
    return places == outputs.size() ? of_output(lineage, outputs[place], name) : ColumnVerdict::untraceable;
  }
  const auto behind =
      static_cast<size_t>(std::find_if_not(outputs.rbegin(), outputs.rend(), is_value) - outputs.rbegin());
  if (places < first + behind) return ColumnVerdict::untraceable;
  if (place < first) return of_output(lineage, outputs[place], name);
  if (place >= places - behind) return of_output(lineage, outputs[outputs.size() - (places - place)], name);
  ColumnVerdict verdict = ColumnVerdict::clear;
  for (size_t i = first; i < outputs.size() - behind; ++i) {
    const sql::OutputColumn& output = outputs[i];
    const bool other = is_value(output) && !output.name.empty() && !name.empty() && output.name != name;
    // The star of a relation that has no such column: another one has it.
    if (!other) {
      sql::OutputColumn asked = output;
      if (asked.form == sql::OutputColumn::Form::star && !name.empty() && known_.has_catalog) {
        for (const uint32_t reference : asked.references) {
          for (const uint32_t alternative : lineage.references[reference].any_of)
            verdict = std::max(verdict, of_name(lineage.names[alternative], name).verdict);
        }
        asked.references.clear();
      }
      verdict = std::max(verdict, of_output(lineage, asked, name));
    }
  }
  return verdict;
}

ColumnResolver::Columns ColumnResolver::expanded(const sql::Lineage& lineage,
                                                 const sql::StatementOutput& output) const {
  Columns columns;
  for (const sql::OutputColumn& one : output.columns) {
    const bool trusted = known_.names_trusted && !one.untraceable;
    const catalog::Relation* const relation = trusted ? starred(lineage, one, known_.snapshot) : nullptr;
    if (relation == nullptr) {
      columns.push_back(one);
      continue;
    }
    const bool whole_table = output.is_copy && output.columns.size() == 1;
    for (const catalog::Column& column : relation->columns) {
      if (whole_table && column.generated) continue;  // COPY of a table leaves them out, COPY of a query does not
      sql::OutputColumn item;
      item.name = column.name;
      item.untraceable = of_column(column) == ColumnVerdict::untraceable;
      if (of_column(column) == ColumnVerdict::masked) item.references = one.references;
      columns.push_back(std::move(item));
    }
  }
  return columns;
}

std::vector<ColumnVerdict> ColumnResolver::resolve(const sql::Lineage& lineage, const sql::StatementOutput* output,
                                                   std::span<const ResultColumn> columns) const {
  using Source = sql::StatementOutput::Source;
  std::vector<ColumnVerdict> verdicts(columns.size(), ColumnVerdict::clear);
  if (output != nullptr && output->source == Source::none) return verdicts;
  const bool readable = output != nullptr && output->source == Source::columns;
  // COPY says nothing of its columns: then a star is what the catalog says it is.
  Columns outputs;
  if (readable) {
    outputs = output->columns;
    if (output->is_copy) {
      Columns placed = expanded(lineage, *output);
      const bool all_values = std::all_of(placed.begin(), placed.end(), [](const sql::OutputColumn& one) {
        return one.form == sql::OutputColumn::Form::value;
      });
      if (all_values && placed.size() == columns.size()) outputs = std::move(placed);
    }
  }
  for (size_t i = 0; i < columns.size(); ++i) {
    const ResultColumn& column = columns[i];
    const bool numbered = column.table_oid >= catalog::kFirstUserOid && known_.has_catalog;
    if (numbered) {
      verdicts[i] = of_number(column);
      if (verdicts[i] != ColumnVerdict::untraceable || !readable) continue;
      // Unknown by its number; the text may still say that it is a protected one, which is said in the record.
      verdicts[i] = std::max(verdicts[i], of_place(lineage, outputs, i, columns.size(), column.name));
      continue;
    }
    if (column.table_oid != 0 && known_.has_catalog) {  // the server's own, whose names need no looking up
      const auto open = [](const sql::OutputColumn& one) { return one.untraceable; };
      const bool clear = readable && std::none_of(outputs.begin(), outputs.end(), open);
      verdicts[i] = clear ? ColumnVerdict::clear : ColumnVerdict::untraceable;
      continue;
    }
    verdicts[i] = readable ? of_place(lineage, outputs, i, columns.size(), column.name) : ColumnVerdict::untraceable;
  }
  return verdicts;
}

bool ColumnResolver::untraceable(const sql::Lineage& lineage) const {
  const auto open = [&](const sql::StatementOutput& output) {
    using Source = sql::StatementOutput::Source;
    if (output.source == Source::unknown) return true;
    if (output.source != Source::columns) return false;
    return std::any_of(output.columns.begin(), output.columns.end(), [&](const sql::OutputColumn& column) {
      return of_output(lineage, column, {}) == ColumnVerdict::untraceable;
    });
  };
  return lineage.outputs.empty() || std::any_of(lineage.outputs.begin(), lineage.outputs.end(), open) ||
         std::any_of(lineage.named.begin(), lineage.named.end(),
                     [&](const sql::NamedOutput& named) { return open(named.output); });
}

bool ColumnResolver::may_hold(const policies::Relation& relation) const {
  return of_name({relation.schema, relation.name, {}}, {}).verdict != ColumnVerdict::clear;
}

std::optional<std::vector<std::string>> output_names(const sql::Lineage& lineage, const sql::StatementOutput& output,
                                                     const catalog::Snapshot* snapshot, size_t count) {
  for (const bool generated : {false, true}) {  // COPY of a table leaves them out, COPY of a query does not
    std::vector<std::string> names;
    for (const sql::OutputColumn& column : output.columns) {
      if (column.form == sql::OutputColumn::Form::value) {
        names.push_back(column.name);
        continue;
      }
      const catalog::Relation* const relation = starred(lineage, column, snapshot);
      if (relation == nullptr) return std::nullopt;
      for (const catalog::Column& each : relation->columns) {
        if (generated || !each.generated) names.push_back(each.name);
      }
    }
    if (names.size() == count) return names;
  }
  return std::nullopt;
}

policies::StatementFacts with_known_columns(const policies::StatementFacts& facts, const NameKnowledge& known) {
  policies::StatementFacts all = facts;
  const auto leave_open = [&](std::string_view why) {
    all.columns_complete = false;
    if (all.why_unknown.empty()) all.why_unknown = why;
  };
  if (known.snapshot == nullptr) {
    leave_open("the server's catalog cannot be read");
    return all;
  }
  if (!known.names_trusted && !facts.columns.empty()) leave_open("relations or columns may just have been renamed");
  const auto add = [&](const catalog::Column& column, const ColumnUse& use) {
    for (const catalog::Origin& origin : column.origins) {
      if (all.columns.size() >= kUsesMax) return leave_open("it names more columns than can be looked up");
      const bool same = origin.relation == use.relation && origin.column == use.column && origin.schema == use.schema;
      if (!same) all.columns.push_back({origin.schema, origin.relation, origin.column, use.access, false});
    }
    if (column.untraceable) leave_open("a view that cannot be followed");
  };
  for (const ColumnUse& use : facts.columns) {
    for (const catalog::Relation* const relation : known.snapshot->by_name(use.relation)) {
      if (!relation->own || (!use.schema.empty() && relation->schema != use.schema)) continue;
      for (const catalog::Column& column : relation->columns) {
        if (use.column.empty() || column.name == use.column) add(column, use);
      }
    }
  }
  return all;
}

}  // namespace sluice::command
