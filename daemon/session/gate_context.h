// What all gates of a worker share. Borrowed references: everything named here outlives the gates. One worker only, but
// for the counters, which the control thread reads.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "daemon/base/clock.h"
#include "daemon/catalog/catalog.h"
#include "daemon/command/statement_cache.h"
#include "daemon/session/analysed_statement.h"
#include "daemon/session/analyst.h"
#include "daemon/session/bind_excerpt.h"
#include "daemon/session/cancel_desk.h"
#include "daemon/session/description_cache.h"
#include "daemon/session/event_outbox.h"
#include "daemon/session/policy_source.h"
#include "daemon/session/tally.h"
#include "policies/cards/card_scanner.h"
#include "policies/cards/data_scanner.h"
#include "policies/rules/session_policy.h"

namespace sluice::session {

enum class Durability : uint8_t { strict, relaxed };

// Written by one worker, read by any thread.
struct GateCounters {
  std::atomic<uint64_t> commands_refused_unrecorded{
      0};                                  // the log could not be written, so that there is no event either
  std::atomic<uint64_t> self_findings{0};  // card data that the last scan of an event had to mask
  TargetTallies tallies;
  DurationHistogram analysis_here;  // texts that the worker analysed itself
  DurationHistogram analysis_wait;  // sessions that waited for an analysis thread
  DurationHistogram durable_wait;   // bytes that waited for the log
  Counter statements_known;         // texts that were found in the cache, and that were not
  Counter statements_new;
  Level statements_kept;  // of the cache
  Level statements_kept_bytes;
};

struct GateContext {
  EventOutbox& outbox;
  command::StatementCache<AnalysedStatement>& statements;
  policies::CardScanner& scanner;
  policies::ScannerDesk& scanners;
  Analyst& analyst;
  const PolicySource& policies;
  policies::PolicyCache& policy_cache;
  const Clock& clock;
  BindExcerpt& bind_excerpt;
  GateCounters& counters;
  Durability durability = Durability::strict;
  // Null: no cancel request is looked at here. `deliver_cancel` hands one to this worker's session; any thread.
  CancelDesk* cancels = nullptr;
  std::function<bool(uint64_t serial)> deliver_cancel{};
  DescriptionCache descriptions{};
  // The catalog of a target, or null. May be empty: no target has one.
  std::function<std::shared_ptr<catalog::Catalog>(const std::string& target)> catalog_of{};
  bool catalog_wanted = false;  // sessions wait for a reading
};

}  // namespace sluice::session
