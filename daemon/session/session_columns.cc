#include "daemon/session/session_columns.h"

#include <algorithm>
#include <array>

namespace sluice::session {

using command::ColumnVerdict;

namespace {

constexpr std::string_view kUntraceable =
    "blocked: where its results come from cannot be told, and policy masks columns of this server";

// Classes of SQLSTATE whose messages quote names and positions, never values of rows (PostgreSQL documentation,
// appendix A).
constexpr std::array<std::string_view, 17> kQuoteNoValues = {"08", "0A", "25", "26", "28", "2D", "34", "3B", "3D",
                                                             "3F", "40", "42", "53", "54", "55", "57", "58"};

bool quotes_no_values(std::string_view sqlstate) {
  return std::find(kQuoteNoValues.begin(), kQuoteNoValues.end(), sqlstate.substr(0, 2)) != kQuoteNoValues.end();
}

// Violated constraints quote rows. One that comes from a statement that names no relation (COMMIT, SET CONSTRAINTS) was
// deferred.
bool is_constraint(std::string_view sqlstate) {
  return sqlstate.starts_with("23");
}

bool runs_other_code(const policies::StatementFacts& facts) {
  const auto runs = [](policies::StatementKind kind) {
    return kind == policies::StatementKind::do_ || kind == policies::StatementKind::call;
  };
  return !facts.kinds_complete || std::any_of(facts.kinds.begin(), facts.kinds.end(), runs);
}

// Did a function or a trigger say it, which may quote whatever it read? PostgreSQL's languages all say so with a line
// of their own (PL/pgSQL, SQL …; code in C does not). What the server says of its own places begins as below; where it
// says it otherwise, in another language perhaps, it is taken for a function.
bool comes_from_other_code(std::string_view context) {
  constexpr std::string_view kServersOwn[] = {"COPY ", "JSON "};
  while (!context.empty()) {
    const std::string_view line = context.substr(0, context.find('\n'));
    const auto begins_line = [line](std::string_view own) { return line.starts_with(own); };
    if (std::none_of(std::begin(kServersOwn), std::end(kServersOwn), begins_line)) return true;
    context.remove_prefix(std::min(line.size() + 1, context.size()));
  }
  return false;
}

}  // namespace

SessionColumns::SessionColumns(std::shared_ptr<catalog::Catalog> catalog, bool uncommitted)
    : catalog_(std::move(catalog)), uncommitted_(uncommitted && catalog_ != nullptr) {
  note_change();
}

SessionColumns::~SessionColumns() {
  if (changing_) catalog_->end_change(catalog::Catalog::Changed::yes);
}

void SessionColumns::set_masks(std::shared_ptr<const policies::ColumnMasks> masks, bool rules_name_columns) {
  masks_ = std::move(masks);
  rules_name_columns_ = rules_name_columns;
  ++policy_count_;
}

uint64_t SessionColumns::epoch() const {
  const uint64_t known = catalog_ != nullptr ? catalog_->epoch() : 0;
  return (known << 24) + (policy_count_ << 1) + (uncommitted_ ? 1 : 0) + 1;
}

bool SessionColumns::must_wait() const {
  return catalog_ != nullptr && (masks_ != nullptr || rules_name_columns_) && !uncommitted_ && catalog_->reading();
}

SessionColumns::Knowing SessionColumns::knowing() const {
  Knowing now;
  now.names.has_catalog = catalog_ != nullptr;
  if (catalog_ == nullptr) return now;
  catalog::Knowledge known = catalog_->current();
  now.snapshot = std::move(known.snapshot);
  now.names.snapshot = now.snapshot.get();
  now.names.names_trusted = known.fresh && !uncommitted_;
  return now;
}

std::shared_ptr<const policies::StatementFacts> SessionColumns::facts_for(const policies::StatementFacts& facts,
                                                                          uint64_t serial) {
  if (!rules_name_columns_ || catalog_ == nullptr || facts.columns.empty()) return nullptr;
  const uint64_t now = epoch();
  if (facts_epoch_ != now || facts_.size() >= kFactsKeptMax) facts_.clear();
  facts_epoch_ = now;
  auto& kept = facts_[serial];
  if (kept == nullptr || serial == 0) {
    const Knowing known = knowing();
    kept = std::make_shared<policies::StatementFacts>(command::with_known_columns(facts, known.names));
  }
  return kept;
}

std::string_view SessionColumns::refusal(const AnalysedStatement* statement) {
  if (masks_ == nullptr || masks_->untraceable != policies::ColumnMasks::Untraceable::block) return {};
  if (statement == nullptr) return kUntraceable;
  Knowing known = knowing();
  known.names.names_trusted = true;  // names that may be changing are judged by the result
  const command::ColumnResolver resolver(*masks_, known.names);
  if (resolver.untraceable(statement->lineage)) return kUntraceable;
  for (const sql::StatementOutput& output : statement->lineage.outputs) {
    using Source = sql::StatementOutput::Source;
    if (output.source != Source::executed && output.source != Source::fetched) continue;
    const Names& names = output.source == Source::executed ? prepared_ : cursors_;
    const auto found = names.find(output.name);
    if (found == names.end() || found->second.too_many) return kUntraceable;
  }
  return {};
}

void SessionColumns::add(Names& names, std::string_view name, Meaning meaning) {
  auto found = names.find(std::string(name));
  if (found == names.end()) {
    if (names.size() >= kNamesMax) return;  // not found later, and so untraceable
    found = names.emplace(name, Meanings{}).first;
  }
  Meanings& meanings = found->second;
  if (std::find(meanings.all.begin(), meanings.all.end(), meaning) != meanings.all.end()) return;
  if (meanings.all.size() >= kMeaningsMax) {
    meanings.too_many = true;
    return;
  }
  meanings.all.push_back(std::move(meaning));
}

void SessionColumns::let_go(const AnalysedRef& statement, std::string_view statement_name, Runs runs) {
  if (runs == Runs::yes && catalog_ != nullptr && (statement == nullptr || statement->changes_names))
    uncommitted_ = true;
  note_change();
  if (statement == nullptr) return;
  if (!statement_name.empty() && statement->lineage.outputs.size() == 1) {
    add(prepared_, statement_name, {statement, &statement->lineage.outputs.front()});
  }
  for (const sql::NamedOutput& named : statement->lineage.named) {
    add(named.what == sql::NamedOutput::What::cursor ? cursors_ : prepared_, named.name, {statement, &named.output});
  }
}

void SessionColumns::note_change() {
  if (!uncommitted_ || changing_) return;
  changing_ = true;
  catalog_->begin_change();
}

void SessionColumns::names_settled(Gate::Transaction transaction) {
  const bool over = transaction == Gate::Transaction::over;
  if (over) uncommitted_ = false;
  if (!changing_) return;
  changing_ = false;
  catalog_->end_change(over ? catalog::Catalog::Changed::yes : catalog::Catalog::Changed::no);
}

// A name stands for all that was ever given it: which of them came last is the server's knowledge.
void SessionColumns::resolve_named(const command::ColumnResolver& resolver, const Names& names, const std::string& name,
                                   std::span<const command::ResultColumn> columns,
                                   std::vector<ColumnVerdict>& verdicts) {
  const auto found = names.find(name);
  const bool known = found != names.end() && !found->second.too_many;
  verdicts.assign(columns.size(), ColumnVerdict::clear);
  const auto add_all = [&](const std::vector<ColumnVerdict>& more) {
    for (size_t i = 0; i < verdicts.size(); ++i) verdicts[i] = std::max(verdicts[i], more[i]);
  };
  if (!known) return add_all(resolver.resolve({}, nullptr, columns));
  for (const Meaning& meaning : found->second.all) {
    add_all(resolver.resolve(meaning.statement->lineage, meaning.output, columns));
  }
}

ColumnPlanRef SessionColumns::plan(const ResultRequest& request) {
  if (masks_ == nullptr || request.columns.empty()) return nullptr;
  const auto* const statement = static_cast<const AnalysedStatement*>(request.statement.get());
  const Knowing known = knowing();
  const command::ColumnResolver resolver(*masks_, known.names);
  static const sql::Lineage kNothing;
  const sql::Lineage& lineage = statement != nullptr ? statement->lineage : kNothing;
  const sql::StatementOutput* const output =
      request.index < lineage.outputs.size() ? &lineage.outputs[request.index] : nullptr;
  auto made = std::make_shared<ColumnPlan>();
  using Source = sql::StatementOutput::Source;
  if (output != nullptr && (output->source == Source::executed || output->source == Source::fetched)) {
    resolve_named(resolver, output->source == Source::executed ? prepared_ : cursors_, output->name, request.columns,
                  made->columns);
  } else {
    made->columns = resolver.resolve(lineage, output, request.columns);
  }
  const bool missed =
      std::find(made->columns.begin(), made->columns.end(), ColumnVerdict::untraceable) != made->columns.end();
  if (missed && catalog_ != nullptr) catalog_->note_miss();
  const bool any = std::any_of(made->columns.begin(), made->columns.end(),
                               [](ColumnVerdict verdict) { return verdict != ColumnVerdict::clear; });
  if (!any) return nullptr;
  made->numbers = masks_->numbers == policies::ColumnMasks::Numbers::null ? policies::WholeNumbers::null
                                                                          : policies::WholeNumbers::zero;
  made->copy = lineage.copy;
  if (output == nullptr || !output->is_copy) made->copy.certain = false;
  return made;
}

bool SessionColumns::withholds(const AnalysedStatement* statement, const ServerReport& report) {
  if (masks_ == nullptr) return false;
  if (comes_from_other_code(report.context)) return true;
  const std::string_view sqlstate = report.sqlstate;
  if (statement == nullptr) return sqlstate.empty() || !quotes_no_values(sqlstate);
  const policies::StatementFacts& facts = statement->facts;
  if (is_constraint(sqlstate) && facts.relations.empty()) return true;
  if (!sqlstate.empty() && quotes_no_values(sqlstate) && !runs_other_code(facts)) return false;
  if (!facts.relations_complete) return true;
  const Knowing known = knowing();
  const command::ColumnResolver resolver(*masks_, known.names);
  return std::any_of(facts.relations.begin(), facts.relations.end(),
                     [&](const policies::Relation& relation) { return resolver.may_hold(relation); });
}

}  // namespace sluice::session
