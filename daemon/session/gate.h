// The gate: the one place where a command waits, and where it is let go or refused. A protocol machine submits what it
// parsed; the gate has the text analysed, policy decide, and the intent recorded, and answers with a Permit, a refusal,
// or "parked". Machines see only this interface, so they are tested with a scripted gate and without I/O. Lifetime: one
// Gate per session, used on that session's worker thread alone.
//
// Durability: in `strict` mode a Permit is given once the intent is in the ring; the bytes it lets go are held back by
// the pump until the log is durable up to the sequence that the session's gate names (session_gate.h; a barrier on the
// output, so that one fsync serves a whole pipeline).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "daemon/command/column_verdict.h"
#include "parsers/sql/lineage.h"
#include "policies/cards/card_scanner.h"
#include "policies/cards/whole_value.h"
#include "policies/rules/decision.h"
#include "policies/rules/facts.h"

namespace sluice::session {

// Where in the life of a command the decision is asked for.
enum class Stage : uint8_t { query, parse, bind, execute, function_call, copy_in, cancel, replication };

// What the meaning of a text depends on, as far as the session has shown it. `certain` is false while something that
// may change one of them is in flight, or where one was never reported.
struct TextSettings {
  std::string client_encoding = "UTF8";
  bool standard_conforming_strings = true;
  bool certain = true;
  bool operator==(const TextSettings&) const = default;
};

// One analysed text: facts for policy, masked text for the record. Immutable, shared, cached by text and settings.
struct Statement {
  policies::StatementFacts facts;
  std::string masked_text;               // card data masked; never the raw text
  std::string text_sha256;               // of the masked text, 32 raw bytes: the key under which the log stores it
  bool may_change_settings = true;       // SET, set_config(), DISCARD, a function of unknown content …
  bool depends_on_settings = true;       // has a backslash or a character whose reading depends on TextSettings
  std::vector<std::string> prepares;     // names of SQL-level PREPARE, in order
  std::vector<std::string> executes;     // names of SQL-level EXECUTE
  std::vector<std::string> deallocates;  // names of SQL-level DEALLOCATE; "*" for ALL and DISCARD ALL
  bool carries_mask = false;             // a masked card number stands in the text
  bool copies_in = false;                // holds COPY … FROM STDIN
  bool changes_names = true;             // of relations or columns
};
using StatementRef = std::shared_ptr<const Statement>;

// A value of a large Bind that has not arrived yet when the decision is taken: not even its size is known.
inline constexpr uint64_t kBytesTotalUnknown = UINT64_MAX;

// A bind value or function argument, as sent. Borrowed bytes; may be only the beginning of a large value.
struct BindValue {
  std::span<const uint8_t> bytes;
  uint64_t bytes_total = 0;  // as announced; more than bytes.size() where only the beginning is at hand
  policies::ValueType type = policies::ValueType::opaque;
  policies::ValueFormat format = policies::ValueFormat::text;
  bool is_null = false;
};

struct CommandRequest {
  Stage stage = Stage::query;
  std::string_view text;   // query, parse: the statement text as sent
  TextSettings settings;   // query, parse
  StatementRef statement;  // bind, execute: what the name stands for; null where the machine does not know it (unknown)
  std::string_view statement_name;      // for the record; may be empty
  std::span<const BindValue> values;    // bind, function_call
  uint32_t function_oid = 0;            // function_call
  std::span<const uint8_t> cancel_key;  // cancel: names the session that it is about
  bool withdrawn = false;               // the client cancelled it while it was parked: refuse it
  bool record_intent = true;  // false: decide again, but an event already stands for it (first Execute after its Bind)
};

using CommandId = uint64_t;  // unique within the session, from 1

struct Passed {
  policies::Permit permit;
  StatementRef statement;  // null for function_call, cancel, replication
  CommandId command = 0;   // 0 where no intent was recorded
  bool delivered = false;  // cancel: it met its command within Sluice, so that nothing is left for the server to do
};

struct Refused {
  std::string message;             // for the client: names the rule and its reason
  std::string sqlstate = "42501";  // 54000 for a limit, 58030 where the log cannot be written
};

struct Parked {};  // stop taking bytes from the client; submit the same request again on resume()

using Answer = std::variant<Passed, Refused, Parked>;

enum class Outcome : uint8_t { success, failure };

// How a command ended.
struct Completion {
  Outcome outcome = Outcome::success;
  uint64_t rows = 0;
  uint64_t bytes = 0;           // result bytes to the client; for COPY IN bytes from the client
  std::string_view error_code;  // SQLSTATE of the server's refusal; empty on success
};

// Card data that was masked, summed per command, column and brand.
struct FindingCount {
  policies::FindingKind kind = policies::FindingKind::pan;
  std::string_view name;  // of the kind, as the record has it
  policies::Brand brand = policies::Brand::visa;
  std::string_view
      where;  // "column:3", "error:D", "notice:M", "copy", "notification", "function_result", "parameter_status"
  uint64_t count = 0;
};

// How values towards the client are masked from now on. The scanner lives until the next call of masking().
struct MaskingInForce {
  policies::CardScanner* scanner = nullptr;  // null: the one that the machine was made with
  policies::MaskStyle style = policies::MaskStyle::bin6_last4;
  bool refuse_masked_writes = true;  // data that carries a masked card number back
  bool short_values = false;         // values too short for a card number are to be looked at too
  bool columns = false;              // policy names columns: results need a plan
};

// What becomes of the columns of one result. Null where all of them go on as they are.
struct ColumnPlan {
  std::vector<command::ColumnVerdict> columns;
  policies::WholeNumbers numbers = policies::WholeNumbers::zero;
  sql::CopyFormat copy;
};
using ColumnPlanRef = std::shared_ptr<const ColumnPlan>;

// A result whose columns are to be resolved.
struct ResultRequest {
  StatementRef statement;  // null: not known
  size_t index = 0;        // of the statement within its text
  std::span<const command::ResultColumn> columns;
};

// What the columns of a COPY to the client are called, in order; and, of text and CSV, how a row is divided.
struct CopyNames {
  std::vector<std::string> names;
  sql::CopyFormat format;
};

// What the server says of a statement, other than its result.
struct ServerReport {
  std::string_view sqlstate;  // of an error; empty for a notice
  std::string_view context;   // what was running, a line each, innermost first; empty where only the statement was
};

// Things that end or describe a session and belong in the record.
enum class SessionNote : uint8_t {
  authenticated,
  authentication_failed,
  protocol_violation,
  refused_replication,
  limit_exceeded,
  masked_write,  // COPY data that carries a masked card number; the COPY was made to fail
};

// What is said to whoever writes a masked card number back.
inline constexpr std::string_view kMaskedWrite =
    "blocked: a masked card number stands in what is to be written; it would destroy the number that it stands for";
inline constexpr std::string_view kMaskedWriteState = "22023";  // invalid_parameter_value

class Gate {
 public:
  virtual ~Gate() = default;

  // Decides one command. After Parked the machine keeps the request and submits it again when it is resumed; nothing is
  // recorded twice. A refusal has already been recorded (command_blocked) when it is returned.
  [[nodiscard]] virtual Answer submit(const CommandRequest& request) = 0;

  // The command ended; findings are those of its whole result. `command` 0 is for what belongs to no command (async
  // notices).
  virtual void complete(CommandId command, const Completion& completion, std::span<const FindingCount> findings) = 0;

  [[nodiscard]] virtual MaskingInForce masking() { return {}; }

  // --- columns; asked only where MaskingInForce::columns says so
  [[nodiscard]] virtual ColumnPlanRef plan_columns(const ResultRequest&) { return nullptr; }
  // Changes when a plan made before may be wrong.
  [[nodiscard]] virtual uint64_t columns_epoch() { return 0; }
  // Whether what the server says may quote a protected column. Null: it is about no one statement (a Sync, at which
  // deferred triggers run).
  [[nodiscard]] virtual bool withholds(const StatementRef&, const ServerReport&) { return false; }
  // The names of the `columns` that the statement's part at `index` copies to the client; nothing where they cannot be
  // told.
  [[nodiscard]] virtual std::optional<CopyNames> copy_names(const StatementRef&, size_t /*index*/, size_t /*columns*/) {
    return std::nullopt;
  }
  // Commands that may have changed names were answered; where no transaction is open any more, for good.
  enum class Transaction : uint8_t { open, over };
  virtual void names_settled(Transaction) {}

  // The start-up message was read (claimed identity); then what became of it.
  virtual void claimed(const policies::ClaimedIdentity& identity) = 0;
  virtual void note(SessionNote kind, std::string_view detail) = 0;
  // The server named the key by which cancel requests mean this session.
  virtual void cancel_key(std::span<const uint8_t> key) = 0;
};

}  // namespace sluice::session
