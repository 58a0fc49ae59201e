#include "daemon/session/postgres_machine.h"

#include <algorithm>
#include <utility>

#include "parsers/sql/analysis.h"

namespace sluice::session {

std::unique_ptr<Machine> make_postgres_machine(Gate& gate, policies::CardScanner& scanner,
                                               const MachineLimits& limits) {
  return std::make_unique<PostgresMachine>(gate, scanner, limits);
}

PostgresMachine::PostgresMachine(Gate& gate, policies::CardScanner& scanner, const MachineLimits& limits)
    : gate_(gate), limits_(limits), masker_(gate, scanner), random_state_(limits.stand_in_seed), copy_out_(masker_) {}

size_t PostgresMachine::on_bytes(Side from, std::span<uint8_t> bytes, Actions& actions) {
  spent_.clear();
  if (stage_ == Stage::closing) return bytes.size();
  if (from == Side::server) masker_.refresh();
  const size_t taken = from == Side::client ? on_client(bytes, actions) : on_server(bytes, actions);
  finish_step(actions);
  return stage_ == Stage::closing ? bytes.size() : taken;
}

void PostgresMachine::resume(Actions&) {
  if (wait_ == Wait::gate) wait_ = Wait::none;
}

void PostgresMachine::on_end(Side from, Actions& actions) {
  if (stage_ == Stage::closing) return;
  give_refusal();
  if (from == Side::server) {
    if (cancel_command_ != 0) gate_.complete(cancel_command_, {}, {});
    const bool expected = terminated_ || stage_ == Stage::cancel;
    end_session(expected ? CloseReason::finished : CloseReason::server_left, {}, {});
  } else if (terminated_ && pending_.empty()) {
    end_session(CloseReason::finished, {}, {});
  } else if (stage_ == Stage::cancel && wait_ == Wait::none) {
    return;  // the server closes once it has taken the request
  } else if (wait_ == Wait::gate || stage_ != Stage::ready || pending_.empty() || copy_in_) {
    end_session(CloseReason::client_left, {}, {});  // what was parked never ran
  } else {
    client_ended_ = true;  // a client that only sends no more still gets its answers
  }
  finish_step(actions);
}

void PostgresMachine::on_failure(Failure failure, std::string_view detail, Actions& actions) {
  if (stage_ == Stage::closing) return;
  const std::string text(detail);
  switch (failure) {
    case Failure::upstream_unreachable:
      // cannot_connect_now: libpq and other clients with a list of hosts go on to the next one, as after a refused
      // connect().
      end_session(CloseReason::server_left, "57P03", "could not connect to the server: " + text);
      break;
    case Failure::startup_timeout:
      end_session(CloseReason::timeout, "08006", "start-up took too long: " + text);
      break;
    case Failure::log_unavailable:
      end_session(CloseReason::log_unavailable, "58030",
                  "the audit log cannot be written, so nothing may run: " + text);
      break;
    case Failure::shutdown:
      end_session(CloseReason::shutdown, "57P01", "terminating connection because Sluice shuts down: " + text);
      break;
    case Failure::killed:
      end_session(CloseReason::killed, "57P01", "terminating connection due to administrator command: " + text);
      break;
    case Failure::out_of_memory:
      end_session(CloseReason::internal_error, "53200", "out of memory: " + text);
      break;
  }
  const bool at_connect = failure == Failure::upstream_unreachable || failure == Failure::log_unavailable;
  if (stage_ == Stage::startup && at_connect && !refusal_) {
    refusal_ = std::make_unique<Ending>(*std::exchange(ending_, std::nullopt));
    return;
  }
  give_refusal();
  finish_step(actions);
}

// What kept the session from starting outweighs what came after it.
void PostgresMachine::give_refusal() {
  if (refusal_) ending_ = *std::exchange(refusal_, nullptr);
}

Phase PostgresMachine::phase() const {
  switch (stage_) {
    case Stage::startup:
      return Phase::startup;
    case Stage::authentication:
      return Phase::authentication;
    case Stage::closing:
      return Phase::closing;
    case Stage::cancel:
      return Phase::busy;
    case Stage::ready:
      break;
  }
  // Work of the client is lost where the session ends within a transaction or a message.
  const bool idle = pending_.empty() && wait_ == Wait::none && transaction_ == postgres::TransactionStatus::idle &&
                    !discarding_ && passing_ == 0 && skipping_ == 0 && copy_in_left_ == 0 && collect_bytes_ == 0;
  return idle ? Phase::idle : Phase::busy;
}

// A cancel request means the command that the server works on, or else the one that would be next. Of a pipeline that
// one is known where the commands before it belong to the same segment: they fail together.
bool PostgresMachine::cancellable() const {
  return wait_ == Wait::gate && stage_ == Stage::ready && (pending_.empty() || pending_.front().segment == segment_);
}

Machine::Cancelled PostgresMachine::on_cancel() {
  if (!cancellable()) return Cancelled::at_server;
  withdrawn_ = true;
  wait_ = Wait::none;
  const bool runs = std::any_of(pending_.begin(), pending_.end(),
                                [](const Pending& one) { return one.kind == PendingKind::execute; });
  return runs ? Cancelled::both : Cancelled::here;
}

std::vector<uint8_t> PostgresMachine::cancel_request() const {
  if (backend_key_.empty() || pending_.empty()) return {};
  return postgres::build_cancel_request({reinterpret_cast<const uint8_t*>(backend_key_.data()), backend_key_.size()});
}

// The session ends when this step's bytes are delivered. An empty SQLSTATE: without a word to the client.
void PostgresMachine::end_session(CloseReason reason, std::string_view sqlstate, std::string_view message) {
  if (ending_) return;
  ending_ = Ending{reason, std::string(sqlstate), std::string(message)};
}

void PostgresMachine::violation(std::string_view detail) {
  if (ending_) return;
  gate_.note(SessionNote::protocol_violation, detail);
  end_session(CloseReason::protocol_violation, "08P01", detail);
}

void PostgresMachine::finish_step(Actions& actions) {
  if (!ending_ || stage_ == Stage::closing) return;
  // Within a message an error would be read as its contents.
  if (!ending_->sqlstate.empty() && !client_within_message() && stage_ != Stage::cancel) {
    actions.to_client_copy(postgres::build_error(postgres::Severity::fatal, ending_->sqlstate, ending_->message));
  }
  actions.close(ending_->reason, ending_->message);
  stage_ = Stage::closing;
  wait_ = Wait::none;
}

void PostgresMachine::close_if_drained() {
  if (client_ended_ && pending_.empty() && wait_ == Wait::none && !client_left_over_) {
    end_session(terminated_ ? CloseReason::finished : CloseReason::client_left, {}, {});
  }
}

// What a text means may depend on settings; `settings` says which, and how sure that is. False: wait for the server,
// whose answers to earlier segments will tell.
bool PostgresMachine::settings_for(std::string_view text, TextSettings& settings) {
  settings = settings_;
  settings.certain = true;
  if (!sql::text_depends_on_settings(text)) return true;
  settings.certain = encoding_reported_ && strings_reported_;
  // A change is reported with ReadyForQuery at the latest (ReportChangedGUCOptions). An earlier segment's is on its
  // way; one of this segment cannot be known before its Sync, which may come after this text.
  if (last_changer_ > resolved_) {
    if (last_changer_ < segment_) return false;
    settings.certain = false;
  }
  // An error or the end of a transaction takes back what was set in it.
  if (changed_in_transaction_ && !pending_.empty()) {
    if (pending_.front().segment < segment_) return false;
    settings.certain = false;
  }
  return true;
}

}  // namespace sluice::session
