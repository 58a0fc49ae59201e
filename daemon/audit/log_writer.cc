#include "daemon/audit/log_writer.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <chrono>

namespace sluice::audit {
namespace {

constexpr int64_t kNsPerMs = 1'000'000;
constexpr int64_t kNsPerUs = 1'000;

int64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

// The writer's own events hold nothing but words of this file, error texts of the system and paths of the
// configuration.
class NothingToScan final : public policies::CardScanner {
 public:
  void scan(std::span<const policies::ValueView>, std::vector<policies::Finding>& findings,
            std::span<size_t>) override {
    findings.clear();
  }
  void mask(std::span<policies::ValueView>, std::span<const policies::Finding>, policies::MaskStyle) override {}
};

events::EventView view_of(const events::EncodedEvent& event) {
  return {event.bytes, event.text, event.type, event.session, event.context};
}

void sleep_ns(int64_t ns) {
  const timespec time{.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
  ::clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nullptr);
}

}  // namespace

LogWriter::LogWriter(FileSystem& file_system, const LogOptions& options, StoreOptions store_options,
                     LogPosition position)
    : options_(options),
      now_ns_(store_options.now_ns),
      store_(file_system, std::move(store_options), std::move(position)),
      appender_(store_),
      wake_fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  status_.log_id = to_hex(store_.log_id().data(), store_.log_id().size());
}

LogWriter::~LogWriter() {
  stop_thread();
}

Status LogWriter::start() {
  if (!wake_fd_.valid()) return fail_errno("eventfd", errno);
  if (Status status = store_.begin(); !status) return status;
  publish_status();
  thread_ = std::thread([this] { run(); });
  return {};
}

void LogWriter::stop_thread() {
  if (!thread_.joinable()) return;
  stop_.store(true, std::memory_order_release);
  const uint64_t one = 1;
  static_cast<void>(!::write(wake_fd_.get(), &one, sizeof one));
  thread_.join();
}

events::EventRing& LogWriter::add_ring(int durable_fd) {
  auto producer = std::make_unique<Producer>();
  producer->ring = std::make_unique<events::EventRing>(durable_fd);
  producer->ring->set_writer_fd(wake_fd_.get());
  const std::lock_guard lock(mutex_);
  producer->ring->set_state(status_.state);
  producers_.push_back(std::move(producer));
  return *producers_.back()->ring;
}

LogStatus LogWriter::status() const {
  std::string warning = store_.reserve_trouble();
  const std::lock_guard lock(mutex_);
  LogStatus status = status_;
  status.warning = std::move(warning);
  status.commits = commits_.get();
  for (const auto& producer : producers_) {
    const uint64_t durable = producer->ring->durable();  // read first: it never passes what is published
    status.not_durable.push_back(producer->ring->published() - durable);
  }
  return status;
}

Status LogWriter::flush(uint32_t timeout_ms) {
  const uint64_t wanted = flushes_wanted_.fetch_add(1) + 1;
  const uint64_t one = 1;
  static_cast<void>(!::write(wake_fd_.get(), &one, sizeof one));
  std::unique_lock lock(mutex_);
  const bool served =
      changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return flushes_served_ >= wanted; });
  if (served) return {};
  if (!status_.failure.empty()) return fail("the audit log cannot be written: " + status_.failure);
  return fail("the audit log was not written within " + std::to_string(timeout_ms) + " ms");
}

void LogWriter::run() {
  // The kernel's default of 50 µs on every sleep would be a tenth of the commit interval.
  ::prctl(PR_SET_TIMERSLACK, 1000UL, 0, 0, 0);
  ::prctl(PR_SET_NAME, "audit-writer", 0, 0, 0);
  int64_t stopping_since_ns = 0;
  for (;;) {
    take_new_rings();
    note_flushes();
    if (stop_.load(std::memory_order_acquire) && stopping_since_ns == 0) stopping_since_ns = monotonic_ns();
    const bool stopping = stopping_since_ns != 0;
    if (stopping && (all_durable() || monotonic_ns() - stopping_since_ns > kStopMs * kNsPerMs)) break;
    if (failing_since_ns_ != 0) {
      try_to_recover();
      if (failing_since_ns_ != 0) {
        sleep();
        continue;
      }
    }
    pace(monotonic_ns());
    const auto appended = append_pass();
    if (!appended) {
      went_wrong(appended.error());
      continue;
    }
    if (stopping || flush_pending_ || commit_due(monotonic_ns())) {
      if (const Status status = commit(); !status) {
        went_wrong(status.error());
        continue;
      }
      serve_flushes();
    }
    if ((!*appended || may_let_events_gather()) && !somebody_waits() && !stopping && !flush_pending_) sleep();
  }
  finish();
}

void LogWriter::take_new_rings() {
  const std::lock_guard lock(mutex_);
  while (rings_.size() < producers_.size()) rings_.push_back(producers_[rings_.size()].get());
}

Result<bool> LogWriter::append_pass() {
  bool any = false;
  for (; own_appended_ < own_events_.size(); ++own_appended_, any = true) {
    if (const Status status = append_event(view_of(own_events_[own_appended_])); !status)
      return tl::unexpected(status.error());
  }
  const size_t each_max = kEventsPerPassMax / std::max<size_t>(rings_.size(), 1);
  for (Producer* producer : rings_) {
    const uint64_t to = std::min(producer->ring->published(), producer->appended + std::max<size_t>(each_max, 1));
    while (producer->appended < to) {
      const Status status = append_event(producer->ring->at(producer->appended + 1));
      if (!status) return tl::unexpected(status.error());
      ++producer->appended;
      ++uncommitted_events_;
      any = true;
    }
  }
  if (const Status status = store_.write(); !status) return tl::unexpected(status.error());
  if (store_.uncommitted_bytes() > 0 && uncommitted_since_ns_ == 0) uncommitted_since_ns_ = monotonic_ns();
  return any;
}

Status LogWriter::append_event(const events::EventView& event) {
  if (!store_.fits(appender_.bytes_needed(event))) {
    if (Status status = commit(); !status) return status;
    if (Status status = store_.wait_reserve(); !status) return status;
    if (Status status = store_.roll(); !status) return status;
  }
  appender_.append(event);
  if (store_.unwritten_bytes() > kUnwrittenBytesMax) return store_.write();
  return {};
}

void LogWriter::note_flushes() {
  const uint64_t wanted = flushes_wanted_.load(std::memory_order_acquire);
  if (wanted == flushes_seen_) return;
  flushes_seen_ = wanted;
  flush_pending_ = true;
  for (Producer* producer : rings_) producer->flush_target = producer->ring->published();
}

void LogWriter::serve_flushes() {
  const auto reached = [](const Producer* producer) { return producer->ring->durable() >= producer->flush_target; };
  if (!flush_pending_ || !own_events_.empty() || !std::all_of(rings_.begin(), rings_.end(), reached)) return;
  flush_pending_ = false;
  {
    const std::lock_guard lock(mutex_);
    flushes_served_ = flushes_seen_;
  }
  changed_.notify_all();
}

bool LogWriter::all_durable() const {
  const auto done = [](const Producer* producer) { return producer->ring->durable() == producer->ring->published(); };
  return failing_since_ns_ == 0 && own_events_.empty() && std::all_of(rings_.begin(), rings_.end(), done);
}

bool LogWriter::somebody_waits() const {
  return std::any_of(rings_.begin(), rings_.end(), [](const Producer* producer) {
    const events::EventRing& ring = *producer->ring;
    return std::min(ring.durable_requested(), ring.published()) > ring.durable();
  });
}

// Relaxed, under load: writing every few events as they come takes a tenth of the sessions' CPU in small writes
// [measured], so the writer sleeps between passes; a ring that is half full wakes it.
bool LogWriter::may_let_events_gather() const {
  if (options_.durability != Durability::relaxed) return false;
  const auto half_full = [](const Producer* producer) {
    return producer->ring->free_slots() < events::EventRing::kSlots / 2;
  };
  return std::none_of(rings_.begin(), rings_.end(), half_full);
}

bool LogWriter::commit_due(int64_t now_ns) const {
  if (store_.uncommitted_bytes() == 0) return false;
  if (store_.uncommitted_bytes() >= kUncommittedBytesMax) return true;
  if (now_ns - uncommitted_since_ns_ >= half_interval_ns()) return true;
  // Slots are held until a commit: a ring that fills up must not stall its producer.
  const auto half_full = [](const Producer* producer) {
    return producer->ring->free_slots() < events::EventRing::kSlots / 2;
  };
  if (std::any_of(rings_.begin(), rings_.end(), half_full)) return true;
  return somebody_waits();
}

Status LogWriter::commit() {
  const bool writes = store_.uncommitted_bytes() > 0;
  if (writes) last_commit_ns_ = monotonic_ns();
  if (Status status = store_.commit(); !status) return status;
  if (writes) commits_.add(static_cast<uint64_t>(monotonic_ns() - last_commit_ns_));
  appender_.committed();
  last_commit_events_ = uncommitted_events_;
  uncommitted_events_ = 0;
  uncommitted_since_ns_ = 0;
  for (; own_appended_ > 0; --own_appended_) own_events_.pop_front();
  publish_status();
  for (Producer* producer : rings_) {
    // Released first: who is woken by durability finds the slots free.
    producer->ring->release(producer->appended);
    producer->ring->mark_durable(producer->appended);
  }
  return {};
}

// Under load a commit costs the CPU that the sessions need (90-110 µs [measured]), so commits keep a distance; then
// more sessions share each. A lone client is not made to wait.
void LogWriter::pace(int64_t now_ns) {
  if (last_commit_events_ <= kPaceAboveEvents) return;
  const int64_t wait_ns = last_commit_ns_ + options_.commit_interval_us * kNsPerUs - now_ns;
  if (wait_ns > 0 && wait_ns <= options_.commit_interval_us * kNsPerUs) sleep_ns(wait_ns);
}

// A write failed, or there is no space for a next segment. What was appended since the last commit is appended again
// later.
void LogWriter::went_wrong(const Error& error) {
  if (store_.active() && store_.uncommitted_bytes() > 0) store_.abandon();
  for (Producer* producer : rings_) producer->appended = producer->ring->durable();
  own_appended_ = 0;
  uncommitted_events_ = 0;
  uncommitted_since_ns_ = 0;
  const int64_t now_ns = monotonic_ns();
  if (failing_since_ns_ == 0) {
    failing_since_ns_ = now_ns;
    own_events_.clear();
  }
  next_try_ns_ = now_ns + kRetryMs * kNsPerMs;
  const std::lock_guard lock(mutex_);
  if (status_.state == events::LogState::healthy) ++status_.failures;
  status_.state = events::LogState::failing;
  status_.failure = error.message;
  for (const auto& producer : producers_) producer->ring->set_state(events::LogState::failing);
}

void LogWriter::try_to_recover() {
  if (monotonic_ns() < next_try_ns_) return;
  Status status;
  if (!store_.active()) {
    status = store_.begin();
  } else {
    status = store_.wait_reserve();
    if (status) status = store_.roll();
  }
  if (status) {
    if (own_events_.empty()) note_failure();
    for (; status && own_appended_ < own_events_.size(); ++own_appended_) {
      status = append_event(view_of(own_events_[own_appended_]));
    }
    if (status) status = commit();
  }
  if (!status) {
    went_wrong(status.error());
    return;
  }
  failing_since_ns_ = 0;
  const std::lock_guard lock(mutex_);
  status_.state = events::LogState::healthy;
  status_.failure.clear();
  for (const auto& producer : producers_) producer->ring->set_state(events::LogState::healthy);
}

// First thing in the log after a failure: that it was, why, and for how long.
void LogWriter::note_failure() {
  std::string why;
  {
    const std::lock_guard lock(mutex_);
    why = status_.failure;
  }
  events::Actor daemon;
  daemon.attested.pid = ::getpid();
  daemon.attested.uid = ::geteuid();
  daemon.attested.gid = ::getegid();
  NothingToScan scanner;
  uint64_t self_findings = 0;
  const uint64_t failing_ms = static_cast<uint64_t>((monotonic_ns() - failing_since_ns_) / kNsPerMs);
  const events::UtcTime now{now_ns_()};
  own_events_.push_back(events::EventBuilder(events::EventType::control_failure, now, events::EventOutcome::failure,
                                             daemon, "audit-writer", "audit-log")
                            .detail("the audit log could not be written: " + why)
                            .counter("failing_ms", failing_ms)
                            .build(scanner, self_findings));
  own_events_.push_back(events::EventBuilder(events::EventType::control_recovery, now, events::EventOutcome::success,
                                             daemon, "audit-writer", "audit-log")
                            .detail("the audit log is written again")
                            .counter("failing_ms", failing_ms)
                            .build(scanner, self_findings));
}

// Until woken (somebody waits for durability, a ring is half full, stop, flush) or until there may be something due.
void LogWriter::sleep() {
  for (Producer* producer : rings_) producer->ring->set_writer_sleeping(true);
  const bool healthy = failing_since_ns_ == 0;
  const bool woken =
      (healthy && somebody_waits()) || (stop_.load() && healthy) || flushes_wanted_.load() != flushes_seen_;
  if (!woken) {
    const int64_t wait_ns = healthy ? half_interval_ns() : std::max<int64_t>(next_try_ns_ - monotonic_ns(), kNsPerMs);
    const timespec timeout{.tv_sec = wait_ns / 1'000'000'000, .tv_nsec = wait_ns % 1'000'000'000};
    pollfd wake{.fd = wake_fd_.get(), .events = POLLIN, .revents = 0};
    ::ppoll(&wake, 1, &timeout, nullptr);
  }
  for (Producer* producer : rings_) producer->ring->set_writer_sleeping(false);
  uint64_t count = 0;
  static_cast<void>(!::read(wake_fd_.get(), &count, sizeof count));  // EAGAIN where nobody woke us
}

int64_t LogWriter::half_interval_ns() const {
  // An event waits at most one half for being taken and one for its commit.
  return std::max<int64_t>(options_.flush_interval_ms * kNsPerMs / 2, kNsPerMs);
}

void LogWriter::finish() {
  if (store_.active() && failing_since_ns_ == 0) {
    if (const Status status = store_.close(); !status) went_wrong(status.error());
  }
  publish_status();
}

void LogWriter::publish_status() {
  const std::lock_guard lock(mutex_);
  status_.events = store_.leaves();
  status_.bytes = store_.total_bytes();
  status_.segments = store_.segments();
}

}  // namespace sluice::audit
