// Builds events. An event that lacks one of the six fields of PCI DSS 10.2.2 (user, type, date and time, success or
// failure, origination, affected resource) cannot be built: the constructors demand all of them, as types that cannot
// be empty. Everything textual is scanned for card data once more when it is encoded; a hit is masked and counted (self
// findings). Schema: event.proto; docs/events.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policies/cards/card_scanner.h"
#include "policies/rules/facts.h"

namespace sluice::events {

// Snake_case of these names is what `--json` shows.
enum class EventType : uint16_t {
  daemon_started,
  daemon_stopped,
  daemon_draining,
  policy_loaded,
  policy_rejected,
  session_started,
  session_ended,
  authentication,
  command_received,
  command_completed,
  command_blocked,
  connect_refused,
  uncovered_connection,
  coverage,
  tamper_warning,
  control_failure,
  control_recovery,
  loss,
  log_read,
  protocol_violation,
  limit_exceeded,
  session_killed,
  self_finding,
  log_recovered,
  acceleration,
};
inline constexpr size_t kEventTypeCount = static_cast<size_t>(EventType::acceleration) + 1;
[[nodiscard]] std::string_view to_string(EventType type);
[[nodiscard]] std::optional<EventType> parse_event_type(std::string_view word);

enum class EventOutcome : uint8_t { success, failure, refused };
[[nodiscard]] std::string_view to_string(EventOutcome outcome);

// Nanoseconds since 1970-01-01 UTC.
struct UtcTime {
  int64_t ns = 0;
};

// Who acts: for sessions the attested process, for the daemon's own events the daemon itself or the caller of the
// control socket.
struct Actor {
  policies::AttestedIdentity attested;
  policies::ClaimedIdentity claimed;
};

// The session that later events refer to instead of repeating identity and origin. `session_started` carries all of it.
struct SessionInfo {
  std::string id;      // 16 lower-case hex digits, unique on this host
  std::string target;  // affected resource
  Actor actor;
  std::string origin;       // client address, "10.0.0.7:51234" or "[::1]:5555"
  std::string destination;  // where the client wanted to go
  uint64_t reference = 0;   // session_reference(id); 0: not worked out yet
};

// Text that is stored once per segment by its hash; events refer to it. Already masked.
struct StoredText {
  std::string sha256;  // 32 raw bytes
  std::string masked;
  // Set by the builder once its own scan found nothing in `masked`, so that a text is scanned once and not per event.
  mutable uint8_t scanned_clean = 0;
};
using StoredTextRef = std::shared_ptr<const StoredText>;

// An event ready for the ring: serialised, self-scanned.
struct EncodedEvent {
  std::string bytes;   // serialised sluice.events.Event
  StoredTextRef text;  // to be stored before it in the same segment; may be null
  // For the writer, so that it need not parse what it stores.
  EventType type = EventType::daemon_started;
  uint64_t session = 0;  // the session's reference (session_reference()), 0: none
  bool context = false;  // carries the session's identity and origin: later events of the session may refer to it
};

// Events that carry their session's identity and origin in full. `authentication` does too, because what the client
// claims is only known by then; the last such event of a session is its context.
[[nodiscard]] constexpr bool carries_context(EventType type) {
  return type == EventType::session_started || type == EventType::authentication;
}

// A session's id as it stands in its events: the 16 hex digits as a number, or a hash for an id of any other form.
// Never 0.
[[nodiscard]] uint64_t session_reference(std::string_view id);

// Limits of one event. What goes beyond is left out and counted in the event (entries_omitted, bytes_omitted). The text
// of a statement is not part of the event and is stored whole, up to kTextBytesMax.
inline constexpr size_t kFieldBytesMax = 4096;
inline constexpr size_t kListEntriesMax = 256;
inline constexpr size_t kBindValuesMax = 1024;
inline constexpr size_t kEventBytesMax = size_t{1} << 20;            // list entries are left out beyond this
inline constexpr size_t kTextBytesMax = (size_t{16} << 20) + 65536;  // the statement limit, with room for masked forms

struct FindingSummary {
  std::string_view kind, brand, where;
  uint64_t count = 0;
};

// Fields that many events have alike, serialised and scanned once: see EventBuilder::end_shared().
class SharedFields {
 public:
  [[nodiscard]] size_t size() const { return bytes_.size(); }

 private:
  friend class EventBuilder;
  std::string bytes_;
  size_t relations_ = 0, functions_ = 0;
  uint64_t entries_omitted_ = 0, bytes_omitted_ = 0;
  uint64_t masked_ = 0;  // findings that the scan masked; each event that holds the fields tells them
};

class EventBuilder {
 public:
  // An event of a session: user, origination and resource are those of `session` (by reference in the log).
  EventBuilder(EventType type, UtcTime time, EventOutcome outcome, const SessionInfo& session);
  // An event of the daemon or of a control call: all six spelled out. `resource` e.g. "audit-log", "policy",
  // "target:payments-db".
  EventBuilder(EventType type, UtcTime time, EventOutcome outcome, const Actor& actor, std::string_view origin,
               std::string_view resource);
  ~EventBuilder();
  EventBuilder(EventBuilder&&) noexcept;

  EventBuilder& command(uint64_t command_id);
  EventBuilder& text(StoredTextRef text);
  EventBuilder& stage(std::string_view stage);  // "query", "parse", "bind", …
  EventBuilder& kinds(std::span<const policies::StatementKind> kinds);
  EventBuilder& relations(std::span<const policies::Relation> relations);
  EventBuilder& functions(std::span<const std::string> functions);
  EventBuilder& bind_value(std::string_view masked, uint64_t bytes_total);  // in order; null: bytes_total = UINT64_MAX
  EventBuilder& rule(std::string_view name, std::string_view policy_version);
  EventBuilder& rows(uint64_t rows);
  EventBuilder& bytes(uint64_t bytes);
  EventBuilder& error_code(std::string_view code);
  EventBuilder& finding(const FindingSummary& finding);
  EventBuilder& detail(std::string_view text);
  EventBuilder& counter(std::string_view name, uint64_t value);  // coverage and the like

  // What is added between the two, of stage, kinds, relations, functions and rule, is scanned at once and given back,
  // to be added to other events as it is.
  void begin_shared();
  [[nodiscard]] SharedFields end_shared(policies::CardScanner& scanner);
  EventBuilder& shared(const SharedFields& fields);  // before any relation or function of its own

  // Serialises and scans once more. `self_findings` is raised by what that scan had to mask.
  [[nodiscard]] EncodedEvent build(policies::CardScanner& scanner, uint64_t& self_findings);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sluice::events
