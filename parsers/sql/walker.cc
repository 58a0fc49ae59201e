#include "parsers/sql/walker.h"

#include <algorithm>

#include "parsers/sql/builtin.h"

namespace sluice::sql {
namespace {

namespace in = tree::in;
using tree::Field;
using tree::FieldCursor;
using tree::Message;
using tree::Type;

bool letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// May the server see another name than this one? Outside UTF-8 its conversion tables may differ from ours; and a server
// whose own encoding is a single-byte one folds the case of letters outside ASCII (Latin, Greek, Cyrillic, Armenian:
// below U+0590).
bool name_uncertain(std::string_view name, bool exact) {
  for (const char c : name) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte >= 0x80 && !exact) return true;
    if (byte >= 0xc2 && byte <= 0xd6) return true;  // lead bytes of U+0080 … U+05BF
  }
  return false;
}

}  // namespace

void Walker::statement(const Message& node) {
  ctes_.clear();
  visit(node);
}

void Walker::expression(const Message& select) {
  ctes_.clear();
  uncounted_select_ = select.type() == Type::SelectStmt;
  visit(select);
  uncounted_select_ = false;
}

void Walker::add_kind(Kind kind) {
  if (std::find(out_.kinds.begin(), out_.kinds.end(), kind) == out_.kinds.end()) out_.kinds.push_back(kind);
}

void Walker::add_function(std::string_view name) {
  if (function_index_.emplace(name, true).second) out_.functions.emplace_back(name);
}

void Walker::leave_open(Open what, std::string_view why) {
  if (what == Open::all) out_.kinds_complete = out_.functions_complete = false;
  out_.relations_complete = false;
  if (!open_otherwise_) out_.why_unknown = why;
  open_otherwise_ = true;
  out_.only_executes_open = false;
}

void Walker::visit(const Message& node) {
  if (!node.present()) return;
  const Kind kind = kind_of(node.type());
  if (kind != Kind::unknown && !(uncounted_select_ && node.type() == Type::SelectStmt)) add_kind(kind);
  uncounted_select_ = false;
  if (special(node)) return;
  if (kind != Kind::unknown) return special_utility(node) ? void() : utility(node);
  switch (node.type()) {
    case Type::RangeVar:
      return range_var(node, kReads, Cte::may_be);
    case Type::FuncCall:
      return function_call(node);
    case Type::A_Expr:
      operator_named(node, in::a_expr::name);
      break;
    case Type::SubLink:
      operator_named(node, in::sub_link::oper_name);
      break;
    case Type::SortBy:
      operator_named(node, in::sort_by::use_op);
      break;
    case Type::RangeTableSample:
      function_named(node, in::range_table_sample::method);
      break;
    case Type::LockingClause:
      return;  // its names are aliases of what FROM already showed
    case Type::PartitionCmd:
    case Type::IntoClause:
      return utility(node);
    case Type::DefElem:
      if (node.text(in::def_elem::defname) == "set")
        return;  // a function's own SET clause: in force while it runs, not here
      break;
    case Type::PublicationObjSpec:
      if (!node.child(in::publication_obj_spec::pubtable).present()) {
        leave_open(Open::relations, "publishes the relations of a schema");
      }
      break;
    default:
      break;
  }
  children(node);
}

void Walker::children(const Message& node, std::initializer_list<uint32_t> except) {
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    if (field.shape != tree::Shape::message) continue;
    if (std::find(except.begin(), except.end(), field.number) != except.end()) continue;
    visit(field.message().unwrapped());
  }
  damaged_ = damaged_ || cursor.damaged();
}

void Walker::utility(const Message& node, std::initializer_list<uint32_t> except) {
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    if (field.shape != tree::Shape::message) continue;
    if (std::find(except.begin(), except.end(), field.number) != except.end()) continue;
    if (field.type == Type::RangeVar) {
      range_var(field.message(), kWrites, Cte::no);
    } else {
      visit(field.message().unwrapped());
    }
  }
  damaged_ = damaged_ || cursor.damaged();
}

void Walker::range_var(const Message& node, Use use, Cte cte) {
  const std::string_view schema = node.text(in::range_var::schemaname);
  const std::string_view name = node.text(in::range_var::relname);
  if (cte == Cte::may_be && schema.empty() && std::find(ctes_.begin(), ctes_.end(), name) != ctes_.end()) return;
  add_relation(schema, name, use);
}

void Walker::add_relation(std::string_view schema, std::string_view name, Use use) {
  if (name.empty()) return;  // ALTER … on what has no name here
  if (name_uncertain(name, names_exact_) || name_uncertain(schema, names_exact_)) {
    leave_open(Open::relations, "a relation's name outside ASCII, which the server may fold or convert otherwise");
  }
  std::string key;
  key.reserve(schema.size() + 1 + name.size());
  key.append(schema).push_back('\0');
  key.append(name);
  const auto [known, added] = relation_index_.emplace(std::move(key), out_.relations.size());
  if (added) out_.relations.push_back({std::string(schema), std::string(name), false, false});
  RelationUse& relation = out_.relations[known->second];
  relation.reads = relation.reads || use.reads;
  relation.writes = relation.writes || use.writes;
}

void Walker::function_call(const Message& node) {
  function_named(node, in::func_call::funcname);
  children(node, {in::func_call::funcname});
}

void Walker::function_named(const Message& node, uint32_t field_number) {
  // [name], [schema, name] or [catalog, schema, name]
  std::string_view schema, name;
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    if (field.number != field_number) continue;
    schema = name;
    name = field.message().unwrapped().text(in::string::sval);
  }
  std::string full;
  if (!schema.empty()) full.append(schema).push_back('.');
  full.append(name);
  add_function(full);
  switch (reach_of(schema, name)) {
    case Reach::none:
      return;
    case Reach::settings:
      out_.may_change_settings = true;
      return;
    case Reach::relations:
      return leave_open(Open::relations, "calls " + full + ", which reaches what its arguments name");
    case Reach::runs_sql:
      out_.may_change_settings = true;
      return leave_open(Open::all, "calls " + full + ", which runs SQL that it is given");
    case Reach::unknown:
      out_.may_change_settings = true;
      return leave_open(Open::all, "calls " + full + ", a function that is not PostgreSQL's own");
  }
}

void Walker::operator_named(const Message& node, uint32_t field_number) {
  std::string_view schema, name;
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    if (field.number != field_number) continue;
    schema = name;
    name = field.message().unwrapped().text(in::string::sval);
  }
  if (name.empty() || letter(name.front())) return;  // BETWEEN and its like
  if (is_builtin_operator(schema, name)) return;
  out_.may_change_settings = true;
  leave_open(Open::all, "uses the operator " + std::string(name) + ", which is not PostgreSQL's own");
}

// PostgreSQL: without RECURSIVE a CTE sees those before it; with it, all of them.
size_t Walker::enter_with(const Message& with) {
  const size_t mark = ctes_.size();
  if (!with.present()) return mark;
  const bool recursive = with.number(in::with_clause::recursive) != 0;
  Field field;
  if (recursive) {
    FieldCursor names(with);
    while (names.next(field)) {
      if (field.number == in::with_clause::ctes) {
        ctes_.push_back(field.message().unwrapped().text(in::common_table_expr::ctename));
      }
    }
  }
  FieldCursor cursor(with);
  while (cursor.next(field)) {
    if (field.number != in::with_clause::ctes) continue;
    const Message cte = field.message().unwrapped();
    children(cte);
    if (!recursive) ctes_.push_back(cte.text(in::common_table_expr::ctename));
  }
  damaged_ = damaged_ || cursor.damaged();
  return mark;
}

}  // namespace sluice::sql
