#include "daemon/session/command_gate.h"

#include <algorithm>
#include <cassert>

#include "daemon/command/function_call.h"
#include "daemon/command/statement.h"
#include "policies/cards/masked_value.h"
#include "policies/rules/masking.h"

namespace sluice::session {
namespace {

using events::EventBuilder;
using events::EventOutcome;
using events::EventType;
using policies::StatementFacts;

constexpr std::string_view kLogUnavailable = "audit log cannot be written; command not executed";
constexpr std::string_view kFunctionByNumber =
    "blocked: what a function called by its number gives back cannot be told, and policy masks columns of this server";
constexpr std::string_view kForbidden = "42501";
// A Bind of a statement that nobody showed is refused as the server would say that there is none (it was deallocated,
// say): drivers then prepare it again, and it is decided by its text.
constexpr std::string_view kNoSuchStatement = "26000";
constexpr std::string_view kCancelled = "canceling statement due to user request";  // the server's own words

RefusalReason reason_of(std::string_view sqlstate) {
  if (sqlstate == kForbidden || sqlstate == kNoSuchStatement) return RefusalReason::policy;
  if (sqlstate == "57014") return RefusalReason::withdrawn;
  if (sqlstate == kMaskedWriteState) return RefusalReason::masked_value;
  return RefusalReason::unsupported;
}

sql::TextSettings for_sql(const TextSettings& settings) {
  return {settings.client_encoding, settings.standard_conforming_strings, settings.certain};
}

// Only for telling that a text that comes again is the same one; the cache has its own keyed hash.
uint64_t fingerprint(std::string_view text) {
  static constexpr command::HashKey kFixedKey{0x736c756963652d31, 0x736c756963652d32};
  return command::keyed_hash(text, kFixedKey);
}

// Could it write? What cannot be told may.
bool may_write(const StatementFacts& facts) {
  using Kind = policies::StatementKind;
  constexpr policies::KindMask kWriting = policies::kind_bit(Kind::insert) | policies::kind_bit(Kind::update) |
                                          policies::kind_bit(Kind::merge) | policies::kind_bit(Kind::call) |
                                          policies::kind_bit(Kind::do_) | policies::kind_bit(Kind::unknown);
  return !facts.kinds_complete || std::any_of(facts.kinds.begin(), facts.kinds.end(),
                                              [](Kind kind) { return (policies::kind_bit(kind) & kWriting) != 0; });
}

const StatementFacts& no_facts() {
  static const StatementFacts facts;
  return facts;
}

}  // namespace

CommandGate::CommandGate(GateContext& context, SessionSubject subject)
    : context_(context), subject_(std::move(subject)), tally_(context.counters.tallies.of(subject_.info.target)) {
  subject_.info.reference = events::session_reference(subject_.info.id);
  tally_.sessions_started.add();
  EventBuilder started = event(EventType::session_started, EventOutcome::success);
  publish(started);
}

void CommandGate::refresh_policy() {
  const uint64_t generation = context_.policies.generation();
  if (policy_ != nullptr && generation == policy_generation_) return;
  policy_generation_ = generation;
  const policies::Subject subject{subject_.info.target, subject_.direction, subject_.protocol,
                                  subject_.info.actor.attested, subject_.info.actor.claimed};
  policy_ = std::make_unique<policies::SessionPolicy>(context_.policies.current(), subject, &context_.policy_cache);
  const policies::Masking masking = policies::masking_for(*policy_->set(), subject);
  masking_.scanner = context_.scanners.scanner_for(masking.patterns, masking.data);
  // Without memory for a few kilobytes nothing goes on anyway; to go on without the patterns would show what they hide.
  assert(masking_.scanner != nullptr);
  masking_.style = masking.style;
  masking_.short_values = masking.data != 0;
  masking_.refuse_masked_writes = masking.refuse_masked_writes;
  masking_.columns = masking.columns != nullptr;
  const bool named = policy_->set()->names_columns();
  if (columns_ == nullptr) {
    // Where there is a catalog, changes of names count before a policy names columns.
    auto catalog = context_.catalog_of ? context_.catalog_of(subject_.info.target) : nullptr;
    if (catalog == nullptr && !masking_.columns && !named) return;
    columns_ = std::make_unique<SessionColumns>(std::move(catalog), names_open_);
  }
  columns_->set_masks(masking.columns, named);
}

ColumnPlanRef CommandGate::plan_columns(const ResultRequest& request) {
  return columns_ != nullptr ? columns_->plan(request) : nullptr;
}

uint64_t CommandGate::columns_epoch() {
  return columns_ != nullptr ? columns_->epoch() : 0;
}

bool CommandGate::withholds(const StatementRef& statement, const ServerReport& report) {
  // Only gates make statements.
  return columns_ != nullptr && columns_->withholds(static_cast<const AnalysedStatement*>(statement.get()), report);
}

std::optional<CopyNames> CommandGate::copy_names(const StatementRef& statement, size_t index, size_t columns) {
  if (statement == nullptr) return std::nullopt;
  const sql::Lineage& lineage = static_cast<const AnalysedStatement*>(statement.get())->lineage;
  if (index >= lineage.outputs.size() || !lineage.outputs[index].is_copy) return std::nullopt;
  const auto snapshot = columns_ != nullptr ? columns_->snapshot() : nullptr;
  auto names = command::output_names(lineage, lineage.outputs[index], snapshot.get(), columns);
  if (!names) return std::nullopt;
  return CopyNames{std::move(*names), lineage.copy};
}

void CommandGate::names_settled(Transaction transaction) {
  if (transaction == Transaction::over) names_open_ = false;
  if (columns_ != nullptr) columns_->names_settled(transaction);
}

// A reading of the catalog is about to end. Not for ever: after that what its names would tell is not known.
bool CommandGate::waits_for_catalog() {
  if (!columns_->must_wait()) {
    catalog_wait_since_ms_ = 0;
    return false;
  }
  const uint64_t now_ms = context_.clock.monotonic_ms();
  if (catalog_wait_since_ms_ == 0) catalog_wait_since_ms_ = now_ms;
  if (now_ms - catalog_wait_since_ms_ >= kCatalogWaitMaxMs) return false;
  context_.catalog_wanted = true;
  return true;
}

MaskingInForce CommandGate::masking() {
  refresh_policy();
  return masking_;
}

// --- a command
// ---------------------------------------------------------------------------------------------------------

Answer CommandGate::submit(const CommandRequest& request) {
  if (context_.outbox.log_failing()) {
    // Not even the refusal can be recorded; it is counted, and the log says so first thing when it recovers.
    context_.counters.commands_refused_unrecorded.fetch_add(1, std::memory_order_relaxed);
    tally_.refused(RefusalReason::log_unavailable);
    return Refused{std::string(kLogUnavailable), "58030"};
  }
  if (!context_.outbox.has_room()) {
    context_.outbox.want_room();
    return Parked{};
  }
  refresh_policy();
  if (request.withdrawn) return withdraw(request);
  if (columns_ != nullptr && waits_for_catalog()) return Parked{};
  switch (request.stage) {
    case Stage::query:
    case Stage::parse: {
      const AnalysedRef statement = statement_of(request);
      if (statement == nullptr) return Parked{};
      return decide(request, statement);
    }
    case Stage::bind:
    case Stage::execute:
    case Stage::copy_in:
      // Only gates make statements, so what comes back is one of ours.
      return decide(request, std::static_pointer_cast<const AnalysedStatement>(request.statement));
    case Stage::function_call:
      return decide_function_call(request);
    case Stage::cancel:
      return decide_cancel(request);
    case Stage::replication:
      return refuse(request, nullptr, no_facts(), {}, "replication connections are not supported through this proxy",
                    "0A000");
  }
  return refuse(request, nullptr, command::unknown_facts("stage of the protocol"), {}, "unknown command", "0A000");
}

AnalysedRef CommandGate::statement_of(const CommandRequest& request) {
  if (waiting_ != nullptr) {
    if (waiting_->answer == nullptr) return nullptr;  // one analysis at a time; its answer resumes the session
    const std::unique_ptr<Waiting> waited = std::move(waiting_);
    if (waited->text_bytes == request.text.size() && waited->text_hash == fingerprint(request.text) &&
        waited->settings == request.settings)
      return waited->answer;
  }
  const sql::TextSettings settings = for_sql(request.settings);
  if (AnalysedRef known = context_.statements.find(request.text, settings); known != nullptr) {
    context_.counters.statements_known.add();
    return known;
  }
  if (!context_.analyst.has_room(request.text.size())) return nullptr;
  context_.counters.statements_new.add();
  const uint64_t since_ns = context_.clock.monotonic_ns();
  command::AnalysisJob job{subject_.serial, std::string(request.text), request.settings.client_encoding,
                           request.settings.standard_conforming_strings, request.settings.certain};
  if (auto analysis = context_.analyst.analyze(std::move(job)); analysis.has_value()) {
    AnalysedRef statement =
        make_statement(command::mask_for_record(std::string(request.text), context_.scanner), std::move(*analysis));
    keep(request.text, settings, statement);
    context_.counters.analysis_here.add(context_.clock.monotonic_ns() - since_ns);
    return statement;
  }
  waiting_ = std::make_unique<Waiting>();
  waiting_->since_ns = since_ns;
  waiting_->text_bytes = request.text.size();
  waiting_->text_hash = fingerprint(request.text);
  if (context_.statements.keeps(request.text.size())) waiting_->text = request.text;
  waiting_->settings = request.settings;
  return nullptr;
}

void CommandGate::analysed(command::AnalysisAnswer answer) {
  if (waiting_ == nullptr || waiting_->answer != nullptr) return;
  waiting_->answer = make_statement(std::move(answer.masked), std::move(answer.analysis));
  if (context_.statements.keeps(waiting_->text_bytes))
    keep(waiting_->text, for_sql(waiting_->settings), waiting_->answer);
  waiting_->text = {};
  context_.counters.analysis_wait.add(context_.clock.monotonic_ns() - waiting_->since_ns);
}

void CommandGate::keep(std::string_view text, const sql::TextSettings& settings, const AnalysedRef& statement) {
  context_.statements.put(text, settings, statement);
  context_.counters.statements_kept.set(context_.statements.size());
  context_.counters.statements_kept_bytes.set(context_.statements.bytes());
}

Answer CommandGate::decide(const CommandRequest& request, const AnalysedRef& statement) {
  if (statement == nullptr) {
    const StatementFacts facts = command::unknown_facts("a prepared statement that this session did not show");
    return decide_on(request, nullptr, facts, policy_->decide(facts));
  }
  if (!statement->executes.empty()) {
    if (names_ == nullptr) names_ = std::make_unique<PreparedNames>();
    const StatementFacts facts = names_->facts_with_executed(*statement);
    if (columns_ != nullptr) {
      if (const auto known = columns_->facts_for(facts, 0); known != nullptr)
        return decide_on(request, statement, facts, policy_->decide(*known));
    }
    return decide_on(request, statement, facts, policy_->decide(facts));
  }
  if (columns_ != nullptr) {
    if (const auto known = columns_->facts_for(statement->facts, statement->serial); known != nullptr)
      return decide_on(request, statement, statement->facts, policy_->decide(known));
  }
  return decide_on(request, statement, statement->facts,
                   policy_->decide(std::shared_ptr<const StatementFacts>(statement, &statement->facts)));
}

Answer CommandGate::decide_function_call(const CommandRequest& request) {
  const StatementFacts facts = command::function_call_facts(request.function_oid);
  return decide_on(request, nullptr, facts, policy_->decide(facts));
}

Answer CommandGate::decide_on(const CommandRequest& request, const AnalysedRef& statement, const StatementFacts& facts,
                              const policies::Decision& decision) {
  if (decision.effect != policies::Effect::allow) {
    const bool unseen = statement == nullptr && request.stage == Stage::bind;
    return refuse(request, statement, facts, decision.rule, policies::refusal_text(decision, facts),
                  std::string(unseen ? kNoSuchStatement : kForbidden));
  }
  if (masking_.columns && request.stage == Stage::function_call && !facts.kinds_complete) {
    return refuse(request, statement, facts, {}, std::string(kFunctionByNumber), std::string(kForbidden));
  }
  if (columns_ != nullptr && request.stage != Stage::function_call) {
    if (const std::string_view why = columns_->refusal(statement.get()); !why.empty())
      return refuse(request, statement, facts, {}, std::string(why), std::string(kForbidden));
  }
  return let_go(request, statement, facts, decision);
}

// A cancel carries no command; refusing it would only keep a statement running. It is recorded. Where the command that
// it is about waits within Sluice, the server would ignore it.
Answer CommandGate::decide_cancel(const CommandRequest& request) {
  policies::Decision decision;
  decision.effect = policies::Effect::allow;
  decision.permit = policies::Permit::for_upkeep(policies::Upkeep::cancel);
  Answer answer = let_go(request, nullptr, no_facts(), decision);
  if (context_.cancels != nullptr)
    std::get<Passed>(answer).delivered = context_.cancels->deliver(subject_.info.target, request.cancel_key);
  return answer;
}

// The client cancelled the command while it was parked. Its analysis may still be under way: waiting_ stays, so that
// its answer is not taken for another text's.
Answer CommandGate::withdraw(const CommandRequest& request) {
  AnalysedRef statement = std::static_pointer_cast<const AnalysedStatement>(request.statement);
  const bool has_text = request.stage == Stage::query || request.stage == Stage::parse;
  if (has_text && waiting_ != nullptr && waiting_->answer != nullptr) {
    statement = std::move(waiting_->answer);
    waiting_.reset();
  } else if (has_text && request.text.size() > kMaskedHereBytesMax) {
    statement = statement_of(request);
    if (statement == nullptr) return Parked{};
  } else if (has_text) {
    sql::Analysis unread;
    unread.why_unknown = "cancelled before it was analysed";
    statement =
        make_statement(command::mask_for_record(std::string(request.text), context_.scanner), std::move(unread));
  }
  if (statement == nullptr) return refuse(request, nullptr, no_facts(), {}, std::string(kCancelled), "57014");
  return refuse(request, statement, statement->facts, {}, std::string(kCancelled), "57014");
}

// An application that saves what it read, say. Its Execute was decided with its Bind, and COPY data is looked at as it
// comes.
bool CommandGate::writes_mask_back(const CommandRequest& request, const AnalysedRef& statement,
                                   const StatementFacts& facts) const {
  if (!masking_.refuse_masked_writes) return false;
  const bool decides = request.stage == Stage::query || request.stage == Stage::parse || request.stage == Stage::bind ||
                       request.stage == Stage::function_call;
  if (!decides) return false;
  const bool in_text = statement != nullptr && statement->carries_mask;
  const auto in_value = [](const BindValue& value) { return policies::holds_masked_card(value.bytes); };
  if (!in_text && std::none_of(request.values.begin(), request.values.end(), in_value)) return false;
  return request.stage == Stage::function_call || may_write(facts);
}

Answer CommandGate::let_go(const CommandRequest& request, const AnalysedRef& statement, const StatementFacts& facts,
                           const policies::Decision& decision) {
  assert(decision.permit.has_value());
  if (writes_mask_back(request, statement, facts))
    return refuse(request, statement, facts, {}, std::string(kMaskedWrite), std::string(kMaskedWriteState));
  remember_names(request, statement);
  const bool runs =
      request.stage == Stage::query || request.stage == Stage::execute || request.stage == Stage::function_call;
  if (runs && (statement == nullptr || statement->changes_names)) names_open_ = true;
  if (columns_ != nullptr && request.stage != Stage::cancel) {
    using Runs = SessionColumns::Runs;
    const bool named = request.stage == Stage::parse;
    columns_->let_go(statement, named ? request.statement_name : std::string_view(), runs ? Runs::yes : Runs::no);
  }
  if (!request.record_intent) return Passed{*decision.permit, statement, 0};
  const CommandId command = ++last_command_;
  ++totals_.commands;
  tally_.decided(Decided::allowed, facts);
  EventBuilder received = event(EventType::command_received, EventOutcome::success);
  received.command(command);
  describe(received, request, statement, facts, decision.rule);
  const uint64_t sequence = publish(received);
  assert(sequence != 0);  // there was room, and only this thread publishes here
  if (context_.durability == Durability::strict) barrier_ = sequence;
  return Passed{*decision.permit, statement, command};
}

Answer CommandGate::refuse(const CommandRequest& request, const AnalysedRef& statement, const StatementFacts& facts,
                           std::string_view rule, std::string message, std::string sqlstate) {
  const CommandId command = ++last_command_;
  ++totals_.commands;
  ++totals_.blocked;
  tally_.decided(Decided::blocked, facts);
  tally_.refused(reason_of(sqlstate));
  EventBuilder blocked = event(EventType::command_blocked, EventOutcome::refused);
  blocked.command(command);
  describe(blocked, request, statement, facts, rule);
  blocked.error_code(sqlstate).detail(message);
  publish(blocked);
  return Refused{std::move(message), std::move(sqlstate)};
}

// Names that later EXECUTEs may use: of SQL-level PREPARE, and of the protocol's Parse, which share one namespace on
// the server.
void CommandGate::remember_names(const CommandRequest& request, const AnalysedRef& statement) {
  if (statement == nullptr) return;
  const bool named_parse = request.stage == Stage::parse && !request.statement_name.empty();
  if (!named_parse && statement->prepares.empty()) return;
  if (names_ == nullptr) names_ = std::make_unique<PreparedNames>();
  if (named_parse) names_->add(request.statement_name, statement);
  for (const std::string& name : statement->prepares) names_->add(name, statement);
}

void CommandGate::claimed(const policies::ClaimedIdentity& identity) {
  subject_.info.actor.claimed = identity;
  policy_.reset();  // rules may name the database user
}

void CommandGate::cancel_key(std::span<const uint8_t> key) {
  if (context_.cancels == nullptr || cancel_slot_ != nullptr) return;
  cancel_key_.assign(key.begin(), key.end());
  cancel_slot_ = context_.cancels->enter(
      subject_.info.target, key,
      [deliver = context_.deliver_cancel, serial = subject_.serial] { return deliver(serial); });
}

void CommandGate::set_waiting(bool waiting) {
  if (cancel_slot_ != nullptr) cancel_slot_->set_waiting(waiting);
}

bool CommandGate::take_cancel() {
  return cancel_slot_ != nullptr && cancel_slot_->take();
}

}  // namespace sluice::session
