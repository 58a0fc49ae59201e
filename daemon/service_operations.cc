#include "daemon/service_operations.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>

#include "daemon/base/version.h"
#include "daemon/config/load_all.h"
#include "daemon/config/problem_format.h"
#include "daemon/service_metrics.h"

namespace sluice {
namespace {

using control::Caller;
using events::EventOutcome;
using events::EventType;

events::Actor actor_of(const Caller& caller) {
  events::Actor actor;
  actor.attested.pid = caller.pid;
  actor.attested.uid = caller.uid;
  actor.attested.gid = caller.gid;
  actor.attested.user = caller.user;
  actor.attested.exe = caller.exe;
  return actor;
}

// Asks every worker the same question on its own thread and collects what they say within kOperationWaitMs. The answers
// are shared with letters that come too late, so nobody writes to memory that is gone.
template <typename Answer>
std::vector<Answer> ask_all(const std::vector<session::Worker*>& workers,
                            const std::function<Answer(session::Worker&)>& question) {
  struct Shared {
    std::mutex mutex;
    std::condition_variable done;
    std::vector<Answer> answers;
    size_t outstanding = 0;
  };
  auto shared = std::make_shared<Shared>();
  std::unique_lock lock(shared->mutex);
  for (session::Worker* const worker : workers) {
    const bool posted = worker->post([shared, worker, question] {
      Answer answer = question(*worker);
      const std::lock_guard inner(shared->mutex);
      shared->answers.push_back(std::move(answer));
      --shared->outstanding;
      shared->done.notify_one();
    });
    if (posted) ++shared->outstanding;
  }
  shared->done.wait_for(lock, std::chrono::milliseconds(control::kOperationWaitMs),
                        [&] { return shared->outstanding == 0; });
  return std::move(shared->answers);
}

std::string_view word_of(session::Phase phase) {
  switch (phase) {
    case session::Phase::startup:
      return "startup";
    case session::Phase::authentication:
      return "authentication";
    case session::Phase::idle:
      return "idle";
    case session::Phase::busy:
      return "busy";
    case session::Phase::closing:
      return "closing";
  }
  return "closing";
}

control::SessionView view_of(const session::SessionRow& row) {
  control::SessionView view;
  view.id = row.info.id;
  view.target = row.info.target;
  view.state = word_of(row.phase);
  view.started_ns = row.started_ns;
  view.attested = row.info.actor.attested;
  view.claimed = row.info.actor.claimed;
  view.origin = row.info.origin;
  view.destination = row.info.destination;
  view.commands = row.decided.commands;
  view.blocked = row.decided.blocked;
  view.bytes_to_client = row.moved.bytes_to_client;
  view.bytes_to_server = row.moved.bytes_to_server;
  view.accelerated = row.accelerated;
  return view;
}

control::AccelerationView view_of(const interception::AccelerationReport& report) {
  control::AccelerationView view;
  for (const interception::AccelerationCheck& check : report.checks) {
    view.checks.push_back(
        {check.name, std::string(to_string(check.weight)), check.passed, check.detail, check.meaning});
  }
  view.into_daemon_percent = report.into_daemon_percent;
  view.both_ways_percent = report.both_ways_percent;
  return view;
}

std::string_view word_of(config::Accelerate accelerate) {
  switch (accelerate) {
    case config::Accelerate::auto_:
      return "auto";
    case config::Accelerate::on:
      return "on";
    case config::Accelerate::off:
      return "off";
  }
  return "off";
}

control::LogView view_of(const audit::LogStatus& log, config::Durability durability) {
  control::LogView view;
  view.state = log.state == events::LogState::healthy ? "healthy" : "failing";
  view.failure = log.failure;
  view.recovered = log.recovered;
  view.log_id = log.log_id;
  view.durability = durability == config::Durability::strict ? "strict" : "relaxed";
  view.events = log.events;
  view.bytes = log.bytes;
  view.segments = log.segments;
  return view;
}

}  // namespace

std::vector<session::SessionRow> ServiceOperations::rows() {
  std::vector<session::SessionRow> all;
  for (auto& rows : ask_all<std::vector<session::SessionRow>>(parts_.workers,
                                                              [](session::Worker& worker) { return worker.rows(); })) {
    std::move(rows.begin(), rows.end(), std::back_inserter(all));
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.started_ns < b.started_ns; });
  return all;
}

control::StatusView ServiceOperations::status() {
  control::StatusView view;
  view.problems = parts_.watcher.problems();
  const audit::LogStatus log = parts_.log.status();
  if (!log.warning.empty()) view.problems.push_back("audit log: " + log.warning);
  view.state = draining_.load(std::memory_order_relaxed) ? control::DaemonState::draining
               : view.problems.empty()                   ? control::DaemonState::running
                                                         : control::DaemonState::degraded;
  view.version = kVersion;
  view.pid = getpid();
  view.started_ns = parts_.started_ns;
  const auto set = parts_.policies.current();
  view.policy_version = set->version();
  view.policy_rules = set->rule_count();
  view.capabilities = parts_.steering.capability_line();
  view.acceleration = view_of(parts_.steering.acceleration());
  view.log = view_of(log, parts_.config.audit.durability);
  view.connections_without_note = parts_.acceptor.counters().without_note;
  view.connections_refused = parts_.acceptor.counters().refused;
  view.self_findings = parts_.recorder.self_findings();
  for (const session::Worker* worker : parts_.workers) {
    view.commands_refused_unrecorded += worker->counters().commands_refused_unrecorded;
    view.self_findings += worker->counters().self_findings;
  }
  const std::vector<session::SessionRow> live = rows();
  view.sessions = live.size();
  const auto counters = parts_.steering.counters();
  const auto targets = parts_.targets.current();
  const auto uncovered = parts_.uncovered.look();
  if (!uncovered) view.problems.push_back(parts_.uncovered.problem());
  const bool steered = view.state != control::DaemonState::draining;
  for (size_t i = 0; i < targets->size(); ++i) {
    control::TargetView target;
    target.name = (*targets)[i].name;
    target.protocol = (*targets)[i].protocol;
    target.state = steered ? "protected" : "draining";
    target.sessions = static_cast<uint64_t>(std::count_if(
        live.begin(), live.end(), [&](const session::SessionRow& row) { return row.info.target == target.name; }));
    const interception::AccelerateWish wish = wish_of((*targets)[i].accelerate);
    const interception::AccelerationReport& acceleration = parts_.steering.acceleration();
    target.accelerate = word_of((*targets)[i].accelerate);
    target.acceleration = to_string(acceleration.of(wish));
    target.why_acceleration = acceleration.why(wish);
    if (uncovered) {
      target.uncovered_open = static_cast<uint64_t>(std::count_if(
          uncovered->begin(), uncovered->end(), [&](const auto& one) { return one.target == target.name; }));
    }
    if (i < counters.size()) {
      const interception::TargetCounters& c = counters[i];
      target.coverage = {c.connects, c.redirected, c.refused, c.exempt, c.uncovered};
    }
    view.targets.push_back(std::move(target));
  }
  return view;
}

std::string ServiceOperations::metrics() {
  return render_metrics(parts_, parts_.watcher.problems());
}

std::vector<control::SessionView> ServiceOperations::sessions() {
  std::vector<control::SessionView> views;
  for (const session::SessionRow& row : rows()) views.push_back(view_of(row));
  return views;
}

std::optional<control::SessionView> ServiceOperations::session(std::string_view id) {
  for (const session::SessionRow& row : rows()) {
    if (row.info.id == id) return view_of(row);
  }
  return std::nullopt;
}

control::KillResult ServiceOperations::kill(std::string_view id, const Caller& caller) {
  const std::string wanted(id);
  // std::vector<bool> would not do for answers that several threads add to; a char says the same.
  const auto answers = ask_all<char>(parts_.workers, [wanted](session::Worker& worker) -> char {
    return worker.kill(wanted, "ended by an administrator") ? 1 : 0;
  });
  const bool killed = std::find(answers.begin(), answers.end(), 1) != answers.end();
  events::EventBuilder event =
      parts_.recorder.of(actor_of(caller), EventType::session_killed,
                         killed ? EventOutcome::success : EventOutcome::failure, "session:" + wanted);
  parts_.recorder.publish(event);
  return killed ? control::KillResult::killed : control::KillResult::not_found;
}

Result<control::EndResult> ServiceOperations::end_uncovered(const control::EndRequest& wanted, const Caller& caller) {
  return parts_.uncovered.end(wanted, actor_of(caller));
}

control::ReloadResult ServiceOperations::reload(const Caller& caller) {
  const std::lock_guard lock(reload_mutex_);
  control::ReloadResult result;
  config::Loaded loaded = config::load_all(
      parts_.config.file, [this](const std::string& path) { return parts_.privileged.open_to_read(path); });
  std::string why;
  if (!loaded.usable()) {
    why = config::format_text(loaded.problems);
  } else if (Status set = parts_.targets.replace(parts_.steering, loaded.config->targets); !set) {
    why = set.error().message;
    loaded.problems.push_back({parts_.config.file, 0, 0, policies::Severity::error, why, ""});
  } else if (Status read = parts_.catalogs.replace(loaded.config->targets); !read) {
    why = read.error().message;
    loaded.problems.push_back({parts_.config.file, 0, 0, policies::Severity::error, why, ""});
  }
  result.problems = std::move(loaded.problems);
  if (!why.empty()) {
    result.policy_version = parts_.policies.current()->version();
    spdlog::error("reload rejected, what runs stays as it is:\n{}", why);
    events::EventBuilder event =
        parts_.recorder.of(actor_of(caller), EventType::policy_rejected, EventOutcome::failure, "policy");
    parts_.recorder.publish(event.rule({}, result.policy_version).detail(why));
    return result;
  }
  const config::Config& now = *loaded.config;
  const config::Config& then = parts_.config;
  if (now.audit.directory != then.audit.directory || now.audit.durability != then.audit.durability ||
      now.control_socket != then.control_socket || now.bpf_directory != then.bpf_directory ||
      now.cgroup_path != then.cgroup_path || now.user != then.user || now.workers != then.workers ||
      now.metrics != then.metrics) {
    const char* const notice =
        "user, workers, audit, control, metrics and steering settings take effect at the next start";
    spdlog::warn("reload: {}", notice);
    result.problems.push_back({then.file, 0, 0, policies::Severity::warning, notice, ""});
  }
  for (const config::Target& target : now.targets) {
    const interception::AccelerationReport& acceleration = parts_.steering.acceleration();
    if (target.accelerate != config::Accelerate::on || acceleration.for_on != interception::Acceleration::none)
      continue;
    const std::string notice = "target " + target.name + ": accelerate: on is not in force: " + acceleration.why_on;
    spdlog::warn("reload: {}", notice);
    result.problems.push_back({then.file, 0, 0, policies::Severity::warning, notice, ""});
  }
  result.accepted = true;
  result.policy_version = loaded.policies->version();
  parts_.policies.replace(loaded.policies);
  spdlog::info("reloaded: {} targets, {} rules, policy {}", now.targets.size(), loaded.policies->rule_count(),
               result.policy_version);
  events::EventBuilder event =
      parts_.recorder.of(actor_of(caller), EventType::policy_loaded, EventOutcome::success, "policy");
  parts_.recorder.publish(event.rule({}, result.policy_version).counter("rules", loaded.policies->rule_count()));
  return result;
}

Status ServiceOperations::record_log_read(const Caller& caller, std::string_view what) {
  events::EventBuilder event =
      parts_.recorder.of(actor_of(caller), EventType::log_read, EventOutcome::success, "audit-log");
  return parts_.recorder.publish_durably(event.detail(what));
}

}  // namespace sluice
