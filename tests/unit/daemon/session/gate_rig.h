// A gate with everything real around it but the analysis threads and time: ring, scanner, policies, cache.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/events/event.pb.h"
#include "daemon/session/command_gate.h"

namespace sluice::session::testing {

class FixedClock final : public Clock {
 public:
  uint64_t monotonic_ms() const override { return 1'000; }
  int64_t utc_ns() const override { return 1'700'000'000'000'000'000; }
};

// Analyses at once, or keeps the job until the test answers it.
class ScriptedAnalyst final : public Analyst {
 public:
  bool has_room(size_t) override { return !full; }
  std::optional<sql::Analysis> analyze(command::AnalysisJob job) override {
    ++asked;
    if (!later) return sql::analyze(job.text, {job.client_encoding, job.standard_conforming_strings, job.certain});
    jobs.push_back(std::move(job));
    return std::nullopt;
  }
  bool later = false;
  bool full = false;
  int asked = 0;
  std::deque<command::AnalysisJob> jobs;
};

struct GateRig {
  explicit GateRig(std::string_view policy = "version: 1\n", Durability durability = Durability::strict)
      : outbox(ring), statements({1, 2}), policies(load(policy)) {
    std::string why;
    scanner = policies::CardScanner::create(why);
    EXPECT_NE(scanner, nullptr) << why;
    scanners.emplace(*scanner);
    context.emplace(GateContext{outbox, statements, *scanner, *scanners, analyst, policies, policy_cache, clock,
                                excerpt, counters, durability});
    SessionSubject subject;
    subject.info.id = "00000000000000aa";
    subject.info.target = "payments-db";
    subject.info.origin = "127.0.0.1:5555";
    subject.info.actor.attested.uid = 1000;
    subject.info.actor.attested.user = "alice";
    subject.protocol = "postgres";
    subject.serial = 0xaa;
    gate = std::make_unique<CommandGate>(*context, std::move(subject));
  }

  static std::shared_ptr<const policies::PolicySet> load(std::string_view text) {
    policies::Problems problems;
    auto set = policies::parse_policy(text, "test.yaml", {"payments-db"}, problems);
    EXPECT_NE(set, nullptr) << (problems.empty() ? "" : problems.front().message);
    return set;
  }

  // What the analysis threads say to `text`.
  void answer(std::string_view text) {
    gate->analysed({0xaa, sql::analyze(text, {}), command::mask_for_record(std::string(text), *scanner)});
  }

  Answer query(std::string_view text) {
    CommandRequest request;
    request.text = text;
    return gate->submit(request);
  }
  Answer bind(const StatementRef& statement, std::span<const BindValue> values = {}) {
    CommandRequest request;
    request.stage = Stage::bind;
    request.statement = statement;
    request.values = values;
    return gate->submit(request);
  }

  // What was recorded since the last call, decoded. Texts as they would be stored.
  std::vector<sluice::events::Event> take_events() {
    std::vector<events::EncodedEvent> encoded;
    ring.drain(encoded, events::EventRing::kSlots);
    std::vector<sluice::events::Event> decoded;
    for (const events::EncodedEvent& one : encoded) {
      sluice::events::Event event;
      EXPECT_TRUE(event.ParseFromString(one.bytes));
      decoded.push_back(event);
      if (one.text != nullptr) texts.push_back(one.text->masked);
      everything += one.bytes;
      if (one.text != nullptr) everything += one.text->masked;
    }
    return decoded;
  }
  std::vector<sluice::events::Event> take_events(sluice::events::Type type) {
    std::vector<sluice::events::Event> wanted;
    for (auto& event : take_events()) {
      if (event.type() == type) wanted.push_back(event);
    }
    return wanted;
  }

  events::EventRing ring{-1};
  EventOutbox outbox;
  command::StatementCache<AnalysedStatement> statements;
  std::unique_ptr<policies::CardScanner> scanner;
  std::optional<policies::ScannerDesk> scanners;
  ScriptedAnalyst analyst;
  PolicySource policies;
  policies::PolicyCache policy_cache;
  FixedClock clock;
  BindExcerpt excerpt;
  GateCounters counters;
  std::optional<GateContext> context;
  std::unique_ptr<CommandGate> gate;
  std::vector<std::string> texts;
  std::string everything;  // all bytes that were recorded
};

inline const Passed* passed(const Answer& answer) {
  return std::get_if<Passed>(&answer);
}
inline const Refused* refused(const Answer& answer) {
  return std::get_if<Refused>(&answer);
}
inline bool is_parked(const Answer& answer) {
  return std::holds_alternative<Parked>(answer);
}

}  // namespace sluice::session::testing
