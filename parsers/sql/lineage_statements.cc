// Queries and statements: what each gives back, and what it writes.
#include <algorithm>
#include <iterator>

#include "parsers/sql/lineage_walker.h"

namespace sluice::sql {
namespace {

namespace in = tree::in;
namespace pg = tree::pg;
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

bool changes_names(const Message& node) {
  switch (node.type()) {
    case Type::AlterExtensionStmt:
    case Type::AlterObjectSchemaStmt:
    case Type::AlterTableStmt:
    case Type::CreateExtensionStmt:
    case Type::CreateForeignTableStmt:
    case Type::CreateSchemaStmt:
    case Type::CreateStmt:
    case Type::CreateTableAsStmt:
    case Type::DropOwnedStmt:
    case Type::DropStmt:
    case Type::ImportForeignSchemaStmt:
    case Type::RenameStmt:
    case Type::RuleStmt:
    case Type::ViewStmt:
      return true;
    case Type::SelectStmt:
      return node.child(in::select_stmt::into_clause).present();
    default:
      return false;
  }
}

}  // namespace

LineageWalker::Columns LineageWalker::blurred(const Columns& columns) {
  OutputColumn all;
  all.form = OutputColumn::Form::spread;
  for (const OutputColumn& column : columns) merge_into(all, column);
  return {all};
}

void LineageWalker::statement(const Message& node) {
  out_.outputs.push_back(output_of(node));
}

void LineageWalker::inner_statement(const Message& node) {
  (void)output_of(node);
}

StatementOutput LineageWalker::output_of(const Message& node) {
  ctes_.clear();
  StatementOutput output;
  out_.changes_names = out_.changes_names || changes_names(node);
  const Scope nothing;
  const auto named = [&](NamedOutput::What what, std::string_view name, uint32_t field) {
    NamedOutput one;
    one.what = what;
    one.name = name;
    one.output.source = StatementOutput::Source::columns;
    one.output.columns = query(node.child(field), nullptr);
    out_.named.push_back(std::move(one));
  };
  switch (node.type()) {
    case Type::SelectStmt:
    case Type::InsertStmt:
    case Type::UpdateStmt:
    case Type::DeleteStmt:
    case Type::MergeStmt:
      output.source = StatementOutput::Source::columns;
      output.columns = query(node, nullptr);
      break;
    case Type::CopyStmt:
      copy(node, output);
      break;
    case Type::PrepareStmt:
      named(NamedOutput::What::prepared, node.text(in::prepare_stmt::name), in::prepare_stmt::query);
      break;
    case Type::DeclareCursorStmt:
      named(NamedOutput::What::cursor, node.text(in::declare_cursor_stmt::portalname), in::declare_cursor_stmt::query);
      break;
    case Type::ExecuteStmt:
      output.source = StatementOutput::Source::executed;
      output.name = node.text(in::execute_stmt::name);
      break;
    case Type::FetchStmt:
      output.source = StatementOutput::Source::fetched;
      output.name = node.text(in::fetch_stmt::portalname);
      break;
    case Type::CallStmt:
      output.source = StatementOutput::Source::unknown;
      parts(node, nothing);
      break;
    case Type::ExplainStmt:
    case Type::CreateTableAsStmt:
    case Type::ViewStmt: {
      const uint32_t field = node.type() == Type::ExplainStmt         ? uint32_t{in::explain_stmt::query}
                             : node.type() == Type::CreateTableAsStmt ? uint32_t{in::create_table_as_stmt::query}
                                                                      : uint32_t{in::view_stmt::query};
      const Message inner = node.child(field);
      if (inner.type() != Type::ExecuteStmt) (void)output_of(inner);
      break;
    }
    default:
      break;
  }
  return output;
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

// --- SELECT ----------------------------------------------------------------------------------------------------------

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

// --- writing ---------------------------------------------------------------------------------------------------------

void LineageWalker::write(const Message& target, std::string_view column) {
  const uint32_t name = name_of(target.text(in::range_var::schemaname), target.text(in::range_var::relname), column);
  if (std::find(out_.written.begin(), out_.written.end(), name) == out_.written.end()) out_.written.push_back(name);
}

void LineageWalker::write_all(const Message& target) {
  write(target, {});
}

// `SET column = …`, the columns of INSERT: ResTargets whose name is what is written.
void LineageWalker::assigned(const Message& node, uint32_t list, const Message& target, const Scope& scope) {
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    if (field.number != list) continue;
    const Message one = field.message().unwrapped();
    write(target, one.text(in::res_target::name));
    parts(one, scope);
  }
}

LineageWalker::Columns LineageWalker::insert(const Message& node, const Scope* outer) {
  const size_t mark = enter_with(node.child(in::insert_stmt::with_clause), outer);
  const Message target = node.child(in::insert_stmt::relation);
  Scope scope;
  scope.outer = outer;
  written_relation(target, scope);
  assigned(node, in::insert_stmt::cols, target, scope);
  if (node.count(in::insert_stmt::cols) == 0) write_all(target);
  if (const Message source = node.child(in::insert_stmt::select_stmt); source.present()) (void)query(source, outer);
  if (const Message conflict = node.child(in::insert_stmt::on_conflict_clause); conflict.present()) {
    Scope with_excluded = scope;
    written_relation(target, with_excluded);
    with_excluded.ranges.back().alias = "excluded";
    assigned(conflict, in::on_conflict_clause::target_list, target, with_excluded);
    parts(conflict, with_excluded, in::on_conflict_clause::target_list);
  }
  Columns columns;
  targets(node, in::insert_stmt::returning_list, scope, columns);
  ctes_.resize(mark);
  return columns;
}

LineageWalker::Columns LineageWalker::update_or_delete(const Message& node, const Scope* outer) {
  const bool update = node.type() == Type::UpdateStmt;
  const size_t mark = enter_with(
      node.child(update ? uint32_t{in::update_stmt::with_clause} : uint32_t{in::delete_stmt::with_clause}), outer);
  const Message target = node.child(update ? uint32_t{in::update_stmt::relation} : uint32_t{in::delete_stmt::relation});
  const uint32_t more = update ? uint32_t{in::update_stmt::from_clause} : uint32_t{in::delete_stmt::using_clause};
  Scope scope;
  scope.outer = outer;
  written_relation(target, scope);
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    if (field.number == more) from_item(field.message().unwrapped(), scope);
  }
  if (update) {
    assigned(node, in::update_stmt::target_list, target, scope);
  } else {
    write_all(target);
  }
  expression(node.child(update ? uint32_t{in::update_stmt::where_clause} : uint32_t{in::delete_stmt::where_clause}),
             scope);
  Columns columns;
  targets(node, update ? uint32_t{in::update_stmt::returning_list} : uint32_t{in::delete_stmt::returning_list}, scope,
          columns);
  ctes_.resize(mark);
  return columns;
}

void LineageWalker::merge(const Message& node, const Scope* outer) {
  const size_t mark = enter_with(node.child(in::merge_stmt::with_clause), outer);
  const Message target = node.child(in::merge_stmt::relation);
  Scope scope;
  scope.outer = outer;
  written_relation(target, scope);
  from_item(node.child(in::merge_stmt::source_relation), scope);
  expression(node.child(in::merge_stmt::join_condition), scope);
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    if (field.number != in::merge_stmt::merge_when_clauses) continue;
    const Message clause = field.message().unwrapped();
    assigned(clause, in::merge_when_clause::target_list, target, scope);
    parts(clause, scope, in::merge_when_clause::target_list);
    const uint64_t command = clause.number(in::merge_when_clause::command_type);
    const bool inserts_all = command == pg::CMD_INSERT && clause.count(in::merge_when_clause::target_list) == 0;
    if (inserts_all || command == pg::CMD_DELETE) write_all(target);
  }
  ctes_.resize(mark);
}

// --- COPY ------------------------------------------------------------------------------------------------------------

namespace {

// The text of an option's value, however it was written.
std::string_view option_text(const Message& option) {
  const Message argument = option.child(in::def_elem::arg);
  if (argument.type() == Type::String) return argument.text(in::string::sval);
  if (argument.type() == Type::TypeName) return argument.last(in::type_name::names).text(in::string::sval);
  return {};
}

void one_character(std::string_view text, char& into, bool& certain) {
  if (text.size() == 1) {
    into = text.front();
  } else {
    certain = false;
  }
}

CopyFormat copy_format(const Message& node) {
  CopyFormat format;
  bool delimiter = false, escape = false;
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    if (field.number != in::copy_stmt::options) continue;
    const Message option = field.message().unwrapped();
    const std::string_view name = option.text(in::def_elem::defname);
    const std::string_view text = option_text(option);
    if (name == "format") {
      format.kind = text == "csv"      ? CopyFormat::Kind::csv
                    : text == "binary" ? CopyFormat::Kind::binary
                                       : CopyFormat::Kind::text;
      format.certain = format.certain && (text == "csv" || text == "binary" || text == "text");
    } else if (name == "delimiter") {
      delimiter = true;
      one_character(text, format.delimiter, format.certain);
    } else if (name == "quote") {
      one_character(text, format.quote, format.certain);
      if (!escape) format.escape = format.quote;
    } else if (name == "escape") {
      escape = true;
      one_character(text, format.escape, format.certain);
    }
  }
  if (!delimiter && format.kind == CopyFormat::Kind::csv) format.delimiter = ',';
  return format;
}

}  // namespace

void LineageWalker::copy(const Message& node, StatementOutput& output) {
  const bool from = node.number(in::copy_stmt::is_from) != 0;
  const Message target = node.child(in::copy_stmt::relation);
  Scope scope;
  if (target.present()) written_relation(target, scope);
  if (from) {
    expression(node.child(in::copy_stmt::where_clause), scope);
    FieldCursor cursor(node);
    Field field;
    while (cursor.next(field)) {
      if (field.number == in::copy_stmt::attlist) write(target, field.message().unwrapped().text(in::string::sval));
    }
    if (node.count(in::copy_stmt::attlist) == 0) write_all(target);
    return;
  }
  // Several COPY of one text in different formats: what does not fit is not masked as one of them, but all of it.
  const CopyFormat format = copy_format(node);
  const bool first =
      std::none_of(out_.outputs.begin(), out_.outputs.end(), [](const StatementOutput& one) { return one.is_copy; });
  if (first) {
    out_.copy = format;
  } else if (!(format == out_.copy)) {
    out_.copy.certain = false;
  }
  output.is_copy = true;
  output.source = StatementOutput::Source::columns;
  if (const Message query_node = node.child(in::copy_stmt::query); query_node.present()) {
    output.columns = query(query_node, nullptr);
    return;
  }
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    if (field.number != in::copy_stmt::attlist) continue;
    OutputColumn column;
    column.name = field.message().unwrapped().text(in::string::sval);
    column.references.push_back(
        reference_of({{name_of(scope.ranges.front().schema, scope.ranges.front().relation, column.name)}, false}));
    column.untraceable = scope.ranges.front().untraceable;
    output.columns.push_back(std::move(column));
  }
  if (output.columns.empty()) star_of(scope.ranges.front(), output.columns);
}

}  // namespace sluice::sql
