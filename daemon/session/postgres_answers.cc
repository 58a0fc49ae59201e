// Each message of the server, matched to the oldest command that is not answered yet. What does not fit ends the
// session.
#include <algorithm>
#include <cstring>

#include "daemon/session/postgres_machine.h"
#include "policies/cards/postgres_types.h"

namespace sluice::session {
namespace {

using namespace postgres::backend;
using postgres::kHeaderBytes;

// The bytes of `part`, which borrows from `body`, as something that can be masked.
std::span<uint8_t> writable(std::span<uint8_t> body, std::string_view part) {
  return body.subspan(static_cast<size_t>(reinterpret_cast<const uint8_t*>(part.data()) - body.data()), part.size());
}

}  // namespace

PostgresMachine::Relay PostgresMachine::unexpected(uint8_t tag) {
  violation(std::string("unexpected or malformed message '") + static_cast<char>(tag) + "' from the server");
  return Relay::swallow;
}

// Until the first ReadyForQuery.
PostgresMachine::Relay PostgresMachine::on_start_answer(uint8_t tag, Bytes message, Actions& actions) {
  const Bytes body = message.subspan(kHeaderBytes);
  // What the server says first is the moment in which a server would tell what it does not know.
  if (negotiation_ && tag != kNegotiateProtocolVersion && tag != kErrorResponse) tell_negotiation(minor_, actions);
  switch (tag) {
    case kAuthentication:
      return on_authentication(body);
    case kBackendKeyData:
      return on_key_data(body);
    case kNegotiateProtocolVersion:
      return on_negotiated_version(body);
    case kErrorResponse:
      return on_error(message, actions);
    case kNoticeResponse:
    case kParameterStatus:
      return on_async(tag, body);
    case kReadyForQuery:
      if (!authenticated_ || !postgres::decode_ready_for_query(body)) return unexpected(tag);
      stage_ = Stage::ready;
      wait_ = Wait::none;
      return Relay::forward;
    default:
      return unexpected(tag);
  }
}

PostgresMachine::Relay PostgresMachine::on_answer(uint8_t tag, Bytes message, Actions& actions) {
  const Bytes body = message.subspan(kHeaderBytes);
  switch (tag) {
    case kNoticeResponse:
      if (stand_ins_ > 0 && mentions_stand_in(body)) return Relay::swallow;
      [[fallthrough]];
    case kParameterStatus:
    case kNotificationResponse:
      return on_async(tag, body);
    case kErrorResponse:
      return on_error(message, actions);
    default:
      break;
  }
  if (pending_.empty()) return unexpected(tag);
  if (pending_.front().stand_in && !(pending_.front().failed && tag == kReadyForQuery)) {
    violation("the server took a message that stands for a refused command");
    return Relay::swallow;
  }
  switch (tag) {
    case kReadyForQuery:
      return on_ready_for_query(body);
    case kRowDescription:
      return on_row_description(body);
    case kNoData:
      return on_no_data();
    case kParameterDescription:
      return on_parameter_description(body);
    case kParseComplete:
    case kBindComplete:
    case kCloseComplete:
      return on_simple_completion(tag);
    case kCommandComplete:
    case kEmptyQueryResponse:
    case kPortalSuspended:
      return on_command_end(tag, body);
    case kCopyInResponse:
    case kCopyOutResponse:
    case kCopyBothResponse:
      return on_copy_response(tag, body);
    case kCopyDone:
      if (!pending_.front().copying_out || (copy_binary_ && !copy_reader_.complete())) return unexpected(tag);
      pending_.front().copying_out = false;
      return Relay::forward;
    case kFunctionCallResponse:
      return on_function_result(body);
    default:
      return unexpected(tag);
  }
}

// What the server may say at any time.
PostgresMachine::Relay PostgresMachine::on_async(uint8_t tag, Bytes body) {
  if (tag == kNoticeResponse) {
    if (!postgres::decode_report(body, fields_)) return unexpected(tag);
    if (masker_.columns() && withheld({})) return Relay::swallow;  // it may quote what is masked
    mask_report(Place::notice, body);
    return Relay::forward;
  }
  if (tag == kNotificationResponse) {
    const auto notification = postgres::decode_notification(body);
    if (!notification) return unexpected(tag);
    masker_.add_text(Place::notification, 0, writable(body, notification->channel));
    masker_.add_text(Place::notification, 0, writable(body, notification->payload));
    return Relay::forward;
  }
  const auto setting = postgres::decode_parameter_status(body);
  if (!setting) return unexpected(tag);
  parameter_changed(*setting);
  masker_.add_text(Place::parameter_status, 0, writable(body, setting->value));
  return Relay::forward;
}

void PostgresMachine::parameter_changed(const postgres::ParameterSetting& setting) {
  if (setting.name == "client_encoding") {
    settings_.client_encoding = setting.value;
    encoding_reported_ = true;
  } else if (setting.name == "standard_conforming_strings") {
    settings_.standard_conforming_strings = setting.value == "on";
    strings_reported_ = true;
  }
}

void PostgresMachine::mask_report(Place place, Bytes body) {
  for (const postgres::ReportField& field : fields_) {
    masker_.add_text(place, static_cast<uint8_t>(field.code), writable(body, field.text));
  }
}

PostgresMachine::Relay PostgresMachine::on_error(Bytes message, Actions&) {
  const Bytes body = message.subspan(kHeaderBytes);
  if (!postgres::decode_report(body, fields_)) return unexpected(kErrorResponse);
  const std::string sqlstate(postgres::report_field(fields_, 'C').substr(0, sizeof Pending::error_code - 1));
  std::string_view severity = postgres::report_field(fields_, 'V');
  if (severity.empty()) severity = postgres::report_field(fields_, 'S');
  const bool fatal = severity == "FATAL" || severity == "PANIC";
  if (stage_ == Stage::authentication && !authenticated_ && sqlstate.starts_with("28")) {
    gate_.note(SessionNote::authentication_failed, sqlstate);
  }
  Relay verdict = Relay::forward;
  std::string_view outcome = sqlstate;
  Pending* const head = pending_.empty() ? nullptr : &pending_.front();
  if (head != nullptr && head->stand_in && rewrites(*head->stand_in, fatal, sqlstate, body)) {
    replacement_ = postgres::build_error(postgres::Severity::error, head->stand_in->sqlstate, head->stand_in->message);
    outcome = head->stand_in->sqlstate;
    verdict = Relay::swallow;
  } else if (masker_.columns() && withheld(sqlstate)) {
    replacement_ = postgres::build_error(fatal ? postgres::Severity::fatal : postgres::Severity::error, sqlstate,
                                         "message withheld: it may quote a column that policy masks");
    verdict = Relay::swallow;
  } else {
    mask_report(Place::error, body);
  }
  if (head == nullptr) return verdict;
  row_shape_.reset();
  row_plan_.reset();
  copy_plan_.reset();
  copy_in_ = false;
  copy_decided(*head);
  head->copying_out = false;
  const std::string code(outcome);
  if (head->ends_segment()) {
    head->failed = true;
    std::memcpy(head->error_code, code.c_str(), std::min(code.size() + 1, sizeof head->error_code));
  } else {
    fail_segment(code);
  }
  if (wait_ == Wait::server) wait_ = Wait::none;
  return verdict;
}

PostgresMachine::Relay PostgresMachine::on_ready_for_query(ConstBytes body) {
  const auto status = postgres::decode_ready_for_query(body);
  Pending& head = pending_.front();
  if (!status || !head.ends_segment() || head.copying_out || copy_in_) return unexpected(kReadyForQuery);
  resolved_ = head.segment;
  if (names_changer_ != 0 && pending_.size() == 1) {  // with more in flight it is not over
    const bool over = *status == postgres::TransactionStatus::idle;
    gate_.names_settled(over ? Gate::Transaction::over : Gate::Transaction::open);
    if (over) names_changer_ = 0;
  }
  copy_decided(head);
  row_shape_.reset();
  row_plan_.reset();
  complete(head, head.failed ? Outcome::failure : Outcome::success, head.error_code);
  settle_names(head);
  if (head.changes_settings) changed_in_transaction_ = true;
  pop_head();
  for (const PortalRef& portal : bound_) {  // bound, never executed
    if (portal->command != 0) gate_.complete(std::exchange(portal->command, 0), {}, {});
  }
  bound_.clear();
  transaction_ = *status;
  if (transaction_ == postgres::TransactionStatus::idle) {
    portals_.forget_settled();  // portals live as long as their transaction
    changed_in_transaction_ = false;
  }
  return Relay::forward;
}

PostgresMachine::Relay PostgresMachine::on_row_description(Bytes body) {
  Pending& head = pending_.front();
  const bool describes =
      (head.kind == PendingKind::describe_statement && head.reads_result) || head.kind == PendingKind::describe_portal;
  const bool query = head.kind == PendingKind::query && !head.failed && !head.copying_out && !row_shape_;
  if ((!describes && !query) || !postgres::decode_row_description(body, columns_)) return unexpected(kRowDescription);
  scratch_shape_.clear();
  for (size_t i = 0; i < columns_.size(); ++i) {
    const postgres::ColumnDescription& column = columns_[i];
    scratch_shape_.push_back({policies::postgres_value_type(column.type_oid),
                              column.binary ? policies::ValueFormat::binary : policies::ValueFormat::text,
                              policies::name_kind(column.name)});
    masker_.add_text(Place::column_name, static_cast<uint16_t>(i), writable(body, column.name));
  }
  settle_column_names(scratch_shape_);
  if (query) {
    row_shape_ = std::make_shared<Shape>(scratch_shape_);
    if (masker_.columns()) plan_query_rows(head);
    return Relay::forward;
  }
  const Relay verdict = head.injected ? Relay::swallow : Relay::forward;
  described(head);
  pop_head();
  return verdict;
}

PostgresMachine::Relay PostgresMachine::on_no_data() {
  Pending& head = pending_.front();
  if ((head.kind != PendingKind::describe_statement || !head.reads_result) && head.kind != PendingKind::describe_portal)
    return unexpected(kNoData);
  const Relay verdict = head.injected ? Relay::swallow : Relay::forward;
  scratch_shape_.clear();
  described(head);
  pop_head();
  return verdict;
}

PostgresMachine::Relay PostgresMachine::on_parameter_description(ConstBytes body) {
  Pending& head = pending_.front();
  std::vector<uint32_t> oids;
  if (head.kind != PendingKind::describe_statement || head.reads_result ||
      !postgres::decode_parameter_description(body, oids)) {
    return unexpected(kParameterDescription);
  }
  head.reads_result = true;
  if (head.prepared) head.prepared->parameter_types = std::move(oids);
  return Relay::forward;
}

PostgresMachine::Relay PostgresMachine::on_simple_completion(uint8_t tag) {
  Pending& head = pending_.front();
  const bool fits =
      (tag == kParseComplete && head.kind == PendingKind::parse) ||
      (tag == kBindComplete && head.kind == PendingKind::bind) ||
      (tag == kCloseComplete && (head.kind == PendingKind::close_statement || head.kind == PendingKind::close_portal));
  if (!fits) return unexpected(tag);
  switch (head.kind) {
    case PendingKind::parse:
      complete(head, Outcome::success, {});
      statements_.settle(head.name, std::move(head.prepared));
      break;
    case PendingKind::bind:
      if (head.changes_settings) changed_in_transaction_ = true;
      if (head.portal->command != 0) bound_.push_back(head.portal);
      portals_.settle(head.name, std::move(head.portal));
      break;
    case PendingKind::close_statement:
      statements_.settle(head.name, nullptr);
      break;
    default:
      portals_.settle(head.name, nullptr);
      break;
  }
  pop_head();
  return Relay::forward;
}

// A statement of a Query, or an Execute, has run.
PostgresMachine::Relay PostgresMachine::on_command_end(uint8_t tag, ConstBytes body) {
  Pending& head = pending_.front();
  const bool query = head.kind == PendingKind::query && tag != kPortalSuspended && !head.failed;
  if ((!query && head.kind != PendingKind::execute) || head.copying_out || copy_in_) return unexpected(tag);
  if (tag == kCommandComplete) {
    const auto rows = postgres::decode_command_complete(body);
    if (!rows) return unexpected(tag);
    if (!row_shape_) head.rows += *rows;  // rows that were sent are counted already
  }
  row_shape_.reset();
  row_plan_.reset();
  copy_plan_.reset();
  if (query) {
    ++head.statements_ended;
    return Relay::forward;
  }
  copy_decided(head);
  complete(head, Outcome::success, {});
  settle_names(head);
  if (head.changes_settings) changed_in_transaction_ = true;
  pop_head();
  return Relay::forward;
}

PostgresMachine::Relay PostgresMachine::on_copy_response(uint8_t tag, ConstBytes body) {
  Pending& head = pending_.front();
  const auto response = postgres::decode_copy_response(body);
  const bool runs = (head.kind == PendingKind::query && !head.failed) || head.kind == PendingKind::execute;
  if (!response || !runs || head.copying_out || copy_in_) return unexpected(tag);
  if (tag == kCopyBothResponse) {
    end_session(CloseReason::refused, "0A000", "COPY in both directions (replication) is not supported through Sluice");
    return Relay::swallow;
  }
  copy_binary_ = response->binary;
  copy_reader_ = postgres::BinaryCopyReader(response->columns);
  if (tag == kCopyOutResponse) {
    head.copying_out = true;
    masker_.begin_copy();
    name_copy(head, *response);
    if (masker_.columns()) plan_copy(head, *response);
    return Relay::forward;
  }
  // The client waits wherever a COPY may begin; one that nobody saw coming would find it ahead.
  if (!head.may_copy_in) return unexpected(tag);
  copy_in_ = true;
  copy_in_masks_.reset();
  copy_undecided_ = false;
  if (wait_ == Wait::server) wait_ = Wait::none;
  if (client_ended_) end_session(CloseReason::client_left, {}, {});  // nobody is there to send the data
  return Relay::forward;
}

PostgresMachine::Relay PostgresMachine::on_function_result(Bytes body) {
  Pending& head = pending_.front();
  const auto result = postgres::decode_function_result(body);
  if (!result || head.kind != PendingKind::function_call || head.failed) return unexpected(kFunctionCallResponse);
  head.bytes += result->bytes.size();
  const Bytes value = body.subspan(body.size() - result->bytes.size());
  using policies::ValueFormat;
  if (value.empty()) return Relay::forward;
  // The protocol does not say of what type the result is. One look at a time: each sees what the one before has masked.
  const auto look = [&](ValueFormat format) {
    masker_.add(Place::function_result, 0, value, {policies::ValueType::opaque, format}, policies::ValuePart::whole,
                nullptr);
    (void)masker_.flush();
  };
  if (head.result != postgres::ResultFormats::Rule::all_text) look(ValueFormat::binary);
  if (head.result != postgres::ResultFormats::Rule::all_binary) look(ValueFormat::text);
  return Relay::forward;
}

}  // namespace sluice::session
