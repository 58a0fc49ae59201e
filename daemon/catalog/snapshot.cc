#include "daemon/catalog/snapshot.h"

#include <algorithm>
#include <set>

#include "parsers/sql/analysis.h"

namespace sluice::catalog {
namespace {

bool is_own_schema(std::string_view schema) {
  return schema == "pg_catalog" || schema == "information_schema";
}

void add_origin(Column& column, const Origin& origin) {
  if (std::find(column.origins.begin(), column.origins.end(), origin) == column.origins.end())
    column.origins.push_back(origin);
}

void add_all(Column& column, const Column& from) {
  for (const Origin& origin : from.origins) add_origin(column, origin);
  column.untraceable = column.untraceable || from.untraceable;
}

}  // namespace

const Column* Relation::column(std::string_view wanted) const {
  const auto found =
      std::find_if(columns.begin(), columns.end(), [&](const Column& column) { return column.name == wanted; });
  return found == columns.end() ? nullptr : &*found;
}

const Column* Relation::attribute(uint16_t number) const {
  const auto found = std::lower_bound(columns.begin(), columns.end(), number,
                                      [](const Column& column, uint16_t value) { return column.attribute < value; });
  return found == columns.end() || found->attribute != number ? nullptr : &*found;
}

// Fills a snapshot: names first, then what is inherited, then views, each after what it is made of.
class SnapshotBuilder {
 public:
  SnapshotBuilder(Snapshot& out, const Rows& rows, FormerNames& former) : out_(out), rows_(rows), former_(former) {}

  void build() {
    take_relations();
    take_columns();
    remember_names();
    for (const auto& [child, parent] : rows_.inherits) parents_.emplace(child, parent);
    for (size_t i = 0; i < rows_.relations.size(); ++i) finish(i);
  }

 private:
  enum class State : uint8_t { open, under_way, done };

  void take_relations() {
    out_.relations_.reserve(rows_.relations.size());  // pointers into it are kept
    for (const Rows::RelationRow& row : rows_.relations) {
      Relation relation;
      relation.oid = row.oid;
      relation.schema = row.schema;
      relation.name = row.name;
      relation.own = !is_own_schema(row.schema);
      index_.emplace(row.oid, out_.relations_.size());
      out_.relations_.push_back(std::move(relation));
    }
    for (const Relation& relation : out_.relations_) {
      out_.oids_.emplace(relation.oid, &relation);
      out_.names_[relation.name].push_back(&relation);
    }
    states_.resize(out_.relations_.size());
  }

  void take_columns() {
    for (const Rows::ColumnRow& row : rows_.columns) {
      const auto found = index_.find(row.relation);
      if (found == index_.end()) continue;  // made between the two queries; the next reading has it
      Column column;
      column.name = row.name;
      column.attribute = row.attribute;
      column.generated = row.generated;
      out_.relations_[found->second].columns.push_back(std::move(column));
    }
    for (Relation& relation : out_.relations_) {
      std::sort(relation.columns.begin(), relation.columns.end(),
                [](const Column& a, const Column& b) { return a.attribute < b.attribute; });
    }
  }

  // A number is never used again in its relation, so it stands for the same column under any name.
  void remember_names() {
    FormerNames kept;
    for (Relation& relation : out_.relations_) {
      for (Column& column : relation.columns) {
        const std::pair<uint32_t, uint16_t> key{relation.oid, column.attribute};
        column.origins.push_back({relation.schema, relation.name, column.name});
        if (const auto before = former_.find(key); before != former_.end()) {
          for (const Origin& origin : before->second) add_origin(column, origin);
        }
        kept.emplace(key, column.origins);
      }
    }
    former_.swap(kept);
  }

  void finish(size_t index) {
    if (states_[index] != State::open) return;
    states_[index] = State::under_way;
    Relation& relation = out_.relations_[index];
    const auto [first, last] = parents_.equal_range(relation.oid);
    for (auto parent = first; parent != last; ++parent) {
      const auto found = index_.find(parent->second);
      if (found == index_.end()) {
        for (Column& column : relation.columns) column.untraceable = true;
        continue;
      }
      finish(found->second);
      for (Column& column : relation.columns) {
        if (const Column* above = out_.relations_[found->second].column(column.name)) add_all(column, *above);
      }
    }
    const char kind = rows_.relations[index].kind;
    if (relation.own && (kind == 'v' || kind == 'm')) look_into_view(relation, rows_.relations[index].definition);
    states_[index] = State::done;
  }

  void look_into_view(Relation& view, const std::string& definition) {
    const sql::Analysis analysis = sql::analyze(definition, {});
    const sql::Lineage& lineage = analysis.lineage;
    const bool fits = lineage.outputs.size() == 1 && lineage.outputs[0].columns.size() == view.columns.size();
    for (size_t i = 0; i < view.columns.size(); ++i) {
      Column& column = view.columns[i];
      if (!fits || lineage.outputs[0].columns[i].form != sql::OutputColumn::Form::value) {
        column.untraceable = true;
        continue;
      }
      const sql::OutputColumn& output = lineage.outputs[0].columns[i];
      column.untraceable = column.untraceable || output.untraceable;
      for (const uint32_t reference : output.references) feed(column, lineage, lineage.references[reference]);
    }
  }

  // pg_get_viewdef() qualifies every relation that the search_path does not show; the reader's shows none.
  void feed(Column& column, const sql::Lineage& lineage, const sql::ColumnReference& reference) {
    bool found = reference.optional;
    for (const uint32_t index : reference.any_of) {
      const sql::ColumnName& name = lineage.names[index];
      for (const Relation* const relation : out_.by_name(name.relation)) {
        if (!name.schema.empty() && relation->schema != name.schema) continue;
        const size_t place = static_cast<size_t>(relation - out_.relations_.data());
        finish(place);
        if (states_[place] == State::under_way) column.untraceable = true;  // a view of itself: cannot be
        if (!relation->own) found = true;
        for (const Column& source : relation->columns) {
          if (!name.column.empty() && source.name != name.column) continue;
          add_all(column, source);
          found = true;
        }
      }
    }
    if (!found) column.untraceable = true;
  }

  Snapshot& out_;
  const Rows& rows_;
  FormerNames& former_;
  std::unordered_map<uint32_t, size_t> index_;
  std::multimap<uint32_t, uint32_t> parents_;
  std::vector<State> states_;
};

std::shared_ptr<const Snapshot> Snapshot::build(const Rows& rows, FormerNames& former) {
  auto snapshot = std::make_shared<Snapshot>();
  SnapshotBuilder(*snapshot, rows, former).build();
  return snapshot;
}

const Relation* Snapshot::by_oid(uint32_t oid) const {
  const auto found = oids_.find(oid);
  return found == oids_.end() ? nullptr : found->second;
}

std::span<const Relation* const> Snapshot::by_name(std::string_view name) const {
  const auto found = names_.find(name);
  if (found == names_.end()) return {};
  return found->second;
}

}  // namespace sluice::catalog
