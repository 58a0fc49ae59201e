// What the gate records of commands and of its session.
#include <cassert>
#include <string>

#include "daemon/session/command_gate.h"

namespace sluice::session {
namespace {

using events::EventBuilder;
using events::EventOutcome;
using events::EventType;
using policies::StatementFacts;

std::string_view to_word(Stage stage) {
  switch (stage) {
    case Stage::query:
      return "query";
    case Stage::parse:
      return "parse";
    case Stage::bind:
      return "bind";
    case Stage::execute:
      return "execute";
    case Stage::function_call:
      return "function_call";
    case Stage::copy_in:
      return "copy_in";
    case Stage::cancel:
      return "cancel";
    case Stage::replication:
      return "replication";
  }
  return "unknown";
}

}  // namespace

EventBuilder CommandGate::event(EventType type, EventOutcome outcome) const {
  return EventBuilder(type, {context_.clock.utc_ns()}, outcome, subject_.info);
}

uint64_t CommandGate::publish(EventBuilder& built) {
  uint64_t self_findings = 0;
  const uint64_t sequence = context_.outbox.publish(built.build(context_.scanner, self_findings));
  if (self_findings > 0) context_.counters.self_findings.fetch_add(self_findings, std::memory_order_relaxed);
  return sequence;
}

void CommandGate::describe(EventBuilder& built, const CommandRequest& request, const AnalysedRef& statement,
                           const StatementFacts& facts, std::string_view rule) {
  describe_statement(built, request.stage, statement, facts, rule);
  if (statement != nullptr) built.text(statement->stored);
  if (!request.values.empty()) {
    const policies::NameKind secrets = statement != nullptr ? statement->secrets : policies::NameKind::none;
    context_.bind_excerpt.add(request.values, secrets, context_.scanner, built);
  }
  if (request.stage == Stage::function_call) built.counter("function_oid", request.function_oid);
}

void CommandGate::describe_statement(EventBuilder& built, Stage stage, const AnalysedRef& statement,
                                     const StatementFacts& facts, std::string_view rule) {
  const std::string_view version = policy_->set()->version();
  const auto write = [&] {
    built.stage(to_word(stage)).kinds(facts.kinds).relations(facts.relations).functions(facts.functions);
    built.rule(rule, version);
  };
  // Facts that depend on the session (what EXECUTE runs) are not the statement's.
  if (statement == nullptr || &facts != &statement->facts) return write();
  const DescriptionCache::Key key{statement->serial, stage, rule, version};
  if (const events::SharedFields* known = context_.descriptions.find(key); known != nullptr) {
    built.shared(*known);
    return;
  }
  built.begin_shared();
  write();
  context_.descriptions.keep(key, built.end_shared(context_.scanner));
}

void CommandGate::complete(CommandId command, const Completion& completion, std::span<const FindingCount> findings) {
  const auto outcome = completion.outcome == Outcome::success ? EventOutcome::success : EventOutcome::failure;
  EventBuilder completed = event(EventType::command_completed, outcome);
  if (command != 0) {
    completed.command(command);
  } else {
    completed.detail("outside of any command");
  }
  if (outcome == EventOutcome::failure) tally_.commands_failed.add();
  tally_.rows.add(completion.rows);
  for (const FindingCount& finding : findings) tally_.masked(finding.kind, finding.brand, finding.count);
  completed.rows(completion.rows).bytes(completion.bytes).error_code(completion.error_code);
  for (const FindingCount& finding : findings) {
    completed.finding({finding.name.empty() ? policies::to_string(finding.kind) : finding.name,
                       policies::has_brand(finding.kind) ? policies::to_string(finding.brand) : "", finding.where,
                       finding.count});
  }
  publish(completed);
}

void CommandGate::note(SessionNote kind, std::string_view detail) {
  struct Meaning {
    EventType type;
    EventOutcome outcome;
  };
  const Meaning meaning = [kind]() -> Meaning {
    switch (kind) {
      case SessionNote::authenticated:
        return {EventType::authentication, EventOutcome::success};
      case SessionNote::authentication_failed:
        return {EventType::authentication, EventOutcome::failure};
      case SessionNote::protocol_violation:
        return {EventType::protocol_violation, EventOutcome::refused};
      case SessionNote::refused_replication:
        return {EventType::connect_refused, EventOutcome::refused};
      case SessionNote::masked_write:
        return {EventType::command_blocked, EventOutcome::refused};
      case SessionNote::limit_exceeded:
        return {EventType::limit_exceeded, EventOutcome::refused};
    }
    return {EventType::protocol_violation, EventOutcome::refused};
  }();
  if (kind == SessionNote::protocol_violation) tally_.refused(RefusalReason::protocol);
  if (kind == SessionNote::refused_replication) tally_.refused(RefusalReason::unsupported);
  if (kind == SessionNote::masked_write) tally_.refused(RefusalReason::masked_value);
  if (kind == SessionNote::limit_exceeded) tally_.refused(RefusalReason::limit);
  EventBuilder noted = event(meaning.type, meaning.outcome);
  noted.detail(detail);
  publish(noted);
}

void CommandGate::ended(CloseReason reason, std::string_view detail, const SessionTotals& totals) {
  assert(!ended_);
  ended_ = true;
  if (cancel_slot_ != nullptr) context_.cancels->leave(subject_.info.target, cancel_key_, cancel_slot_);
  tally_.sessions_ended[static_cast<size_t>(reason)].add();
  tally_.bytes_to_client.add(totals.bytes_to_client);
  tally_.bytes_to_server.add(totals.bytes_to_server);
  const bool as_expected =
      reason == CloseReason::finished || reason == CloseReason::client_left || reason == CloseReason::shutdown;
  EventBuilder last = event(EventType::session_ended, as_expected ? EventOutcome::success : EventOutcome::failure);
  std::string why(to_string(reason));
  if (!detail.empty()) why.append(": ").append(detail);
  last.detail(why);
  last.counter("bytes_to_client", totals.bytes_to_client).counter("bytes_to_server", totals.bytes_to_server);
  last.counter("commands", totals_.commands).counter("blocked", totals_.blocked);
  publish(last);
}

}  // namespace sluice::session
