// The messages that the gate decides. Each is read, asked about, and only then has an effect, so that a parked one can
// simply be presented again.
#include <algorithm>

#include "daemon/session/postgres_machine.h"
#include "policies/cards/postgres_types.h"

namespace sluice::session {
namespace {

using policies::Permit;
using policies::Upkeep;
using postgres::kHeaderBytes;

constexpr std::string_view kNameTooLong = "names of prepared statements and portals may have at most 63 bytes";
constexpr std::string_view kTooManyNames = "too many prepared statements or portals in one session";

}  // namespace

// What the gate says: a permit; a refusal (`refused` is set); or nothing yet (wait_ is set).
std::optional<Passed> PostgresMachine::ask(const CommandRequest& request, Refused& refused) {
  CommandRequest asked = request;
  asked.withdrawn = withdrawn_;
  Answer answer = gate_.submit(asked);
  withdrawn_ = withdrawn_ && std::holds_alternative<Parked>(answer);
  if (auto* passed = std::get_if<Passed>(&answer)) return std::move(*passed);
  if (auto* refusal = std::get_if<Refused>(&answer)) {
    refused = std::move(*refusal);
  } else {
    wait_ = Wait::gate;
  }
  return std::nullopt;
}

PostgresMachine::Verdict PostgresMachine::on_query(Bytes message, Actions& actions) {
  const auto query = postgres::decode_query(message.subspan(kHeaderBytes));
  if (!query) {
    violation("malformed Query message");
    return Verdict::done;
  }
  CommandRequest request;
  request.stage = sluice::session::Stage::query;
  request.text = query->text;
  if (!settings_for(query->text, request.settings)) return wait_for_server(actions);
  Refused refused;
  std::optional<Passed> passed = ask(request, refused);
  if (wait_ != Wait::none) return Verdict::wait;
  if (!passed) {
    stand_in_for(PendingKind::query, std::move(refused), {}, actions);
    return Verdict::done;
  }
  actions.to_server(message, passed->permit);
  ++executions_;
  Pending pending;
  pending.kind = PendingKind::query;
  pending.command = passed->command;
  note_effects(pending, passed->statement);
  pending.statement = std::move(passed->statement);
  push(std::move(pending));
  return Verdict::done;
}

PostgresMachine::Verdict PostgresMachine::on_parse(Bytes message, Actions& actions) {
  const auto parse = postgres::decode_parse(message.subspan(kHeaderBytes));
  if (!parse) {
    violation("malformed Parse message");
    return Verdict::done;
  }
  if (parse->name.size() > postgres::kNameBytesMax || statements_.size() >= kNamesMax) {
    const bool too_long = parse->name.size() > postgres::kNameBytesMax;
    const std::string_view why = too_long ? kNameTooLong : kTooManyNames;
    gate_.note(SessionNote::limit_exceeded, why);
    stand_in_for(PendingKind::parse, {std::string(why), too_long ? "42622" : "54000"}, {}, actions);
    return Verdict::done;
  }
  CommandRequest request;
  request.stage = sluice::session::Stage::parse;
  request.text = parse->text;
  request.statement_name = parse->name;
  if (!settings_for(parse->text, request.settings)) return wait_for_server(actions);
  Refused refused;
  std::optional<Passed> passed = ask(request, refused);
  if (wait_ != Wait::none) return Verdict::wait;
  if (!passed) {
    stand_in_for(PendingKind::parse, std::move(refused), parse->name, actions);
    return Verdict::done;
  }
  actions.to_server(message, passed->permit);
  Pending pending;
  pending.kind = PendingKind::parse;
  pending.command = passed->command;
  pending.name = parse->name;
  pending.prepared = std::make_shared<Prepared>();
  pending.prepared->statement = std::move(passed->statement);
  pending.prepared->parameter_types = parse->type_oids();
  statements_.begin(parse->name, pending.prepared, segment_);
  push(std::move(pending));
  return Verdict::done;
}

PostgresMachine::Verdict PostgresMachine::on_bind(Bytes message, uint64_t total_bytes, Actions& actions) {
  if (!postgres::decode_bind(message.subspan(kHeaderBytes), total_bytes - kHeaderBytes, bind_)) {
    violation("malformed Bind message");
    return Verdict::done;
  }
  PreparedRef prepared;
  if (statements_.find(bind_.statement, segment_, prepared) == NameTable<Prepared>::Known::not_yet)
    return wait_for_server(actions);
  Refused refused;
  std::optional<Passed> passed;
  if (bind_.portal.size() > postgres::kNameBytesMax || portals_.size() >= kNamesMax) {
    const bool too_long = bind_.portal.size() > postgres::kNameBytesMax;
    refused = {std::string(too_long ? kNameTooLong : kTooManyNames), too_long ? "42622" : "54000"};
    gate_.note(SessionNote::limit_exceeded, refused.message);
  } else {
    fill_values(bind_.parameters, prepared.get());
    CommandRequest request;
    request.stage = sluice::session::Stage::bind;
    request.statement = prepared ? prepared->statement : nullptr;
    request.statement_name = bind_.statement;
    request.values = values_;
    passed = ask(request, refused);
    if (wait_ != Wait::none) return Verdict::wait;
  }
  if (!passed) {
    stand_in_for(PendingKind::bind, std::move(refused), {}, actions);
    skipping_ = total_bytes - message.size();
    return Verdict::done;
  }
  actions.to_server(message, passed->permit);
  passing_ = total_bytes - message.size();
  Pending pending;
  pending.kind = PendingKind::bind;
  pending.name = bind_.portal;
  pending.portal = std::make_shared<Portal>();
  pending.portal->prepared = std::move(prepared);
  pending.portal->formats = bind_.results;
  pending.portal->command = passed->command;
  pending.portal->executions_seen = executions_;
  pending.portal->bound_in = segment_;
  // Planning runs functions that are declared immutable.
  const PreparedRef& of = pending.portal->prepared;
  if (!of || !of->statement || of->statement->may_change_settings) {
    pending.changes_settings = true;
    last_changer_ = segment_;
  }
  portals_.begin(bind_.portal, pending.portal, segment_);
  push(std::move(pending));
  return Verdict::done;
}

PostgresMachine::Verdict PostgresMachine::on_execute(Bytes message, Actions& actions) {
  const auto execute = postgres::decode_execute(message.subspan(kHeaderBytes));
  if (!execute) {
    violation("malformed Execute message");
    return Verdict::done;
  }
  PortalRef portal;
  if (portals_.find(execute->portal, segment_, portal) == NameTable<Portal>::Known::not_yet)
    return wait_for_server(actions);
  // Whether it outlives the segment of its Bind is seen at that segment's ReadyForQuery.
  if (portal && portal->bound_in < segment_ && portal->bound_in > resolved_) return wait_for_server(actions);
  // A portal that no Bind made: a cursor of SQL, or none at all.
  if (!portal) portal = std::make_shared<Portal>();
  CommandRequest request;
  request.stage = sluice::session::Stage::execute;
  request.statement = portal->prepared ? portal->prepared->statement : nullptr;
  request.record_intent = portal->command == 0;
  Refused refused;
  const std::optional<Passed> passed = ask(request, refused);
  if (wait_ != Wait::none) return Verdict::wait;
  if (!passed) {
    stand_in_for(PendingKind::execute, std::move(refused), {}, actions);
    pending_.back().command = std::exchange(portal->command, 0);  // its Bind ends here, and not well
    return Verdict::done;
  }
  if (needs_describe(*portal)) {
    actions.to_server_copy(postgres::build_describe(postgres::NameKind::portal, execute->portal),
                           Permit::for_upkeep(Upkeep::describe));
    Pending describe;
    describe.kind = PendingKind::describe_portal;
    describe.injected = true;
    describe.portal = portal;
    portal->described_in = segment_;
    push(std::move(describe));
  }
  actions.to_server(message, passed->permit);
  portal->executions_seen = ++executions_;
  Pending pending;
  pending.kind = PendingKind::execute;
  pending.command = portal->command != 0 ? std::exchange(portal->command, 0) : passed->command;
  note_effects(pending, request.statement);
  pending.portal = std::move(portal);
  const bool undecided = pending.may_copy_in;
  push(std::move(pending));
  // Whether the Sync behind it is read by the COPY or by the main loop hangs on the answer, so the answer is asked for.
  if (undecided) {
    actions.to_server_copy(postgres::build_flush(), Permit::for_upkeep(Upkeep::flush));
    unflushed_ = false;
  }
  return Verdict::done;
}

PostgresMachine::Verdict PostgresMachine::on_function_call(Bytes message, uint64_t total_bytes, Actions& actions) {
  if (!postgres::decode_function_call(message.subspan(kHeaderBytes), total_bytes - kHeaderBytes, call_)) {
    violation("malformed FunctionCall message");
    return Verdict::done;
  }
  fill_values(call_.arguments, nullptr);
  CommandRequest request;
  request.stage = sluice::session::Stage::function_call;
  request.function_oid = call_.function_oid;
  request.values = values_;
  Refused refused;
  const std::optional<Passed> passed = ask(request, refused);
  if (wait_ != Wait::none) return Verdict::wait;
  if (!passed) {
    stand_in_for(PendingKind::function_call, std::move(refused), {}, actions);
    skipping_ = total_bytes - message.size();
    return Verdict::done;
  }
  actions.to_server(message, passed->permit);
  passing_ = total_bytes - message.size();
  ++executions_;
  Pending pending;
  pending.kind = PendingKind::function_call;
  pending.command = passed->command;
  pending.result = call_.result;
  pending.changes_settings = true;  // any function: set_config() too
  names_changer_ = segment_;
  last_changer_ = segment_;
  push(std::move(pending));
  return Verdict::done;
}

void PostgresMachine::fill_values(std::span<const postgres::Parameter> parameters, const Prepared* prepared) {
  values_.clear();
  for (size_t i = 0; i < parameters.size(); ++i) {
    const postgres::Parameter& parameter = parameters[i];
    const uint32_t oid = prepared != nullptr && i < prepared->parameter_types.size() ? prepared->parameter_types[i] : 0;
    BindValue value;
    value.bytes = parameter.bytes;
    value.bytes_total = parameter.arrived ? parameter.bytes_total : kBytesTotalUnknown;
    value.type =
        oid != 0 ? policies::postgres_value_type(oid) : guess_value_type(parameter.bytes_total, parameter.binary);
    value.format = parameter.binary ? policies::ValueFormat::binary : policies::ValueFormat::text;
    value.is_null = parameter.is_null;
    values_.push_back(value);
  }
}

// What running the statement may do to what we know of the session. A statement that nobody read may do anything.
void PostgresMachine::note_effects(Pending& pending, const StatementRef& statement) {
  pending.changes_settings = !statement || statement->may_change_settings;
  pending.may_copy_in = !statement || statement->copies_in || !statement->facts.kinds_complete;
  if (pending.changes_settings) last_changer_ = segment_;
  if (!statement || statement->changes_names) names_changer_ = segment_;
  if (pending.may_copy_in) copy_undecided_ = true;
  if (!statement) return;
  for (const auto* names : {&statement->prepares, &statement->deallocates}) {
    for (const std::string& name : *names) {
      if (name == "*") {
        if (!pending.clears_statements) statements_.begin_clear(segment_);
        pending.clears_statements = true;
      } else {
        statements_.begin(name, nullptr, segment_);
        pending.statement_names.push_back(name);
      }
    }
  }
}

// Rows can be masked only where their columns are known. Asking the server for them is invisible: it answers in order,
// and where it refuses to describe, it would refuse to execute for the same reason.
bool PostgresMachine::needs_describe(const Portal& portal) const {
  // Something else ran since the portal was surely this one: it may have been closed and its name given to a cursor.
  if (portal.executions_seen != executions_) return true;
  const bool asked = portal.described_in == segment_ || (portal.prepared && portal.prepared->described_in == segment_);
  if (masker_.columns() && !asked) {
    const DescribedRef& known = portal.described  ? portal.described
                                : portal.prepared ? portal.prepared->described
                                                  : nullptr;
    if (!known || known->epoch != gate_.columns_epoch()) return true;
  }
  if (portal.shape || portal.described_in == segment_) return false;
  if (!portal.prepared || portal.formats.rule == postgres::ResultFormats::Rule::unknown) return true;
  return !portal.prepared->columns_known && portal.prepared->described_in != segment_;
}

}  // namespace sluice::session
