// What one transaction costs Sluice itself: PostgreSQL machine, gate, policy, masking and events, without sockets. The
// bytes are those of `pgbench -S -M prepared` and of a bulk result with a card number in each row.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/session/command_gate.h"
#include "daemon/session/postgres_machine.h"
#include "daemon/session/session_limits.h"
#include "tests/unit/daemon/session/postgres_messages.h"

namespace sluice::session {
namespace {

using testing::message;
using testing::W;
namespace fe = testing::fe;

class SteadyClock final : public Clock {
 public:
  uint64_t monotonic_ms() const override { return 1'000; }
  int64_t utc_ns() const override { return 1'700'000'000'000'000'000; }
};

class DirectAnalyst final : public Analyst {
 public:
  bool has_room(size_t) override { return true; }
  std::optional<sql::Analysis> analyze(command::AnalysisJob job) override {
    return sql::analyze(job.text, {job.client_encoding, job.standard_conforming_strings, job.certain});
  }
};

template <typename T>
T need(T value, const char* what) {
  if (value) return value;
  std::fprintf(stderr, "session_bench: %s\n", what);
  std::abort();
}

std::shared_ptr<const policies::PolicySet> no_rules() {
  policies::Problems problems;
  return need(policies::parse_policy("version: 1\n", "bench.yaml", {"bench"}, problems), "the policy does not load");
}

// One session that has logged in and prepared pgbench's statement.
struct Lab {
  Lab() : outbox(ring), statements({1, 2}), policies(no_rules()) {
    std::string why;
    scanner = need(policies::CardScanner::create(why), "no card scanner");
    scanners.emplace(*scanner);
    context.emplace(GateContext{outbox, statements, *scanner, *scanners, analyst, policies, policy_cache, clock,
                                excerpt, counters, Durability::relaxed});
    SessionSubject subject;
    subject.info.id = "00000000000000aa";
    subject.info.target = "bench";
    subject.info.origin = "127.0.0.1:5555";
    subject.info.actor.attested.uid = 1000;
    subject.info.actor.attested.user = "alice";
    subject.protocol = "postgres";
    subject.serial = 0xaa;
    gate = std::make_unique<CommandGate>(*context, std::move(subject));
    machine = std::make_unique<PostgresMachine>(*gate, *scanner, MachineLimits{});
    step(Side::client, fe::startup({{"user", "postgres"}, {"database", "bench"}}));
    step(Side::server, message('R', W().u32(0)) + message('K', W().u32(1).u32(2)) + message('Z', W().text("I")));
    step(Side::client, fe::parse("P0", "SELECT abalance FROM pgbench_accounts WHERE aid = $1;") + fe::sync());
    step(Side::server, message('1', W()) + message('Z', W().text("I")));
  }
  void step(Side from, const std::string& bytes) {
    buffer.resize(bytes.size());
    std::memcpy(buffer.data(), bytes.data(), bytes.size());
    actions.clear();
    const size_t taken = machine->on_bytes(from, {buffer.data(), buffer.size()}, actions);
    if (taken != bytes.size() || actions.close_reason() != CloseReason::none) need(false, "the session broke");
  }
  // What the writer does, without the disk.
  void release() { ring.release(ring.published()); }

  events::EventRing ring{-1};
  EventOutbox outbox;
  command::StatementCache<AnalysedStatement> statements;
  std::unique_ptr<policies::CardScanner> scanner;
  std::optional<policies::ScannerDesk> scanners;
  DirectAnalyst analyst;
  PolicySource policies;
  policies::PolicyCache policy_cache;
  SteadyClock clock;
  BindExcerpt excerpt;
  GateCounters counters;
  std::optional<GateContext> context;
  std::unique_ptr<CommandGate> gate;
  std::unique_ptr<PostgresMachine> machine;
  std::vector<uint8_t> buffer;
  Actions actions;
};

std::string row(const std::vector<std::string>& values) {
  W body;
  body.u16(static_cast<uint16_t>(values.size()));
  for (const std::string& value : values) body.i32(static_cast<int32_t>(value.size())).text(value);
  return message('D', body);
}

std::string description(const std::vector<std::pair<std::string, uint32_t>>& columns) {
  W body;
  body.u16(static_cast<uint16_t>(columns.size()));
  for (const auto& [name, oid] : columns) body.cstring(name).u32(1).u16(1).u32(oid).u16(4).u32(0xffffffff).u16(0);
  return message('T', body);
}

void prepared_transaction(benchmark::State& state) {
  Lab lab;
  const std::string asked =
      fe::bind("", "P0", {std::string("123456")}) + fe::describe('P', "") + fe::execute("") + fe::sync();
  const std::string answered = message('2', W()) + description({{"abalance", 23}}) + row({"0"}) +
                               message('C', W().cstring("SELECT 1")) + message('Z', W().text("I"));
  for (auto _ : state) {
    lab.step(Side::client, asked);
    lab.step(Side::server, answered);
    lab.release();
  }
}
BENCHMARK(prepared_transaction);

void simple_transaction(benchmark::State& state) {
  Lab lab;
  const std::string asked = fe::query("SELECT abalance FROM pgbench_accounts WHERE aid = 123456;");
  const std::string answered = description({{"abalance", 23}}) + row({"0"}) + message('C', W().cstring("SELECT 1")) +
                               message('Z', W().text("I"));
  for (auto _ : state) {
    lab.step(Side::client, asked);
    lab.step(Side::server, answered);
    lab.release();
  }
}
BENCHMARK(simple_transaction);

// A read full of messages, the same again and again. Restored before each step, since masking happens in place.
void stream(benchmark::State& state, const std::string& begin, const std::string& one) {
  Lab lab;
  lab.step(Side::client, fe::query("TABLE bulk"));
  lab.step(Side::server, begin);
  std::string window;
  while (window.size() + one.size() <= kReadBufferBytes) window += one;
  for (auto _ : state) {
    lab.step(Side::server, window);
    lab.release();
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * window.size()));
}

const std::string kFiller = "c4ca4238a0b923820dcc509a6f75849bc81e728d9d4c2f636f067f89cc14862c";

void rows_with_a_card(benchmark::State& state) {
  stream(state, description({{"id", 23}, {"name", 25}, {"pan", 25}, {"filler", 25}}),
         row({"1234567", "customer number 1234567", "4111111111111111", kFiller}));
}
BENCHMARK(rows_with_a_card);

void rows_without_a_card(benchmark::State& state) {
  stream(state, description({{"id", 23}, {"name", 25}, {"pan", 25}, {"filler", 25}}),
         row({"1234567", "customer number 1234567", "none", kFiller}));
}
BENCHMARK(rows_without_a_card);

void copy_with_a_card(benchmark::State& state) {
  stream(state, message('H', W().u8(0).u16(4).u16(0).u16(0).u16(0).u16(0)),
         message('d', W().text("1234567\tcustomer number 1234567\t4111111111111111\t" + kFiller + "\n")));
}
BENCHMARK(copy_with_a_card);

void copy_without_a_card(benchmark::State& state) {
  stream(state, message('H', W().u8(0).u16(4).u16(0).u16(0).u16(0).u16(0)),
         message('d', W().text("1234567\tcustomer number 1234567\tnone\t" + kFiller + "\n")));
}
BENCHMARK(copy_without_a_card);

}  // namespace
}  // namespace sluice::session
