// What the control socket can ask of the running daemon. The service implements it; the control server serves it as
// HTTP+JSON; the command line is its client. Plain structs, so that neither side knows how the other works. Threading:
// every call may come from any control thread, several at once; none of them waits on a worker for longer than
// kOperationWaitMs. Lifetime: the Operations object outlives the control server.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "policies/rules/facts.h"
#include "policies/rules/problem.h"

namespace sluice::control {

// Longest time that one operation may take to gather what the workers know (ms).
inline constexpr uint32_t kOperationWaitMs = 2'000;

// Of what metrics() gives: the text exposition format of Prometheus.
inline constexpr const char* kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

enum class DaemonState : uint8_t { starting, running, degraded, draining };
[[nodiscard]] constexpr std::string_view to_string(DaemonState state) {
  switch (state) {
    case DaemonState::starting:
      return "starting";
    case DaemonState::running:
      return "running";
    case DaemonState::degraded:
      return "degraded";
    case DaemonState::draining:
      return "draining";
  }
  return "degraded";
}

// connects = redirected + refused + exempt + uncovered.
struct CoverageView {
  uint64_t connects = 0;
  uint64_t redirected = 0;
  uint64_t refused = 0;
  uint64_t exempt = 0;
  uint64_t uncovered = 0;
};

struct TargetView {
  std::string name;
  std::string state;  // "protected"; "uncovered" where steering is not in force
  std::string protocol;
  uint64_t sessions = 0;        // live ones
  uint64_t uncovered_open = 0;  // connections that are open now and go past Sluice
  CoverageView coverage;
  std::string accelerate;    // as configured: "auto", "on", "off"
  std::string acceleration;  // what it comes to on this host: "off", "into Sluice", "both ways"
  std::string why_acceleration;
};

// One verdict of the self-test of the short-circuit.
struct AccelerationCheckView {
  std::string name;
  std::string weight;  // what a failure forbids: "fatal", "foreign", "guarded"
  bool passed = false;
  std::string detail;
  std::string meaning;  // empty where it passed
};

struct AccelerationView {
  std::vector<AccelerationCheckView> checks;  // empty where no target asked for it
  // Processor time of an exchange in percent of that by TCP; 0: not measured.
  uint64_t into_daemon_percent = 0;
  uint64_t both_ways_percent = 0;
};

struct SinkView {
  std::string name;
  std::string state;
  uint64_t lag_events = 0;
};

struct LogView {
  std::string state;      // "healthy" or "failing"
  std::string failure;    // why it is failing; empty otherwise
  std::string recovered;  // what recovery found at start; empty where the last stop was clean
  std::string log_id;
  std::string durability;  // "strict" or "relaxed"
  uint64_t events = 0;
  uint64_t bytes = 0;
  uint64_t segments = 0;
};

struct StatusView {
  DaemonState state = DaemonState::starting;
  std::vector<std::string> problems;  // why it is degraded, as sentences; empty otherwise
  std::string version;
  int64_t pid = 0;
  int64_t started_ns = 0;  // UTC
  std::vector<TargetView> targets;
  std::vector<SinkView> sinks;
  std::string policy_version;
  uint64_t policy_rules = 0;
  uint64_t sessions = 0;                     // live ones
  uint64_t connections_without_note = 0;     // reset: nobody was steered here
  uint64_t connections_refused = 0;          // no descriptor, no room
  uint64_t commands_refused_unrecorded = 0;  // refused while the log could not be written
  uint64_t self_findings = 0;                // card data that the last scan of events had to mask
  std::string capabilities;                  // of this kernel, one line
  AccelerationView acceleration;
  LogView log;
};

struct SessionView {
  std::string id;
  std::string target;
  std::string state;       // "startup", "authentication", "idle", "busy", "closing"
  int64_t started_ns = 0;  // UTC
  policies::AttestedIdentity attested;
  policies::ClaimedIdentity claimed;
  std::string origin;       // client address
  std::string destination;  // where the client wanted to go
  uint64_t commands = 0;
  uint64_t blocked = 0;
  uint64_t bytes_to_client = 0;
  uint64_t bytes_to_server = 0;
  bool accelerated = false;  // some of its bytes go past TCP (docs/configuration.md, accelerate)
};

// Who calls, from the peer credentials of the control socket. Stands as the actor in the events that a call causes.
struct Caller {
  int64_t pid = -1;
  int64_t uid = -1;
  int64_t gid = -1;
  std::string user;
  std::string exe;
};

// A connection to a target that is open and goes past Sluice.
struct UncoveredView {
  std::string id;  // inode of the socket, as `ss -e` shows it
  std::string target;
  std::string origin;
  std::string destination;
  int64_t uid = -1;
  int64_t pid = -1;  // of a process that holds it; -1 where none was found
  std::string exe;
  bool can_be_ended = true;  // false in other network namespaces
};

struct EndRequest {
  std::vector<std::string> ids;
  std::string target;  // all of this target, where it is not empty
  bool all = false;
};

struct EndResult {
  struct One {
    UncoveredView connection;
    std::string problem;  // why it goes on; empty: it was ended
  };
  std::vector<One> connections;
};

struct ReloadResult {
  bool accepted = false;
  std::string policy_version;   // in force after the call
  policies::Problems problems;  // all of them, warnings too
};

enum class KillResult : uint8_t { killed, not_found };

class Operations {
 public:
  virtual ~Operations() = default;

  [[nodiscard]] virtual StatusView status() = 0;
  // What Prometheus scrapes (docs/metrics.md), in its text format. Asks no worker: a hung one must not hide itself.
  [[nodiscard]] virtual std::string metrics() = 0;
  // Live sessions, oldest first.
  [[nodiscard]] virtual std::vector<SessionView> sessions() = 0;
  [[nodiscard]] virtual std::optional<SessionView> session(std::string_view id) = 0;
  // Ends a live session: its client is told why, and it is an event with the caller as actor.
  [[nodiscard]] virtual KillResult kill(std::string_view id, const Caller& caller) = 0;
  // Connections that are open and go past Sluice, and ending some of them; each is an event with the caller as actor.
  [[nodiscard]] virtual Result<std::vector<UncoveredView>> uncovered() = 0;
  [[nodiscard]] virtual Result<EndResult> end_uncovered(const EndRequest& wanted, const Caller& caller) = 0;
  // Reads configuration and policies again. What does not validate never replaces what runs.
  [[nodiscard]] virtual ReloadResult reload(const Caller& caller) = 0;

  // Where the events are, for event_query.h and verify.h.
  [[nodiscard]] virtual std::string audit_directory() const = 0;
  // Reading the log is itself an event (`log_read`): what was asked for, by whom. Recorded before anything is shown; an
  // error here means that it could not be recorded, and then nothing may be shown.
  [[nodiscard]] virtual Status record_log_read(const Caller& caller, std::string_view what) = 0;
};

}  // namespace sluice::control
