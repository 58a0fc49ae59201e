// Queries: what feeds each output of SELECT, VALUES, set operations, WITH and stars.
#include <algorithm>
#include <iterator>

#include "parsers/sql/lineage_walker.h"

namespace sluice::sql {
namespace {

namespace in = tree::in;
using tree::Field;
using tree::FieldCursor;
using tree::Message;
using tree::Type;

// What the server calls an output that has no name of its own (FigureColname): only the certain cases.
std::string name_for(const Message& value) {
  if (value.type() == Type::ColumnRef) {
    const Message last = value.last(in::column_ref::fields);
    return last.type() == Type::String ? std::string(last.text(in::string::sval)) : std::string();
  }
  if (value.type() == Type::FuncCall) return std::string(value.last(in::func_call::funcname).text(in::string::sval));
  return {};
}

bool ends_in_star(const Message& node, uint32_t list) {
  return node.last(list).type() == Type::A_Star;
}

void merge_into(OutputColumn& column, const OutputColumn& more) {
  std::vector<uint32_t> all;
  std::set_union(column.references.begin(), column.references.end(), more.references.begin(), more.references.end(),
                 std::back_inserter(all));
  column.references = std::move(all);
  column.untraceable = column.untraceable || more.untraceable;
}

bool all_values(const std::vector<OutputColumn>& columns) {
  return std::all_of(columns.begin(), columns.end(),
                     [](const OutputColumn& column) { return column.form == OutputColumn::Form::value; });
}

}  // namespace

LineageWalker::Columns LineageWalker::blurred(const Columns& columns) {
  OutputColumn all;
  all.form = OutputColumn::Form::spread;
  for (const OutputColumn& column : columns) merge_into(all, column);
  return {all};
}

LineageWalker::Columns LineageWalker::query(const Message& node, const Scope* outer) {
  switch (node.type()) {
    case Type::SelectStmt:
      return select(node, outer);
    case Type::InsertStmt:
      return insert(node, outer);
    case Type::UpdateStmt:
    case Type::DeleteStmt:
      return update_or_delete(node, outer);
    case Type::MergeStmt:
      merge(node, outer);
      return {};
    default: {
      out_.complete = false;
      OutputColumn any;
      any.form = OutputColumn::Form::spread;
      any.untraceable = true;
      return {any};
    }
  }
}

LineageWalker::Columns LineageWalker::select(const Message& node, const Scope* outer) {
  const size_t mark = enter_with(node.child(in::select_stmt::with_clause), outer);
  Columns columns;
  Scope scope;
  scope.outer = outer;
  const bool is_operation = node.child(in::select_stmt::larg).present();
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    if (field.number == in::select_stmt::from_clause) from_item(field.message().unwrapped(), scope);
  }
  if (is_operation) {
    columns = set_operation(node, outer);
  } else if (node.count(in::select_stmt::values_lists) > 0) {
    columns = values(node, scope);
  } else {
    targets(node, in::select_stmt::target_list, scope, columns);
  }
  // Conditions and order feed nothing, but they read.
  FieldCursor rest(node);
  while (rest.next(field)) {
    switch (field.number) {
      case in::select_stmt::with_clause:
      case in::select_stmt::from_clause:
      case in::select_stmt::into_clause:
      case in::select_stmt::target_list:
      case in::select_stmt::values_lists:
      case in::select_stmt::locking_clause:
      case in::select_stmt::larg:
      case in::select_stmt::rarg:
        break;
      default:
        // ORDER BY of a set operation names its outputs alone.
        if (field.shape == tree::Shape::message && !(is_operation && field.number == in::select_stmt::sort_clause)) {
          expression(field.message().unwrapped(), scope);
        }
    }
  }
  ctes_.resize(mark);
  return columns;
}

LineageWalker::Columns LineageWalker::values(const Message& node, const Scope& scope) {
  Columns columns;
  FieldCursor rows(node);
  Field row;
  while (rows.next(row)) {
    if (row.number != in::select_stmt::values_lists) continue;
    FieldCursor items(row.message().unwrapped());
    Field item;
    size_t at = 0;
    while (items.next(item)) {
      if (item.number != in::list::items) continue;
      const Feed feed = gather(item.message().unwrapped(), scope);
      if (at == columns.size()) {
        columns.emplace_back();
        columns.back().name = "column" + std::to_string(at + 1);
      }
      OutputColumn fed;
      fed.references = feed.references;
      fed.untraceable = feed.untraceable;
      merge_into(columns[at++], fed);
    }
  }
  return columns;
}

LineageWalker::Columns LineageWalker::set_operation(const Message& node, const Scope* outer) {
  Columns left = query(node.child(in::select_stmt::larg), outer);
  const Columns right = query(node.child(in::select_stmt::rarg), outer);
  if (!spend(right.size())) return blurred(left);
  if (left.size() == right.size() && all_values(left) && all_values(right)) {
    for (size_t i = 0; i < left.size(); ++i) merge_into(left[i], right[i]);
    return left;
  }
  left.insert(left.end(), right.begin(), right.end());
  return blurred(left);
}

// A target list or RETURNING.
void LineageWalker::targets(const Message& node, uint32_t list, const Scope& scope, Columns& columns) {
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    if (field.number != list) continue;
    const Message target = field.message().unwrapped();
    const Message value = target.child(in::res_target::val);
    if (value.type() == Type::ColumnRef && ends_in_star(value, in::column_ref::fields)) {
      const size_t names = value.count(in::column_ref::fields) - 1;
      if (names == 0) {
        if (feed_ != nullptr) expression(value, scope);
        star(scope, columns);
        continue;
      }
      std::string_view schema, relation;
      FieldCursor parts_of(value);
      Field part;
      while (parts_of.next(part)) {
        const Message name = part.message().unwrapped();
        if (part.number != in::column_ref::fields || name.type() != Type::String) continue;
        schema = relation;
        relation = name.text(in::string::sval);
      }
      if (feed_ != nullptr) expression(value, scope);
      if (const Range* range = range_named(schema, relation, scope)) {
        star_of(*range, columns);
        continue;
      }
    }
    const Feed feed = gather(value, scope);
    OutputColumn column;
    column.name = target.text(in::res_target::name);
    if (column.name.empty()) column.name = name_for(value);
    const bool spreads = (value.type() == Type::A_Indirection && ends_in_star(value, in::a_indirection::indirection)) ||
                         (value.type() == Type::ColumnRef && ends_in_star(value, in::column_ref::fields));
    if (spreads) column.form = OutputColumn::Form::spread;
    column.references = feed.references;
    column.untraceable = feed.untraceable;
    columns.push_back(std::move(column));
    if (columns.size() > kColumnsMax) {
      columns = blurred(columns);
      columns.front().untraceable = true;
      out_.complete = false;
      return;
    }
  }
}

void LineageWalker::star_of(const Range& range, Columns& columns) {
  if (!range.derived) {
    OutputColumn column;
    column.form = range.renamed ? OutputColumn::Form::spread : OutputColumn::Form::star;
    column.references.push_back(reference_of({{name_of(range.schema, range.relation, "")}, false}));
    column.untraceable = range.untraceable;
    columns.push_back(std::move(column));
    return;
  }
  size_t work = 0;
  for (const OutputColumn& column : range.columns) work += 1 + column.references.size();
  const bool affordable = spend(work) && columns.size() + range.columns.size() <= kColumnsMax;
  if (affordable) {
    columns.insert(columns.end(), range.columns.begin(), range.columns.end());
  } else {
    out_.complete = false;
  }
  if (range.untraceable || !affordable) {
    OutputColumn any;
    any.form = OutputColumn::Form::spread;
    any.untraceable = true;
    columns.push_back(std::move(any));
  }
}

void LineageWalker::star(const Scope& scope, Columns& columns) {
  Columns all;
  for (const Range& range : scope.ranges) star_of(range, all);
  if (!scope.merges) {
    columns.insert(columns.end(), all.begin(), all.end());
    return;
  }
  // Joined columns come first, and once: positions are not known, names are.
  Columns others;
  for (OutputColumn& column : all) {
    (column.form == OutputColumn::Form::star ? columns : others).push_back(std::move(column));
  }
  const Columns rest = blurred(others);
  columns.push_back(rest.front());
}

size_t LineageWalker::enter_with(const Message& with, const Scope* outer) {
  const size_t mark = ctes_.size();
  if (!with.present()) return mark;
  const bool recursive = with.number(in::with_clause::recursive) != 0;
  FieldCursor cursor(with);
  Field field;
  if (recursive) {
    // Any of them may feed any other: what a name stands for is worked out below, and meanwhile adds nothing of its
    // own. All of them end up as everything that any of them mentions.
    while (cursor.next(field)) {
      if (field.number == in::with_clause::ctes)
        ctes_.push_back({field.message().unwrapped().text(in::common_table_expr::ctename), {}});
    }
    OutputColumn any;
    any.form = OutputColumn::Form::spread;
    for (size_t i = mark; i < ctes_.size(); ++i) ctes_[i].columns = {any};
  }
  FieldCursor ctes(with);
  Columns everything;
  while (ctes.next(field)) {
    if (field.number != in::with_clause::ctes) continue;
    const Message cte = field.message().unwrapped();
    Columns columns = query(cte.child(in::common_table_expr::ctequery), outer);
    if (recursive) {
      everything.insert(everything.end(), columns.begin(), columns.end());
      continue;
    }
    size_t at = 0;
    bool placed = true;
    FieldCursor names(cte);
    Field name;
    while (names.next(name)) {
      if (name.number != in::common_table_expr::aliascolnames) continue;
      placed = placed && at < columns.size() && columns[at].form == OutputColumn::Form::value;
      if (placed) columns[at].name = name.message().unwrapped().text(in::string::sval);
      ++at;
    }
    if (!placed) columns = blurred(columns);
    ctes_.push_back({cte.text(in::common_table_expr::ctename), std::move(columns)});
  }
  if (recursive) {
    const Columns all = blurred(everything);
    for (size_t i = mark; i < ctes_.size(); ++i) ctes_[i].columns = all;
  }
  return mark;
}

}  // namespace sluice::sql
