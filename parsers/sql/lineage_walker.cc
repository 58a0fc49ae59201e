#include "parsers/sql/lineage_walker.h"

#include <algorithm>

#include "parsers/sql/builtin.h"

namespace sluice::sql {
namespace {

namespace in = tree::in;
using tree::Field;
using tree::FieldCursor;
using tree::Message;
using tree::Type;

// Relations of the server's own that hold values of other relations' columns, or what other sessions said.
constexpr std::string_view kWindows[] = {"pg_statistic", "pg_stats",           "pg_statistic_ext_data",
                                         "pg_stats_ext", "pg_stats_ext_exprs", "pg_stat_activity"};

bool letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// The last two of a list of String nodes.
struct LastNames {
  std::string_view before, last;
};
LastNames last_names(const Message& node, uint32_t list) {
  LastNames names;
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    if (field.number != list) continue;
    names.before = names.last;
    names.last = field.message().unwrapped().text(in::string::sval);
  }
  return names;
}

}  // namespace

// --- names -----------------------------------------------------------------------------------------------------------

bool LineageWalker::spend(size_t work) {
  work_ += work;
  if (work_ <= kWorkMax) return true;
  out_.complete = false;
  return false;
}

uint32_t LineageWalker::name_of(std::string_view schema, std::string_view relation, std::string_view column) {
  std::string key;
  key.reserve(schema.size() + relation.size() + column.size() + 2);
  key.append(schema).push_back('\0');
  key.append(relation).push_back('\0');
  key.append(column);
  const auto [found, added] = name_index_.emplace(std::move(key), static_cast<uint32_t>(out_.names.size()));
  if (added) out_.names.push_back({std::string(schema), std::string(relation), std::string(column)});
  return found->second;
}

uint32_t LineageWalker::reference_of(ColumnReference reference) {
  std::sort(reference.any_of.begin(), reference.any_of.end());
  std::vector<uint32_t> key = reference.any_of;
  key.push_back(reference.optional ? 1 : 0);
  const auto [found, added] = reference_index_.emplace(std::move(key), static_cast<uint32_t>(out_.references.size()));
  if (added) out_.references.push_back(std::move(reference));
  return found->second;
}

void LineageWalker::mention(uint32_t reference) {
  if (feed_ == nullptr) return;
  if (!spend(1)) return mention_untraceable();
  auto& into = feed_->references;
  const auto at = std::lower_bound(into.begin(), into.end(), reference);
  if (at == into.end() || *at != reference) into.insert(at, reference);
}

void LineageWalker::mention(const OutputColumn& column) {
  for (const uint32_t reference : column.references) mention(reference);
  if (column.untraceable) mention_untraceable();
}

void LineageWalker::mention_whole(const Range& range) {
  if (range.untraceable) mention_untraceable();
  if (!range.derived) return mention(reference_of({{name_of(range.schema, range.relation, "")}, false}));
  for (const OutputColumn& column : range.columns) mention(column);
}

void LineageWalker::mention_untraceable() {
  if (feed_ != nullptr) feed_->untraceable = true;
}

// Whether `range` surely has such a column (then it is mentioned). A relation may have it: added to `open`.
LineageWalker::Found LineageWalker::column_of(const Range& range, std::string_view column, ColumnReference& open) {
  if (range.untraceable) mention_untraceable();
  if (!range.derived) {
    open.any_of.push_back(name_of(range.schema, range.relation, range.renamed ? "" : column));
    return Found::no;
  }
  Found found = Found::no;
  for (const OutputColumn& one : range.columns) {
    if (one.form == OutputColumn::Form::value && !one.name.empty() && one.name != column) continue;
    if (one.form != OutputColumn::Form::star) found = Found::yes;
    if (one.form != OutputColumn::Form::star) {
      mention(one);
      continue;
    }
    if (one.untraceable) mention_untraceable();
    for (const uint32_t reference : one.references) {  // the star of a relation
      for (const uint32_t whole : std::vector<uint32_t>(out_.references[reference].any_of)) {
        const ColumnName name = out_.names[whole];
        open.any_of.push_back(name_of(name.schema, name.relation, name.column.empty() ? column : name.column));
      }
    }
  }
  return found;
}

// An unqualified name: of any entry of any FROM around it. It may also be the name of an entry, and mean its whole row.
void LineageWalker::unqualified(std::string_view column, const Scope& scope) {
  ColumnReference open;
  Found found = Found::no;
  bool any = false;
  for (const Scope* one = &scope; one != nullptr; one = one->outer) {
    for (const Range& range : one->ranges) {
      if (!spend(1 + range.columns.size())) return mention_untraceable();
      any = true;
      if (range.alias == column) {
        mention_whole(range);
        found = Found::yes;
      }
      if (column_of(range, column, open) == Found::yes) found = Found::yes;
    }
  }
  open.optional = found == Found::yes;
  if (!open.any_of.empty()) {
    std::sort(open.any_of.begin(), open.any_of.end());
    open.any_of.erase(std::unique(open.any_of.begin(), open.any_of.end()), open.any_of.end());
    mention(reference_of(std::move(open)));
  } else if (found == Found::no && any) {
    mention_untraceable();  // a system column of a subquery, say: the server would refuse it
  }
}

const LineageWalker::Range* LineageWalker::range_named(std::string_view schema, std::string_view name,
                                                       const Scope& scope) const {
  for (const Scope* one = &scope; one != nullptr; one = one->outer) {
    for (const Range& range : one->ranges) {
      if (range.alias != name) continue;
      if (schema.empty() ||
          (!range.derived && range.relation == name && (range.schema.empty() || range.schema == schema)))
        return &range;
    }
  }
  return nullptr;
}

// `relation.column`; an empty column is the whole row.
void LineageWalker::qualified(std::string_view schema, std::string_view relation, std::string_view column,
                              const Scope& scope) {
  const Range* const range = range_named(schema, relation, scope);
  if (range == nullptr) {
    out_.complete = false;
    return mention_untraceable();
  }
  if (column.empty()) return mention_whole(*range);
  ColumnReference open;
  const Found found = column_of(*range, column, open);
  open.optional = found == Found::yes;
  if (!open.any_of.empty()) {
    mention(reference_of(std::move(open)));
  } else if (found == Found::no) {
    mention_whole(*range);  // a function of the whole row, written as a column
  }
}

void LineageWalker::column_ref(const Message& node, const Scope& scope) {
  std::vector<std::string_view> names;
  bool whole = false;
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    if (field.number != in::column_ref::fields) continue;
    const Message part = field.message().unwrapped();
    if (part.type() == Type::A_Star) {
      whole = true;
    } else {
      names.push_back(part.text(in::string::sval));
    }
  }
  if (whole) names.emplace_back();
  switch (names.size()) {
    case 1:
      if (!whole) return unqualified(names[0], scope);
      for (const Range& range : scope.ranges) mention_whole(range);
      return;
    case 2:
      return qualified({}, names[0], names[1], scope);
    case 3:
      return qualified(names[0], names[1], names[2], scope);
    case 4:  // database.schema.relation.column
      return qualified(names[1], names[2], names[3], scope);
    default:
      out_.complete = false;
      return mention_untraceable();
  }
}

// --- expressions -----------------------------------------------------------------------------------------------------

void LineageWalker::parts(const Message& node, const Scope& scope, uint32_t except_a, uint32_t except_b) {
  FieldCursor cursor(node);
  Field field;
  while (cursor.next(field)) {
    if (field.shape != tree::Shape::message || field.number == except_a || field.number == except_b) continue;
    expression(field.message().unwrapped(), scope);
  }
}

void LineageWalker::expression(const Message& node, const Scope& scope) {
  switch (node.type()) {
    case Type::none:
    case Type::String:
    case Type::TypeName:
    case Type::A_Const:
      return;
    case Type::ColumnRef:
      return column_ref(node, scope);
    case Type::SelectStmt:
    case Type::InsertStmt:
    case Type::UpdateStmt:
    case Type::DeleteStmt:
      for (const OutputColumn& column : query(node, &scope)) mention(column);
      return;
    case Type::FuncCall: {
      const LastNames name = last_names(node, in::func_call::funcname);
      const Reach reach = reach_of(name.before, name.last);
      if (reach != Reach::none && reach != Reach::settings) {
        out_.complete = false;
        mention_untraceable();
      }
      break;
    }
    case Type::A_Expr: {
      const LastNames name = last_names(node, in::a_expr::name);
      if (!name.last.empty() && !letter(name.last.front()) && !is_builtin_operator(name.before, name.last)) {
        out_.complete = false;
        mention_untraceable();
      }
      break;
    }
    default:
      break;
  }
  parts(node, scope);
}

LineageWalker::Feed LineageWalker::gather(const Message& node, const Scope& scope) {
  Feed own;
  Feed* const around = feed_;
  feed_ = &own;
  expression(node, scope);
  feed_ = around;
  if (around != nullptr) {
    for (const uint32_t reference : own.references) mention(reference);
    if (own.untraceable) mention_untraceable();
  }
  return own;
}

// --- FROM ------------------------------------------------------------------------------------------------------------

void LineageWalker::from_item(const Message& node, Scope& scope) {
  switch (node.type()) {
    case Type::none:
      return;
    case Type::RangeVar:
      return relation(node, scope);
    case Type::RangeSubselect:
      return derived(query(node.child(in::range_subselect::subquery), &scope), node.child(in::range_subselect::alias),
                     scope);
    case Type::RangeFunction:
      return function(node, node.child(in::range_function::alias), scope);
    case Type::RangeTableFunc:
      return function(node, node.child(in::range_table_func::alias), scope);
    case Type::RangeTableSample:
      from_item(node.child(in::range_table_sample::relation), scope);
      return parts(node, scope, in::range_table_sample::relation, in::range_table_sample::method);
    case Type::JoinExpr:
      return join(node, scope);
    default: {
      Range opaque;
      opaque.derived = opaque.untraceable = true;
      scope.ranges.push_back(std::move(opaque));
      out_.complete = false;
      return;
    }
  }
}

void LineageWalker::relation(const Message& node, Scope& scope) {
  const std::string_view schema = node.text(in::range_var::schemaname);
  const std::string_view name = node.text(in::range_var::relname);
  const Message alias = node.child(in::range_var::alias);
  if (schema.empty()) {
    for (size_t i = ctes_.size(); i-- > 0;) {
      if (ctes_[i].name != name) continue;
      Columns columns = ctes_[i].columns;
      const size_t before = scope.ranges.size();
      derived(std::move(columns), alias, scope);
      if (!alias.present()) scope.ranges[before].alias = name;
      return;
    }
  }
  written_relation(node, scope);
}

void LineageWalker::written_relation(const Message& node, Scope& scope) {
  const Message alias = node.child(in::range_var::alias);
  Range range;
  range.schema = node.text(in::range_var::schemaname);
  range.relation = node.text(in::range_var::relname);
  range.alias = alias.present() ? alias.text(in::alias::aliasname) : range.relation;
  range.renamed = alias.count(in::alias::colnames) > 0;
  range.untraceable = std::find(std::begin(kWindows), std::end(kWindows), range.relation) != std::end(kWindows);
  scope.ranges.push_back(std::move(range));
}

// A subquery, a CTE or a join with a name of its own.
void LineageWalker::derived(Columns columns, const Message& alias, Scope& scope) {
  if (!spend(columns.size())) columns = blurred(columns);
  Range range;
  range.derived = true;
  range.alias = alias.text(in::alias::aliasname);
  size_t at = 0;
  FieldCursor cursor(alias);
  Field field;
  bool placed = true;  // position in the list is position among the columns
  while (cursor.next(field)) {
    if (field.number != in::alias::colnames) continue;
    placed = placed && at < columns.size() && columns[at].form == OutputColumn::Form::value;
    if (placed) columns[at].name = field.message().unwrapped().text(in::string::sval);
    ++at;
  }
  range.columns = placed ? std::move(columns) : blurred(columns);
  scope.ranges.push_back(std::move(range));
}

// What a function gives is fed by its arguments; of one that is not PostgreSQL's own nothing is known.
void LineageWalker::function(const Message& node, const Message& alias, Scope& scope) {
  const Feed feed = gather(node, scope);
  OutputColumn column;
  column.form = OutputColumn::Form::spread;
  column.references = feed.references;
  column.untraceable = feed.untraceable;
  Range range;
  range.derived = true;
  range.alias = alias.text(in::alias::aliasname);
  if (range.alias.empty() && node.type() == Type::RangeFunction) {
    // Named like the function: [[f(…), columns], …]
    const Message pair = node.child(in::range_function::functions);
    range.alias = last_names(pair.child(in::list::items), in::func_call::funcname).last;
  }
  range.columns.push_back(std::move(column));
  scope.ranges.push_back(std::move(range));
}

void LineageWalker::join(const Message& node, Scope& scope) {
  const size_t before = scope.ranges.size();
  from_item(node.child(in::join_expr::larg), scope);
  from_item(node.child(in::join_expr::rarg), scope);
  const bool using_names = node.count(in::join_expr::using_clause) > 0;
  if (using_names || node.number(in::join_expr::is_natural) != 0) scope.merges = true;
  expression(node.child(in::join_expr::quals), scope);
  const auto named = [&](const Message& alias) {
    if (!alias.present()) return;
    Columns columns;
    for (size_t i = before; i < scope.ranges.size(); ++i) star_of(scope.ranges[i], columns);
    derived(scope.merges || alias.count(in::alias::colnames) > 0 ? blurred(columns) : std::move(columns), alias, scope);
  };
  // The entries inside stay in scope: what they would mean twice is meant by the name of the join as well.
  named(node.child(in::join_expr::join_using_alias));
  const Message alias = node.child(in::join_expr::alias);
  if (!alias.present()) return;
  named(alias);
  // `*` gives the columns once, under the join's own name.
  scope.ranges.erase(scope.ranges.begin() + static_cast<ptrdiff_t>(before), scope.ranges.end() - 1);
}

}  // namespace sluice::sql
