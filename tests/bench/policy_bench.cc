// How long a decision takes. The bound (docs/policy.md): with 10,000 rules at most 2 µs after the first time for the
// same statement.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "policies/rules/policy_set.h"
#include "policies/rules/session_policy.h"

namespace {

using namespace sluice::policies;

// Rules of which all concern the target and none the statement below: the slowest case.
std::shared_ptr<const PolicySet> set_of(int64_t rules) {
  std::string text = "version: 1\nrules:\n";
  for (int64_t i = 0; i < rules; ++i) {
    text += "  - {name: r" + std::to_string(i) +
            ", when: {target: \"payments-*\", statement: [select, update], tables: [public.t" + std::to_string(i) +
            "]}, then: block, because: b}\n";
  }
  Problems problems;
  auto set = parse_policy(text, "bench.yaml", {}, problems);
  if (set == nullptr) {
    std::fprintf(stderr, "the benchmark's policy does not load\n");
    std::abort();
  }
  return set;
}

std::shared_ptr<const StatementFacts> statement(int number) {
  auto facts = std::make_shared<StatementFacts>();
  facts->kinds = {StatementKind::select};
  facts->relations = {{"public", "accounts" + std::to_string(number), Access::read}};
  facts->kinds_complete = facts->relations_complete = facts->functions_complete = true;
  return facts;
}

struct Session {
  AttestedIdentity attested;
  ClaimedIdentity claimed{"app", "shop", "psql"};
  Subject subject{"payments-db", Direction::outbound, "postgres", attested, claimed};
};

void decide_again(benchmark::State& state) {
  const Session session;
  SessionPolicy policy(set_of(state.range(0)), session.subject, nullptr);
  const auto facts = statement(0);
  for (auto _ : state) benchmark::DoNotOptimize(policy.decide(facts));
}
BENCHMARK(decide_again)->Arg(0)->Arg(10)->Arg(10'000);

// As many statements in turn as a busy application prepares.
void decide_again_64_statements(benchmark::State& state) {
  const Session session;
  SessionPolicy policy(set_of(state.range(0)), session.subject, nullptr);
  std::vector<std::shared_ptr<const StatementFacts>> statements;
  for (int i = 0; i < 64; ++i) statements.push_back(statement(i));
  size_t next = 0;
  for (auto _ : state) benchmark::DoNotOptimize(policy.decide(statements[next++ % statements.size()]));
}
BENCHMARK(decide_again_64_statements)->Arg(10'000);

void decide_first(benchmark::State& state) {
  const Session session;
  const SessionPolicy policy(set_of(state.range(0)), session.subject, nullptr);
  const auto facts = statement(0);
  for (auto _ : state) benchmark::DoNotOptimize(policy.decide(*facts));
}
BENCHMARK(decide_first)->Arg(0)->Arg(10)->Arg(10'000);

void start_session(benchmark::State& state) {
  const Session session;
  const auto set = set_of(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(SessionPolicy(set, session.subject, nullptr));
}
BENCHMARK(start_session)->Arg(10)->Arg(10'000);

void start_session_of_a_known_subject(benchmark::State& state) {
  const Session session;
  const auto set = set_of(state.range(0));
  PolicyCache cache;
  const SessionPolicy first(set, session.subject, &cache);
  for (auto _ : state) benchmark::DoNotOptimize(SessionPolicy(set, session.subject, &cache));
}
BENCHMARK(start_session_of_a_known_subject)->Arg(10'000);

void load(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(set_of(state.range(0)));
}
BENCHMARK(load)->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMillisecond);

}  // namespace
