#include "daemon/watcher.h"

#include <spdlog/spdlog.h>
#include <systemd/sd-daemon.h>

#include <chrono>
#include <utility>

#include "daemon/base/clock.h"

namespace sluice {

using events::EventOutcome;
using events::EventType;

Watcher::Watcher(Watched watched) : watched_(std::move(watched)), progress_(watched_.workers.size() + 1) {}

Watcher::~Watcher() {
  stop();
}

Status Watcher::start() {
  const uint64_t now = system_clock().monotonic_ms();
  for (Progress& progress : progress_) progress.seen_ms = now;
  coverage_ms_ = now;
  // The kernel's counters outlive daemons: against the last coverage event of the one before, this shows what came in
  // between.
  look_at_refusals();
  record_coverage();
  watched_.steering.heartbeat();
  auto thread = Thread::start("watcher", kSmallStackBytes, [this] { run(); });
  if (!thread) return tl::unexpected(thread.error());
  thread_ = std::move(*thread);
  return {};
}

void Watcher::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

std::vector<std::string> Watcher::problems() const {
  const std::lock_guard lock(mutex_);
  return problems_;
}

void Watcher::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    tick(system_clock().monotonic_ms());
    lock.lock();
    wake_.wait_for(lock, std::chrono::milliseconds(kTickMs), [this] { return stopping_; });
  }
}

void Watcher::tick(uint64_t now_ms) {
  if (all_make_progress(now_ms)) {
    watched_.steering.heartbeat();
    sd_notify(0, "WATCHDOG=1");
  }
  if (now_ms - second_ms_ >= 1'000) {
    second_ms_ = now_ms;
    look_at_steering();
    look_at_log();
    look_at_counters();
    look_at_refusals();
    watched_.recorder.flush_waiting();
  }
  if (now_ms - coverage_ms_ >= kCoverageMs) {
    coverage_ms_ = now_ms;
    record_coverage();
  }
  std::vector<std::string> problems;
  if (!hung_.empty()) problems.push_back(hung_);
  if (!steering_problem_.empty()) problems.push_back(steering_problem_);
  if (log_failing_)
    problems.push_back("the audit log cannot be written; no command on a protected target is forwarded");
  const std::lock_guard lock(mutex_);
  problems_ = std::move(problems);
}

// Every loop must have turned within kHungAfterMs; a letter makes sure that an idle one has a reason to.
bool Watcher::all_make_progress(uint64_t now_ms) {
  std::string hung;
  for (size_t i = 0; i < progress_.size(); ++i) {
    const bool is_worker = i < watched_.workers.size();
    if (!is_worker && acceptor_ends_.load(std::memory_order_relaxed)) continue;
    const uint64_t turns = is_worker ? watched_.workers[i]->turns() : watched_.acceptor.turns();
    Progress& progress = progress_[i];
    if (turns != progress.turns) {
      progress.turns = turns;
      progress.seen_ms = now_ms;
    } else if (now_ms - progress.seen_ms > kHungAfterMs) {
      hung = is_worker ? "worker " + std::to_string(i) + " hangs" : "the acceptor hangs";
    }
    if (is_worker) {
      [[maybe_unused]] const bool posted = watched_.workers[i]->post([] {});  // a full mailbox is reason enough to turn
    } else {
      watched_.acceptor.nudge();
    }
  }
  if (hung != hung_) {
    if (!hung.empty()) {
      spdlog::error("{}; heartbeat stopped, when_down decides about new connections", hung);
      events::EventBuilder event = watched_.recorder.own(EventType::control_failure, EventOutcome::failure, "daemon");
      watched_.recorder.publish(event.detail(hung));
    } else {
      spdlog::info("all workers make progress again");
      events::EventBuilder event = watched_.recorder.own(EventType::control_recovery, EventOutcome::success, "daemon");
      watched_.recorder.publish(event.detail(hung_));
    }
    hung_ = hung;
  }
  return hung_.empty();
}

void Watcher::look_at_steering() {
  std::string problem = watched_.steering.self_check();
  if (problem == steering_problem_) return;
  if (!problem.empty()) {
    spdlog::error("steering: {}", problem);
    events::EventBuilder event = watched_.recorder.own(EventType::tamper_warning, EventOutcome::failure, "steering");
    watched_.recorder.publish(event.detail(problem));
  } else {
    spdlog::info("steering is whole again");
    events::EventBuilder event = watched_.recorder.own(EventType::control_recovery, EventOutcome::success, "steering");
    watched_.recorder.publish(event.detail(steering_problem_));
  }
  steering_problem_ = std::move(problem);
}

void Watcher::look_at_log() {
  const audit::LogStatus status = watched_.log.status();
  const bool failing = status.state == events::LogState::failing;
  if (failing == log_failing_) return;
  log_failing_ = failing;
  if (failing) {
    spdlog::error("audit log cannot be written: {}; no command is forwarded until it can", status.failure);
  } else {
    spdlog::info("audit log is written again");  // the log itself recorded the failure first thing
  }
}

void Watcher::look_at_counters() {
  uint64_t self_findings = watched_.recorder.self_findings();
  uint64_t unrecorded = 0;
  for (const session::Worker* worker : watched_.workers) {
    self_findings += worker->counters().self_findings.load(std::memory_order_relaxed);
    unrecorded +=
        worker->counters().commands_refused_unrecorded.load(std::memory_order_relaxed) + worker->refused_unrecorded();
  }
  if (self_findings > self_findings_seen_) {
    spdlog::error("{} pieces of card data were masked only by the last scan of an event; please report this",
                  self_findings - self_findings_seen_);
    events::EventBuilder event = watched_.recorder.own(EventType::self_finding, EventOutcome::failure, "audit-log");
    watched_.recorder.publish(event.counter("masked", self_findings - self_findings_seen_));
    self_findings_seen_ = self_findings;
  }
  if (unrecorded > unrecorded_seen_ && !log_failing_) {
    events::EventBuilder event = watched_.recorder.own(EventType::loss, EventOutcome::refused, "audit-log");
    event.detail("refused without an event of their own while the log could not be written");
    watched_.recorder.publish(event.counter("refused", unrecorded - unrecorded_seen_));
    unrecorded_seen_ = unrecorded;
  }
}

// What the kernel refused or let through, as events of the second in which it happened.
void Watcher::look_at_refusals() {
  const auto counters = watched_.steering.counters();
  const auto targets = watched_.targets.current();
  for (size_t i = 0; i < counters.size() && i < targets->size(); ++i) {
    const interception::TargetCounters& now = counters[i];
    const std::string& name = (*targets)[i].name;
    const auto [found, is_first] = coverage_seen_.try_emplace(name, now);
    const interception::TargetCounters before = std::exchange(found->second, now);
    if (is_first) continue;
    if (now.uncovered > before.uncovered) {
      events::EventBuilder event =
          watched_.recorder.own(EventType::uncovered_connection, EventOutcome::failure, "target:" + name);
      watched_.recorder.publish(event.counter("connections", now.uncovered - before.uncovered));
    }
    if (now.refused > before.refused) {
      events::EventBuilder event =
          watched_.recorder.own(EventType::connect_refused, EventOutcome::refused, "target:" + name);
      event.counter("connections", now.refused - before.refused)
          .counter("daemon_down", now.refused_down - before.refused_down);
      event.counter("daemon_hung", now.refused_hung - before.refused_hung);
      event.counter("no_listener_in_namespace", now.refused_namespace - before.refused_namespace);
      event.counter("too_many_waiting", now.refused_notes_full - before.refused_notes_full);
      watched_.recorder.publish(event);
    }
  }
}

void Watcher::record_coverage() {
  const auto counters = watched_.steering.counters();
  const auto targets = watched_.targets.current();
  const AcceptorCounters& accepted = watched_.acceptor.counters();
  for (size_t i = 0; i < counters.size() && i < targets->size(); ++i) {
    const interception::TargetCounters& c = counters[i];
    events::EventBuilder event =
        watched_.recorder.own(EventType::coverage, EventOutcome::success, "target:" + (*targets)[i].name);
    event.counter("connects", c.connects).counter("redirected", c.redirected).counter("refused", c.refused);
    event.counter("exempt", c.exempt).counter("uncovered", c.uncovered);
    event.counter("daemon_accepted", accepted.accepted).counter("daemon_without_note", accepted.without_note);
    event.counter("daemon_refused", accepted.refused);
    watched_.recorder.publish(event);
  }
}

}  // namespace sluice
