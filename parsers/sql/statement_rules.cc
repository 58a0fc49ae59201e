// What single statements mean beyond the nodes that they hold (PostgreSQL 15, SQL Commands).
#include <string>

#include "parsers/sql/walker.h"

namespace sluice::sql {
namespace {

namespace in = tree::in;
namespace pg = tree::pg;
using tree::Field;
using tree::FieldCursor;
using tree::Message;
using tree::Type;

// Objects that are relations themselves …
bool is_relation(uint64_t object) {
  switch (object) {
    case pg::OBJECT_TABLE:
    case pg::OBJECT_VIEW:
    case pg::OBJECT_MATVIEW:
    case pg::OBJECT_SEQUENCE:
    case pg::OBJECT_INDEX:
    case pg::OBJECT_FOREIGN_TABLE:
      return true;
    default:
      return false;
  }
}

// … and those that belong to one, named "relation.object".
bool belongs_to_relation(uint64_t object) {
  switch (object) {
    case pg::OBJECT_COLUMN:
    case pg::OBJECT_TABCONSTRAINT:
    case pg::OBJECT_TRIGGER:
    case pg::OBJECT_POLICY:
    case pg::OBJECT_RULE:
      return true;
    default:
      return false;
  }
}

// Objects that hold relations, which go or change with them.
bool holds_relations(uint64_t object) {
  switch (object) {
    case pg::OBJECT_SCHEMA:
    case pg::OBJECT_DATABASE:
    case pg::OBJECT_EXTENSION:
    case pg::OBJECT_FOREIGN_SERVER:
    case pg::OBJECT_FDW:
      return true;
    default:
      return false;
  }
}

bool equals_ignoring_case(std::string_view a, std::string_view lower) {
  if (a.size() != lower.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    const char c = a[i] >= 'A' && a[i] <= 'Z' ? static_cast<char>(a[i] + ('a' - 'A')) : a[i];
    if (c != lower[i]) return false;
  }
  return true;
}

// The text of a DefElem's argument: a String, or the last name of a TypeName (options may be written either way).
std::string_view argument_text(const Message& element) {
  const Message argument = element.child(in::def_elem::arg);
  if (argument.type() == Type::String) return argument.text(in::string::sval);
  if (argument.type() == Type::TypeName) return argument.last(in::type_name::names).text(in::string::sval);
  return {};
}

}  // namespace

bool Walker::special(const Message& node) {
  switch (node.type()) {
    case Type::SelectStmt:
      select(node);
      return true;
    case Type::InsertStmt:
      insert(node);
      return true;
    case Type::UpdateStmt:
    case Type::DeleteStmt:
      update_or_delete(node);
      return true;
    case Type::MergeStmt:
      merge(node);
      return true;
    case Type::CopyStmt:
      copy(node);
      return true;
    case Type::GrantStmt:
    case Type::GrantRoleStmt:
      grant(node);
      return true;
    case Type::TransactionStmt:
      transaction(node);
      return true;
    case Type::VacuumStmt:
      vacuum(node);
      return true;
    default:
      return false;
  }
}

bool Walker::special_utility(const Message& node) {
  switch (node.type()) {
    case Type::DropStmt:
      drop(node);
      return true;
    case Type::TruncateStmt:
      truncate(node);
      return true;
    case Type::RenameStmt:
      rename(node);
      return true;
    case Type::AlterObjectSchemaStmt:
      set_schema(node);
      return true;
    case Type::CommentStmt:
    case Type::SecLabelStmt:
      commented(node);
      return true;
    case Type::LockStmt:
      relations_in(node, in::lock_stmt::relations, kWrites);
      return true;
    case Type::VariableSetStmt:
    case Type::DiscardStmt:
      set_variable(node);
      return true;
    case Type::AlterRoleSetStmt:
    case Type::AlterDatabaseSetStmt:
    case Type::AlterSystemStmt:
      return true;  // settings of later sessions; the SET inside is not this session's
    case Type::CreateFunctionStmt:
      create_function(node);
      return true;
    case Type::DoStmt:
      do_block(node);
      return true;
    case Type::PrepareStmt:
    case Type::ExecuteStmt:
    case Type::DeallocateStmt:
      prepared(node);
      return true;
    case Type::DeclareCursorStmt:
    case Type::FetchStmt:
      cursor(node);
      return true;
    case Type::CallStmt:
      out_.may_change_settings = true;
      return false;
    case Type::LoadStmt:
      out_.may_change_settings = true;
      leave_open(Open::all, "LOAD runs a library's code");
      return false;
    case Type::CreateExtensionStmt:
    case Type::AlterExtensionStmt:
      out_.may_change_settings = true;
      leave_open(Open::all, "an extension's script runs");
      return false;
    case Type::RefreshMatViewStmt:
      leave_open(Open::relations, "refreshes a view whose query is not in the text");
      return false;
    case Type::DropOwnedStmt:
    case Type::ReassignOwnedStmt:
    case Type::DropdbStmt:
    case Type::AlterTableMoveAllStmt:
    case Type::ImportForeignSchemaStmt:
    case Type::CreateSubscriptionStmt:
    case Type::AlterSubscriptionStmt:
      leave_open(Open::relations, "reaches relations that the text does not name");
      return false;
    case Type::CreatePublicationStmt:
      if (node.number(in::create_publication_stmt::for_all_tables) != 0) {
        leave_open(Open::relations, "publishes relations that the text does not name");
      }
      return false;
    case Type::ClusterStmt:
      if (!node.child(in::cluster_stmt::relation).present()) leave_open(Open::relations, "clusters every relation");
      return false;
    case Type::ReindexStmt:
      if (!node.child(in::reindex_stmt::relation).present())
        leave_open(Open::relations, "reindexes more than one relation");
      return false;
    default:
      return false;
  }
}

// --- reading and writing rows ----------------------------------------------------------------------------------------

void Walker::select(const Message& node) {
  const size_t mark = enter_with(node.child(in::select_stmt::with_clause));
  const Message into = node.child(in::select_stmt::into_clause);
  if (into.present()) {  // SELECT … INTO creates a table
    add_kind(Kind::create);
    range_var(into.child(in::into_clause::rel), kWrites, Cte::no);
  }
  children(node, {in::select_stmt::with_clause, in::select_stmt::into_clause});
  leave_with(mark);
}

void Walker::insert(const Message& node) {
  const size_t mark = enter_with(node.child(in::insert_stmt::with_clause));
  const bool reads =
      node.count(in::insert_stmt::returning_list) > 0 || node.child(in::insert_stmt::on_conflict_clause).present();
  range_var(node.child(in::insert_stmt::relation), {reads, true}, Cte::no);
  const Message source = node.child(in::insert_stmt::select_stmt);
  uncounted_select_ = source.count(in::select_stmt::values_lists) > 0;  // VALUES is no query of its own here
  visit(source);
  uncounted_select_ = false;
  const Message conflict = node.child(in::insert_stmt::on_conflict_clause);
  if (conflict.number(in::on_conflict_clause::action) == pg::ONCONFLICT_UPDATE) add_kind(Kind::update);
  children(node, {in::insert_stmt::with_clause, in::insert_stmt::relation, in::insert_stmt::select_stmt});
  leave_with(mark);
}

void Walker::update_or_delete(const Message& node) {
  const bool update = node.type() == Type::UpdateStmt;
  const uint32_t with = update ? uint32_t{in::update_stmt::with_clause} : uint32_t{in::delete_stmt::with_clause};
  const uint32_t target = update ? uint32_t{in::update_stmt::relation} : uint32_t{in::delete_stmt::relation};
  const size_t mark = enter_with(node.child(with));
  range_var(node.child(target), kBoth, Cte::no);
  children(node, {with, target});
  leave_with(mark);
}

void Walker::merge(const Message& node) {
  const size_t mark = enter_with(node.child(in::merge_stmt::with_clause));
  range_var(node.child(in::merge_stmt::relation), kBoth, Cte::no);
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    if (field.number != in::merge_stmt::merge_when_clauses) continue;
    switch (field.message().unwrapped().number(in::merge_when_clause::command_type)) {
      case pg::CMD_INSERT:
        add_kind(Kind::insert);
        break;
      case pg::CMD_UPDATE:
        add_kind(Kind::update);
        break;
      case pg::CMD_DELETE:
        add_kind(Kind::delete_);
        break;
      default:
        break;  // DO NOTHING
    }
  }
  children(node, {in::merge_stmt::with_clause, in::merge_stmt::relation});
  leave_with(mark);
}

void Walker::copy(const Message& node) {
  const bool in_direction = node.number(in::copy_stmt::is_from) != 0;
  const bool program = node.number(in::copy_stmt::is_program) != 0;
  const bool file = !node.text(in::copy_stmt::filename).empty();
  const Message relation = node.child(in::copy_stmt::relation);
  if (relation.present()) range_var(relation, in_direction ? kWrites : kReads, Cte::no);
  if (program) {
    out_.copies_program = true;
    add_function("copy_program");
    leave_open(Open::all, "COPY runs a program on the server");
  } else if (file) {
    add_function("copy_file");
  } else {
    (in_direction ? out_.copies_in : out_.copies_out) = true;
  }
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    if (field.number != in::copy_stmt::options) continue;
    const Message option = field.message().unwrapped();
    if (option.text(in::def_elem::defname) == "format" && argument_text(option) == "binary") out_.copies_binary = true;
  }
  children(node, {in::copy_stmt::relation});
}

// --- objects ---------------------------------------------------------------------------------------------------------

void Walker::named_relation(const Message& list, size_t dropped, Use use) {
  const Message names = list;
  const uint32_t items = names.type() == Type::TypeName ? uint32_t{in::type_name::names} : uint32_t{in::list::items};
  const size_t total = names.count(items);
  std::string_view schema, name;
  size_t seen = 0;
  FieldCursor cursor(names);
  Field field;
  while (cursor.next(field)) {
    if (field.number != items || seen + dropped >= total) continue;
    ++seen;
    schema = name;
    name = field.message().unwrapped().text(in::string::sval);
  }
  add_relation(schema, name, use);
}

void Walker::relations_in(const Message& node, uint32_t field_number, Use use) {
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    if (field.number != field_number) continue;
    const Message one = field.message().unwrapped();
    if (one.type() == Type::RangeVar) range_var(one, use, Cte::no);
  }
  damaged_ = damaged_ || cursor.damaged();
}

void Walker::drop(const Message& node) {
  const uint64_t type = node.number(in::drop_stmt::remove_type);
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    if (field.number != in::drop_stmt::objects) continue;
    const Message object = field.message().unwrapped();
    if (is_relation(type)) named_relation(object, 0, kWrites);
    if (belongs_to_relation(type)) named_relation(object, 1, kWrites);
  }
  damaged_ = damaged_ || cursor.damaged();
  if (holds_relations(type)) leave_open(Open::relations, "drops what holds relations");
  if (node.number(in::drop_stmt::behavior) == pg::DROP_CASCADE)
    leave_open(Open::relations, "CASCADE drops what depends on it");
}

void Walker::truncate(const Message& node) {
  relations_in(node, in::truncate_stmt::relations, kWrites);
  if (node.number(in::truncate_stmt::behavior) == pg::DROP_CASCADE) {
    leave_open(Open::relations, "CASCADE truncates what refers to it");
  }
}

void Walker::rename(const Message& node) {
  const uint64_t type = node.number(in::rename_stmt::rename_type);
  const Message relation = node.child(in::rename_stmt::relation);
  if (relation.present()) {
    range_var(relation, kWrites, Cte::no);
    if (is_relation(type)) {  // the new name is a relation too: a rule about it must see what is put in its place
      add_relation(relation.text(in::range_var::schemaname), node.text(in::rename_stmt::newname), kWrites);
    }
  }
  if (holds_relations(type)) leave_open(Open::relations, "renames what holds relations");
}

void Walker::set_schema(const Message& node) {
  const Message relation = node.child(in::alter_object_schema_stmt::relation);
  if (relation.present()) {
    range_var(relation, kWrites, Cte::no);
    add_relation(node.text(in::alter_object_schema_stmt::newschema), relation.text(in::range_var::relname), kWrites);
  }
  if (holds_relations(node.number(in::alter_object_schema_stmt::object_type))) {
    leave_open(Open::relations, "moves what holds relations");
  }
}

void Walker::commented(const Message& node) {
  const bool label = node.type() == Type::SecLabelStmt;
  const uint64_t type =
      node.number(label ? uint32_t{in::sec_label_stmt::objtype} : uint32_t{in::comment_stmt::objtype});
  const Message object = node.child(label ? uint32_t{in::sec_label_stmt::object} : uint32_t{in::comment_stmt::object});
  if (is_relation(type)) named_relation(object, 0, kWrites);
  if (belongs_to_relation(type)) named_relation(object, 1, kWrites);
}

void Walker::grant(const Message& node) {
  const bool role = node.type() == Type::GrantRoleStmt;
  const bool gives =
      node.number(role ? uint32_t{in::grant_role_stmt::is_grant} : uint32_t{in::grant_stmt::is_grant}) != 0;
  add_kind(gives ? Kind::grant : Kind::revoke);
  if (role) return;
  if (node.number(in::grant_stmt::targtype) != pg::ACL_TARGET_OBJECT) {
    return leave_open(Open::relations, "covers relations that the text does not name");
  }
  relations_in(node, in::grant_stmt::objects, kWrites);
}

void Walker::vacuum(const Message& node) {
  const bool is_vacuum = node.number(in::vacuum_stmt::is_vacuumcmd) != 0;
  add_kind(is_vacuum ? Kind::vacuum : Kind::analyze);
  bool any = false;
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    const Message part = field.message().unwrapped();
    if (field.number == in::vacuum_stmt::options && part.text(in::def_elem::defname) == "analyze")
      add_kind(Kind::analyze);
    if (field.number != in::vacuum_stmt::rels) continue;
    any = true;
    range_var(part.child(in::vacuum_relation::relation), kWrites, Cte::no);
  }
  damaged_ = damaged_ || cursor.damaged();
  if (!any) leave_open(Open::relations, "covers every relation");
}

// --- session ---------------------------------------------------------------------------------------------------------

void Walker::transaction(const Message& node) {
  switch (node.number(in::transaction_stmt::kind)) {
    case pg::TRANS_STMT_BEGIN:
    case pg::TRANS_STMT_START:
      return add_kind(Kind::begin);
    case pg::TRANS_STMT_SAVEPOINT:
    case pg::TRANS_STMT_RELEASE:
      return add_kind(Kind::savepoint);
    // The end of a transaction takes back what SET LOCAL, or a SET that is rolled back, changed.
    case pg::TRANS_STMT_COMMIT:
      out_.may_change_settings = true;
      return add_kind(Kind::commit);
    case pg::TRANS_STMT_ROLLBACK:
    case pg::TRANS_STMT_ROLLBACK_TO:
      out_.may_change_settings = true;
      return add_kind(Kind::rollback);
    default:
      out_.may_change_settings = true;
      return add_kind(Kind::other);  // two-phase commit, also of other sessions' work
  }
}

void Walker::set_variable(const Message& node) {
  out_.may_change_settings = true;
  if (node.type() == Type::DiscardStmt && node.number(in::discard_stmt::target) == pg::DISCARD_ALL) {
    out_.deallocates.emplace_back("*");
  }
  children(node);
}

void Walker::prepared(const Message& node) {
  switch (node.type()) {
    case Type::PrepareStmt:
      out_.prepares.emplace_back(node.text(in::prepare_stmt::name));
      break;
    case Type::DeallocateStmt: {
      const std::string_view name = node.text(in::deallocate_stmt::name);
      out_.deallocates.emplace_back(name.empty() ? std::string_view("*") : name);
      break;
    }
    default:
      out_.executes.emplace_back(node.text(in::execute_stmt::name));
      out_.may_change_settings = true;
      out_.kinds_complete = out_.relations_complete = out_.functions_complete = false;
      if (!open_otherwise_) {
        out_.only_executes_open = true;
        out_.why_unknown = "executes a prepared statement by name";
      }
  }
  children(node);
}

void Walker::cursor(const Message& node) {
  if (node.type() == Type::DeclareCursorStmt) {
    out_.declares.emplace_back(node.text(in::declare_cursor_stmt::portalname));
  } else {
    out_.fetches.emplace_back(node.text(in::fetch_stmt::portalname));
  }
  children(node);
}

// --- bodies ----------------------------------------------------------------------------------------------------------

void Walker::do_block(const Message& node) {
  std::string_view language = "plpgsql", body;
  size_t bodies = 0;
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    const Message option = field.message().unwrapped();
    if (option.text(in::def_elem::defname) == "language") language = argument_text(option);
    if (option.text(in::def_elem::defname) == "as") {
      body = argument_text(option);
      ++bodies;
    }
  }
  out_.may_change_settings = true;
  if (bodies != 1 || !equals_ignoring_case(language, "plpgsql")) {
    return leave_open(Open::all, "a DO block in a language that cannot be read");
  }
  if (!texts_.body(language, body)) leave_open(Open::all, "a DO block that cannot be read");
}

void Walker::create_function(const Message& node) {
  // Creating is not running, and a call of the function will be unknown; what the standard form (BEGIN ATOMIC, RETURN)
  // shows as part of this statement counts all the same.
  children(node, {in::create_function_stmt::funcname});
}

}  // namespace sluice::sql
