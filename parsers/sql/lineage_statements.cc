// Statements: what each gives back, and what it writes.
#include <algorithm>

#include "parsers/sql/lineage_walker.h"

namespace sluice::sql {
namespace {

namespace in = tree::in;
namespace pg = tree::pg;
using tree::Field;
using tree::FieldCursor;
using tree::Message;
using tree::Type;

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
