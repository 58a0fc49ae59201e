// What the sessions of one worker did, for the metrics: per target, plain counters that the worker alone writes and any
// thread reads. No label that a client can choose: targets come from the configuration, everything else is an
// enumeration. Lifetime: that of the worker; a TargetTally never moves and is never removed, so a gate keeps a
// reference and a data path never looks one up. Threading: of() by the worker when a session begins; snapshot() by any
// thread. Limit: kTargetsTalliedMax targets (reloads included); further ones share one tally.
#pragma once

#include <array>
#include <cassert>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "daemon/base/counter.h"
#include "daemon/session/actions.h"
#include "policies/cards/value.h"
#include "policies/rules/facts.h"

namespace sluice::session {

// Of a command with several statements, where they differ.
inline constexpr size_t kSeveralKinds = policies::kStatementKindCount;
// What is no statement: a cancel request.
inline constexpr size_t kNoKind = policies::kStatementKindCount + 1;
inline constexpr size_t kKindColumns = policies::kStatementKindCount + 2;

enum class Decided : uint8_t { allowed, blocked };
inline constexpr size_t kDecidedCount = 2;

// Why something was refused; every refusal is one of these.
enum class RefusalReason : uint8_t {
  policy,           // a rule, or `default: block`
  unsupported,      // something that this proxy does not do: replication
  limit,            // longer or deeper than it may be
  protocol,         // not a message of the protocol, or not allowed there
  log_unavailable,  // the audit log cannot be written
  withdrawn,        // the client cancelled it while it waited here
  masked_value,     // it would have written a masked card number back
};
inline constexpr size_t kRefusalReasonCount = 7;
[[nodiscard]] constexpr std::string_view to_string(RefusalReason reason) {
  constexpr std::array<std::string_view, kRefusalReasonCount> kWords = {
      "policy", "unsupported", "limit", "protocol", "log_unavailable", "withdrawn", "masked_value"};
  return kWords[static_cast<size_t>(reason)];
}

inline constexpr size_t kCloseReasonCount = static_cast<size_t>(CloseReason::internal_error) + 1;
// Of policies::FindingKind and policies::Brand, with room for more of them.
inline constexpr size_t kFindingKindsMax = 8;
inline constexpr size_t kBrandsMax = 32;

struct TargetTally {
  Counter sessions_started;
  std::array<Counter, kCloseReasonCount> sessions_ended;
  std::array<std::array<Counter, kKindColumns>, kDecidedCount> commands;
  Counter commands_unknown;  // of them, those about which something could not be told
  Counter commands_failed;   // the server answered with an error
  std::array<Counter, kRefusalReasonCount> refusals;
  std::array<std::array<Counter, kBrandsMax>, kFindingKindsMax> findings;  // masked
  Counter rows;
  Counter bytes_to_client;  // of sessions that ended
  Counter bytes_to_server;

  void decided(Decided how, const policies::StatementFacts& facts) {
    size_t column = facts.kinds.empty() ? kNoKind : static_cast<size_t>(facts.kinds.front());
    for (const policies::StatementKind kind : facts.kinds) {
      if (static_cast<size_t>(kind) != column) column = kSeveralKinds;
    }
    commands[static_cast<size_t>(how)][column].add();
    if (!facts.why_unknown.empty()) commands_unknown.add();
  }
  void masked(policies::FindingKind kind, policies::Brand brand, uint64_t count) {
    assert(static_cast<size_t>(kind) < kFindingKindsMax && static_cast<size_t>(brand) < kBrandsMax);
    findings[static_cast<size_t>(kind)][static_cast<size_t>(brand)].add(count);
  }
  void refused(RefusalReason reason) { refusals[static_cast<size_t>(reason)].add(); }
};

class TargetTallies {
 public:
  static constexpr size_t kTargetsTalliedMax = 2'048;

  // The worker, at the beginning of a session.
  [[nodiscard]] TargetTally& of(const std::string& target) {
    const std::lock_guard lock(mutex_);
    const auto found = tallies_.find(target);
    if (found != tallies_.end()) return *found->second;
    if (tallies_.size() >= kTargetsTalliedMax) return others_;
    return *tallies_.emplace(target, std::make_unique<TargetTally>()).first->second;
  }
  // Any thread: by target, in order; "(others)" where there were too many. The tallies live as long as the worker.
  [[nodiscard]] std::vector<std::pair<std::string, const TargetTally*>> all() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::pair<std::string, const TargetTally*>> list;
    for (const auto& [name, tally] : tallies_) list.emplace_back(name, tally.get());
    if (tallies_.size() >= kTargetsTalliedMax) list.emplace_back("(others)", &others_);
    return list;
  }

 private:
  mutable std::mutex mutex_;  // guards the map, never the numbers
  std::map<std::string, std::unique_ptr<TargetTally>> tallies_;
  TargetTally others_;
};

}  // namespace sluice::session
