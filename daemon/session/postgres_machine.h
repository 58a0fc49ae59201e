// The machine of a PostgreSQL session, protocol 3.0 and 3.2. Nothing reaches the server without a permit, and nothing
// reaches the client unscanned; what is not understood ends the session.
//
// Client to server: each message is looked at whole where it stands in the read buffer and forwarded from there.
// Messages larger than the window are collected (statement texts, up to their limit; the head of a Bind or
// FunctionCall) or stream by (bind values, COPY data). A refused command is replaced by a stand-in that the server must
// refuse as well, so all state stays the server's own. Server to client: every message is matched to the oldest command
// that is not answered yet; values are masked in place and the whole read goes on as one piece.
//
// Lifetime and threading: one per session, on its worker. Limits: MachineLimits and the constants below; memory is
// bounded by the statement limit plus kHeldBodyMax, whatever either peer sends.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/session/copy_masks.h"
#include "daemon/session/machine.h"
#include "daemon/session/postgres_copy_stream.h"
#include "daemon/session/postgres_masker.h"
#include "daemon/session/postgres_names.h"
#include "daemon/session/postgres_pipeline.h"
#include "parsers/postgres/backend.h"
#include "parsers/postgres/binary_copy.h"
#include "parsers/postgres/build.h"
#include "parsers/postgres/framing.h"
#include "parsers/postgres/startup.h"
#include "policies/cards/masked_value.h"

namespace sluice::session {

class PostgresMachine final : public Machine {
 public:
  PostgresMachine(Gate& gate, policies::CardScanner& scanner, const MachineLimits& limits);

  [[nodiscard]] size_t on_bytes(Side from, std::span<uint8_t> bytes, Actions& actions) override;
  void on_end(Side from, Actions& actions) override;
  [[nodiscard]] bool parked() const override { return wait_ != Wait::none; }
  void resume(Actions& actions) override;
  void on_failure(Failure failure, std::string_view detail, Actions& actions) override;
  [[nodiscard]] bool refusing() const override { return refusal_ != nullptr; }
  [[nodiscard]] Phase phase() const override;
  [[nodiscard]] bool cancellable() const override;
  [[nodiscard]] Cancelled on_cancel() override;
  [[nodiscard]] std::vector<uint8_t> cancel_request() const override;

 private:
  using Bytes = std::span<uint8_t>;
  using ConstBytes = std::span<const uint8_t>;

  enum class Stage : uint8_t { startup, cancel, authentication, ready, closing };
  enum class Wait : uint8_t { none, gate, server };
  enum class Verdict : uint8_t { done, wait };      // wait: present the message again
  enum class Relay : uint8_t { forward, swallow };  // what becomes of a message of the server
  struct Ending {
    CloseReason reason;
    std::string sqlstate;
    std::string message;
  };
  struct RowStream {  // a DataRow larger than the window, on its way
    bool active = false;
    bool in_value = false;
    bool first = false;
    uint16_t column = 0;
    uint16_t columns = 0;
    uint64_t body_left = 0;
    uint64_t value_bytes = 0;
    uint64_t value_left = 0;
    policies::StreamState state;
  };

  static constexpr size_t kHeadBytesMax = 256 * 1024;  // of a large Bind or FunctionCall, collected to decide on
  static constexpr size_t kStreamPartMin = 4096;       // smaller parts of a large value wait for more
  static constexpr size_t kKeptMax = 64;               // entries of scratch lists that an idle session keeps
  static constexpr size_t kNamesMax = 16 * 1024;       // prepared statements or portals of one session

  // --- postgres_machine.cc: endings, settings, small helpers
  void end_session(CloseReason reason, std::string_view sqlstate, std::string_view message);
  void violation(std::string_view detail);
  void finish_step(Actions& actions);
  void give_refusal();
  void close_if_drained();
  [[nodiscard]] bool client_within_message() const { return row_.active || copy_left_ > 0 || copy_out_.holding(); }

  // --- postgres_startup.cc
  size_t on_startup(Bytes bytes, Actions& actions);
  void on_startup_message(const postgres::StartupPacket& packet, Bytes message, Actions& actions);
  void on_cancel_request(Bytes message, Actions& actions, size_t& taken);
  Verdict on_authentication_answer(Bytes message, Actions& actions);
  Relay on_authentication(ConstBytes body);
  Relay on_negotiated_version(ConstBytes body);
  Relay on_key_data(ConstBytes body);
  void tell_negotiation(uint16_t minor, Actions& actions);

  // --- postgres_client.cc: framing and the messages that are no commands
  size_t on_client(Bytes bytes, Actions& actions);
  size_t client_step(Bytes rest, Actions& actions);
  size_t begin_large(const postgres::Frame& frame, Bytes rest, Actions& actions);
  size_t collect(Bytes rest, Actions& actions);
  Verdict on_client_message(uint8_t tag, Bytes message, uint64_t total_bytes, Actions& actions);
  Verdict on_copy_in_message(uint8_t tag, Bytes message, Actions& actions);
  [[nodiscard]] bool copy_in_may_go(ConstBytes payload, Actions& actions);
  size_t pass_large_copy_in(Bytes rest, Actions& actions);
  Verdict on_ready_message(uint8_t tag, Bytes message, uint64_t total_bytes, Actions& actions);
  Verdict on_sync(Bytes message, Actions& actions);
  Verdict on_terminate(Bytes message, Actions& actions);
  Verdict on_describe(Bytes message, Actions& actions);
  Verdict on_close(Bytes message, Actions& actions);
  Verdict wait_for_server(Actions& actions);
  void push(Pending pending);

  // --- postgres_commands.cc: what the gate decides
  Verdict on_query(Bytes message, Actions& actions);
  Verdict on_parse(Bytes message, Actions& actions);
  Verdict on_bind(Bytes message, uint64_t total_bytes, Actions& actions);
  Verdict on_execute(Bytes message, Actions& actions);
  Verdict on_function_call(Bytes message, uint64_t total_bytes, Actions& actions);
  [[nodiscard]] bool settings_for(std::string_view text, TextSettings& settings);
  void fill_values(std::span<const postgres::Parameter> parameters, const Prepared* prepared);
  void note_effects(Pending& pending, const StatementRef& statement);
  [[nodiscard]] bool needs_describe(const Portal& portal) const;
  [[nodiscard]] std::optional<Passed> ask(const CommandRequest& request, Refused& refused);

  // --- postgres_refusal.cc
  [[nodiscard]] std::string random_name();
  void stand_in_for(PendingKind kind, Refused refused, std::string_view name, Actions& actions);
  void refuse_large(uint8_t tag, ConstBytes head, Actions& actions);
  void refuse_copy_in(std::string_view why, std::string_view sqlstate, Actions& actions);
  [[nodiscard]] bool rewrites(const StandIn& stand_in, bool fatal, std::string_view sqlstate, ConstBytes message) const;
  [[nodiscard]] bool mentions_stand_in(ConstBytes message) const;

  // --- postgres_server.cc: framing, rows, streams
  // Bytes of one step; [sent, position) is decided and goes on as it stands.
  struct Stretch {
    Bytes bytes;
    Actions& actions;
    size_t position = 0;
    size_t sent = 0;
    [[nodiscard]] Bytes rest() const { return bytes.subspan(position); }
    void forward(size_t size) { position += size; }
    void send() {
      actions.to_client(bytes.subspan(sent, position - sent));
      sent = position;
    }
    void drop(size_t size) {
      send();
      position += size;
      sent = position;
    }
  };
  enum class Where : uint8_t { in_stretch, held };
  size_t on_server(Bytes bytes, Actions& actions);
  [[nodiscard]] bool server_step(Stretch& stretch);
  [[nodiscard]] bool begin_large_answer(const postgres::Frame& frame, Stretch& stretch);
  [[nodiscard]] bool hold(Stretch& stretch);
  void relay(Bytes message, Where where, Stretch& stretch);
  void relay_copy_data(Bytes message, Stretch& stretch);
  void relay_copy_chunk(Stretch& stretch);
  void relay_binary_copy(size_t size, Stretch& stretch);
  void pass_copy_framing(size_t size, Stretch& stretch);
  size_t stream_row(Bytes rest);
  [[nodiscard]] bool begin_value(Bytes rest);
  void end_value();
  void on_data_row(Bytes body);
  [[nodiscard]] bool resolve_row_shape();
  Relay on_server_message(uint8_t tag, Bytes message, Actions& actions);

  // --- postgres_columns.cc: results of which policy masks columns
  void on_planned_row(Bytes message, Stretch& stretch);
  void mask_streamed(Bytes part, ColumnShape shape);
  [[nodiscard]] ColumnPlanRef plan_of(DescribedColumns& described, const StatementRef& statement, size_t index);
  void describe_columns(DescribedColumns& described);
  void plan_query_rows(const Pending& head);
  void plan_portal_rows(Portal& portal);
  [[nodiscard]] bool bytes_may_mix() const;
  void name_copy(const Pending& head, const postgres::CopyResponse& response);
  void plan_copy(const Pending& head, const postgres::CopyResponse& response);
  [[nodiscard]] StatementRef statement_of(const Pending& pending) const;
  [[nodiscard]] bool withheld(std::string_view sqlstate) const;
  [[nodiscard]] bool is_planned(uint16_t column) const {
    return row_plan_ != nullptr && row_plan_->columns[column] != command::ColumnVerdict::clear;
  }

  // --- postgres_answers.cc: each answer and the command it belongs to
  Relay on_start_answer(uint8_t tag, Bytes message, Actions& actions);
  Relay on_answer(uint8_t tag, Bytes message, Actions& actions);
  Relay on_async(uint8_t tag, Bytes body);
  Relay on_error(Bytes message, Actions& actions);
  Relay on_ready_for_query(ConstBytes body);
  Relay on_row_description(Bytes body);
  Relay on_no_data();
  Relay on_parameter_description(ConstBytes body);
  Relay on_simple_completion(uint8_t tag);
  Relay on_command_end(uint8_t tag, ConstBytes body);
  Relay on_copy_response(uint8_t tag, ConstBytes body);
  Relay on_function_result(Bytes body);
  void mask_report(Place place, Bytes body);
  void parameter_changed(const postgres::ParameterSetting& setting);

  // --- postgres_settle.cc: how commands end
  void complete(Pending& pending, Outcome outcome, std::string_view error_code);
  void settle_names(const Pending& pending);
  enum class Fate : uint8_t { failed, skipped };
  void drop_command(Pending& pending, Fate fate, std::string_view error_code);
  void fail_segment(std::string_view error_code);
  void described(const Pending& head);
  // Once: by the ReadyForQuery behind its error, another command may be undecided.
  void copy_decided(Pending& pending) {
    copy_undecided_ = copy_undecided_ && !pending.may_copy_in;
    pending.may_copy_in = false;
  }
  void pop_head();
  void report_loose_findings();
  void release_scratch();
  Relay unexpected(uint8_t tag);

  Gate& gate_;
  const MachineLimits limits_;
  PostgresMasker masker_;
  Stage stage_ = Stage::startup;
  std::optional<Ending> ending_;
  std::unique_ptr<Ending> refusal_;  // why no session starts; told in answer to the start-up message

  // Start-up.
  bool ssl_asked_ = false;
  bool gss_asked_ = false;
  bool authenticated_ = false;
  bool authentication_wanted_ = false;  // the server waits for a password message
  uint16_t minor_ = 0;                  // what the server was asked for
  struct Negotiation {                  // what the client asked for and does not get
    uint16_t minor = 0;
    std::vector<std::string> options;
  };
  std::unique_ptr<Negotiation> negotiation_;  // until the client was told
  bool negotiated_ = false;                   // by the server
  std::string backend_key_;                   // process id and secret
  CommandId cancel_command_ = 0;

  // Settings that the meaning of a text depends on.
  TextSettings settings_;
  bool encoding_reported_ = false;
  bool strings_reported_ = false;
  bool changed_in_transaction_ = false;  // the open transaction may have changed one; its end may change it back
  uint64_t names_changer_ = 0;           // segment of the newest command that may change names of columns; 0: none
  uint64_t last_changer_ = 0;            // segment of the newest command that may change one

  // Client side.
  Wait wait_ = Wait::none;
  bool withdrawn_ = false;          // the client cancelled the message that is parked
  uint64_t passing_ = 0;            // bytes of a decided message that still go by
  uint64_t skipping_ = 0;           // bytes of a refused message that still are dropped
  std::vector<uint8_t> collected_;  // a large message, or its head
  size_t collect_bytes_ = 0;        // how much of it is wanted; 0: none
  uint64_t collect_total_ = 0;
  std::vector<std::vector<uint8_t>> spent_;  // large messages that the last step's actions borrowed
  bool discarding_ = false;                  // the server ignores everything up to the next Sync, or will: so do we
  bool copy_in_ = false;                     // the server takes COPY data
  policies::MaskedCardStream copy_in_masks_;
  uint64_t copy_in_left_ = 0;    // bytes of a large CopyData message in binary format still to come
  bool copy_undecided_ = false;  // a command in flight may make it so: what comes next depends on it
  bool unflushed_ = false;       // the server may sit on answers
  bool terminated_ = false;
  bool client_ended_ = false;
  bool client_left_over_ = false;  // the last look at the client's bytes did not take them all
  uint64_t segment_ = 1;
  uint64_t resolved_ = 0;  // newest segment that is answered
  uint64_t executions_ = 0;
  NameTable<Prepared> statements_;
  NameTable<Portal> portals_;
  postgres::Bind bind_;
  postgres::FunctionCall call_;
  std::vector<BindValue> values_;
  uint64_t random_state_;
  uint32_t stand_ins_ = 0;  // in flight

  // Server side.
  std::deque<Pending> pending_;
  std::vector<PortalRef> bound_;  // since the last ReadyForQuery
  postgres::TransactionStatus transaction_ = postgres::TransactionStatus::idle;
  ShapeRef row_shape_;
  ColumnPlanRef row_plan_;  // of the rows under way; null: no column of theirs is masked whole
  std::unique_ptr<CopyMasks> copy_plan_;
  RowStream row_;
  uint64_t copy_left_ = 0;  // bytes of a large CopyData message still to come
  CopyOutStream copy_out_;
  bool copy_binary_ = false;  // the COPY under way, in either direction, is in binary format
  postgres::BinaryCopyReader copy_reader_;
  std::vector<uint8_t> held_;  // a large message of the server that has to be looked at whole
  size_t held_bytes_ = 0;
  std::vector<uint8_t> replacement_;  // what goes to the client instead of a message
  std::vector<postgres::ColumnDescription> columns_;
  std::vector<postgres::ReportField> fields_;
  Shape scratch_shape_;
};

}  // namespace sluice::session
