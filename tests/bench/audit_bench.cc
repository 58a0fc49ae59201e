// The way of an event: building it, publishing it, writing it, proving it. `audit_bench --benchmark_filter=…`.
// SLUICE_BENCH_DIRECTORY names where logs are written (default: a temporary directory); on tmpfs the writer itself is
// measured.
#include <benchmark/benchmark.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <poll.h>
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

#include "daemon/audit/audit_log.h"
#include "daemon/audit/event_query.h"
#include "daemon/audit/merkle.h"
#include "daemon/audit/verify.h"
#include "daemon/events/event_builder.h"
#include "daemon/events/event_ring.h"

namespace {

using namespace sluice;
using namespace sluice::events;

int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

std::unique_ptr<policies::CardScanner> make_scanner() {
  std::string why;
  auto scanner = policies::CardScanner::create(why);
  if (scanner == nullptr) {
    std::fprintf(stderr, "no scanner: %s\n", why.c_str());
    std::exit(1);
  }
  return scanner;
}

SessionInfo bench_session() {
  SessionInfo session;
  session.id = "00000000000000aa";
  session.target = "payments-db";
  session.actor.attested.uid = 1000;
  session.actor.attested.user = "alice";
  session.actor.attested.exe = "/usr/bin/pgbench";
  session.origin = "10.0.0.7:51234";
  return session;
}

StoredTextRef bench_text() {
  auto text = std::make_shared<StoredText>();
  text->masked = "SELECT abalance FROM pgbench_accounts WHERE aid = $1;";
  text->sha256.resize(SHA256_DIGEST_LENGTH);
  SHA256(reinterpret_cast<const unsigned char*>(text->masked.data()), text->masked.size(),
         reinterpret_cast<unsigned char*>(text->sha256.data()));
  return text;
}

// What the gate builds for one command.
class CommandEvents {
 public:
  EncodedEvent received() {
    return EventBuilder(EventType::command_received, {++time_}, EventOutcome::success, session_)
        .command(++command_)
        .text(text_)
        .stage("bind")
        .kinds(kinds_)
        .relations(relations_)
        .rule("mask-card-data", "3f2a90c1d4e5")
        .build(*scanner_, self_findings_);
  }
  EncodedEvent received_with_values() {
    char value[24];
    const int size = std::snprintf(value, sizeof value, "%llu", static_cast<unsigned long long>(++command_));
    return EventBuilder(EventType::command_received, {++time_}, EventOutcome::success, session_)
        .command(command_)
        .text(text_)
        .stage("bind")
        .kinds(kinds_)
        .relations(relations_)
        .bind_value({value, static_cast<size_t>(size)}, static_cast<uint64_t>(size))
        .rule("mask-card-data", "3f2a90c1d4e5")
        .build(*scanner_, self_findings_);
  }
  EncodedEvent completed() {
    return EventBuilder(EventType::command_completed, {++time_}, EventOutcome::success, session_)
        .command(command_)
        .rows(1)
        .bytes(64)
        .build(*scanner_, self_findings_);
  }

 private:
  std::unique_ptr<policies::CardScanner> scanner_ = make_scanner();
  SessionInfo session_ = bench_session();
  StoredTextRef text_ = bench_text();
  std::vector<policies::StatementKind> kinds_ = {policies::StatementKind::select};
  std::vector<policies::Relation> relations_ = {{"", "pgbench_accounts", policies::Access::read}};
  int64_t time_ = 1'700'000'000'000'000'000;
  uint64_t command_ = 0;
  uint64_t self_findings_ = 0;
};

void BM_BuildCommandPair(benchmark::State& state) {
  CommandEvents source;
  for (auto _ : state) {
    benchmark::DoNotOptimize(source.received());
    benchmark::DoNotOptimize(source.completed());
  }
}
BENCHMARK(BM_BuildCommandPair);

void BM_BuildCommandPairWithBindValue(benchmark::State& state) {
  CommandEvents source;
  for (auto _ : state) {
    benchmark::DoNotOptimize(source.received_with_values());
    benchmark::DoNotOptimize(source.completed());
  }
}
BENCHMARK(BM_BuildCommandPairWithBindValue);

// Publish alone, with the writer draining beside it; percentiles of single calls (the clock itself costs about 20 ns).
void BM_PublishLatency(benchmark::State& state) {
  EventRing ring(-1);
  std::atomic<bool> stop{false};
  std::thread consumer([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      const uint64_t to = ring.published();
      ring.mark_durable(to);
      ring.release(to);
    }
  });
  CommandEvents source;
  std::vector<int64_t> times;
  times.reserve(1 << 20);
  for (auto _ : state) {
    EncodedEvent event = source.completed();
    const int64_t start = now_ns();
    auto sequence = ring.publish(std::move(event));
    const int64_t end = now_ns();
    benchmark::DoNotOptimize(sequence);
    if (times.size() < times.capacity()) times.push_back(end - start);
  }
  stop = true;
  consumer.join();
  std::sort(times.begin(), times.end());
  state.counters["p50_ns"] = static_cast<double>(times[times.size() / 2]);
  state.counters["p99_ns"] = static_cast<double>(times[times.size() * 99 / 100]);
  state.counters["p999_ns"] = static_cast<double>(times[times.size() * 999 / 1000]);
}
BENCHMARK(BM_PublishLatency)->Iterations(1 << 20);

class BenchDirectory {
 public:
  BenchDirectory() {
    const char* named = ::getenv("SLUICE_BENCH_DIRECTORY");
    std::string name = (named != nullptr ? std::filesystem::path(named) : std::filesystem::temp_directory_path()) /
                       "sluice-bench-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) std::exit(1);
    path_ = name;
  }
  ~BenchDirectory() { std::filesystem::remove_all(path_); }
  [[nodiscard]] std::string log() const { return path_ + "/log"; }

 private:
  std::string path_;
};

std::unique_ptr<audit::AuditLog> open_log(const BenchDirectory& directory, audit::Durability durability) {
  audit::LogOptions options;
  options.directory = directory.log();
  options.durability = durability;
  auto log = audit::AuditLog::open(options);
  if (!log) {
    std::fprintf(stderr, "%s\n", log.error().message.c_str());
    std::exit(1);
  }
  return std::move(*log);
}

// Events per second from ring to log. Events are built beforehand, so that the writer is what is measured.
void BM_WriterThroughput(benchmark::State& state) {
  CommandEvents source;
  std::vector<EncodedEvent> events;
  for (int i = 0; i < 200000; ++i) events.push_back(i % 2 == 0 ? source.received() : source.completed());
  for (auto _ : state) {
    state.PauseTiming();
    BenchDirectory directory;
    auto log = open_log(directory, audit::Durability::relaxed);
    EventRing& ring = log->add_ring(-1);
    state.ResumeTiming();
    for (const EncodedEvent& event : events) {
      EncodedEvent copy = event;
      while (ring.free_slots() == 0) std::this_thread::yield();
      benchmark::DoNotOptimize(ring.publish(std::move(copy)));
    }
    if (!log->flush(60000)) std::exit(1);
    state.PauseTiming();
    log.reset();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(static_cast<int64_t>(events.size()) * state.iterations());
}
BENCHMARK(BM_WriterThroughput)->Unit(benchmark::kMillisecond)->UseRealTime();

// From publish to "durable" for a lone client in strict mode.
void BM_StrictRoundTrip(benchmark::State& state) {
  BenchDirectory directory;
  auto log = open_log(directory, audit::Durability::strict);
  const int fd = ::eventfd(0, EFD_NONBLOCK);
  EventRing& ring = log->add_ring(fd);
  CommandEvents source;
  for (auto _ : state) {
    const auto sequence = ring.publish(source.received());
    ring.request_durable(*sequence);
    while (ring.durable() < *sequence) {
      pollfd wait{fd, POLLIN, 0};
      ::poll(&wait, 1, 1000);
      uint64_t count = 0;
      benchmark::DoNotOptimize(::read(fd, &count, sizeof count));
    }
  }
  log.reset();
  ::close(fd);
}
BENCHMARK(BM_StrictRoundTrip)->Unit(benchmark::kMicrosecond)->UseRealTime();

// The machine's own rate for leaves of 400 bytes: what verify is compared with.
void BM_LeafHash(benchmark::State& state) {
  const std::string leaf(400, 'x');
  audit::Frontier frontier;
  for (auto _ : state) frontier.append(audit::leaf_hash(leaf));
  benchmark::DoNotOptimize(frontier.root());
  state.SetBytesProcessed(state.iterations() * 400);
}
BENCHMARK(BM_LeafHash);

// A start over a large log, its proof, and a query over all of it. SLUICE_BENCH_LOG_EVENTS sets the size.
void BM_OpenVerifyQuery(benchmark::State& state) {
  BenchDirectory directory;
  const char* named = ::getenv("SLUICE_BENCH_LOG_EVENTS");
  const uint64_t wanted = named != nullptr ? std::strtoull(named, nullptr, 10) : 1'000'000;
  {
    auto log = open_log(directory, audit::Durability::relaxed);
    EventRing& ring = log->add_ring(-1);
    CommandEvents source;
    for (uint64_t i = 0; i < wanted; ++i) {
      while (ring.free_slots() == 0) std::this_thread::yield();
      benchmark::DoNotOptimize(ring.publish(i % 2 == 0 ? source.received() : source.completed()));
    }
    if (!log->flush(60000)) std::exit(1);
  }
  uint64_t bytes = 0;
  double open_ms = 0, verify_ms = 0, query_ms = 0;
  for (auto _ : state) {
    int64_t start = now_ns();
    const audit::VerifyReport report = audit::verify(directory.log());
    if (report.verdict != audit::Verdict::intact) std::exit(1);
    bytes = report.bytes;
    verify_ms = static_cast<double>(now_ns() - start) / 1e6;
    start = now_ns();
    open_log(directory, audit::Durability::relaxed).reset();
    open_ms = static_cast<double>(now_ns() - start) / 1e6;
    start = now_ns();
    uint64_t matched = 0;
    audit::EventQuery query;
    query.filter = "type=command_received and rows>5";
    static_cast<void>(audit::query_events(directory.log(), query, [&](std::string_view) { return ++matched > 0; }));
    query_ms = static_cast<double>(now_ns() - start) / 1e6;
  }
  state.counters["log_MB"] = static_cast<double>(bytes) / 1e6;
  state.counters["open_ms"] = open_ms;
  state.counters["verify_ms"] = verify_ms;
  state.counters["query_ms"] = query_ms;
}
BENCHMARK(BM_OpenVerifyQuery)->Iterations(1)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
