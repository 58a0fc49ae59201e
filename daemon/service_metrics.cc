#include "daemon/service_metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <map>
#include <memory>
#include <string_view>

#include "daemon/base/version.h"
#include "daemon/metrics/exposition.h"

namespace sluice {
namespace {

using metrics::Exposition;
using metrics::Family;
using session::TargetTally;

constexpr double kNsPerSecond = 1e9;

// The numbers of all workers about one target.
using TalliesByTarget = std::map<std::string, std::vector<const TargetTally*>>;

TalliesByTarget tallies_of(const std::vector<session::Worker*>& workers) {
  TalliesByTarget all;
  for (const session::Worker* worker : workers) {
    for (const auto& [target, tally] : worker->counters().tallies.all()) all[target].push_back(tally);
  }
  return all;
}

template <typename Read>
uint64_t sum(const std::vector<const TargetTally*>& tallies, Read&& read) {
  uint64_t total = 0;
  for (const TargetTally* tally : tallies) total += read(*tally).get();
  return total;
}

// --- who we are
// --------------------------------------------------------------------------------------------------------

void write_daemon(Exposition& out, const ServiceParts& parts, const std::vector<std::string>& problems) {
  out.gauge("sluice_build_info", "Always 1; the version of this daemon is the label.")
      .sample({{"version", kVersion}}, uint64_t{1});
  out.gauge("sluice_policy_info", "Always 1; the version of the policies in force is the label.")
      .sample({{"version", parts.policies.current()->version()}}, uint64_t{1});
  out.gauge("sluice_policy_rules", "Rules in force.").sample({}, uint64_t{parts.policies.current()->rule_count()});
  out.gauge("sluice_start_time_seconds", "When this daemon began to enforce, in seconds since 1970.")
      .sample({}, static_cast<double>(parts.started_ns) / kNsPerSecond);
  out.gauge("sluice_problems", "What keeps the state of the daemon from being `running`; 0 is well.")
      .sample({}, uint64_t{problems.size()});
  out.gauge("sluice_targets", "Targets in force.").sample({}, uint64_t{parts.targets.current()->size()});
}

// Pages of memory, and descriptors, as the kernel counts them.
void write_process(Exposition& out) {
  uint64_t resident_pages = 0;
  if (const UniqueFd statm(::open("/proc/self/statm", O_RDONLY | O_CLOEXEC)); statm.valid()) {
    char text[256];
    const ssize_t got = ::read(statm.get(), text, sizeof text);
    const std::string_view words(text, got > 0 ? static_cast<size_t>(got) : 0);
    const size_t second = words.find(' ');
    if (second != std::string_view::npos)
      std::from_chars(words.data() + second + 1, words.data() + words.size(), resident_pages);
  }
  out.gauge("process_resident_memory_bytes", "Memory of the daemon that is in RAM.")
      .sample({}, resident_pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)));
  uint64_t descriptors = 0;
  if (const std::unique_ptr<DIR, int (*)(DIR*)> list(::opendir("/proc/self/fd"), ::closedir); list != nullptr) {
    while (::readdir(list.get()) != nullptr) ++descriptors;
  }
  constexpr uint64_t kNotOurs = 3;  // ".", "..", and the descriptor of the list itself
  out.gauge("process_open_fds", "Descriptors that the daemon has open.")
      .sample({}, descriptors > kNotOurs ? descriptors - kNotOurs : 0);
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0)
    out.gauge("process_max_fds", "Descriptors that the daemon may have open.").sample({}, uint64_t{files.rlim_cur});
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0) {
    constexpr double kUsPerSecond = 1e6;
    const double seconds = static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                           static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / kUsPerSecond;
    out.counter("process_cpu_seconds_total", "Processor time of the daemon, user and system.").sample({}, seconds);
  }
}

// --- coverage
// ----------------------------------------------------------------------------------------------------------

void write_coverage(Exposition& out, const ServiceParts& parts) {
  const auto counters = parts.steering.counters();
  const auto targets = parts.targets.current();
  const size_t count = std::min(counters.size(), targets->size());
  Family connects =
      out.counter("sluice_connects_total",
                  "Connects to targets that the kernel saw, by what became of them; the outcomes add up to "
                  "all of them. `uncovered` went past Sluice.");
  for (size_t i = 0; i < count; ++i) {
    const interception::TargetCounters& c = counters[i];
    const std::string& target = (*targets)[i].name;
    connects.sample({{"target", target}, {"outcome", "redirected"}}, c.redirected);
    connects.sample({{"target", target}, {"outcome", "refused"}}, c.refused);
    connects.sample({{"target", target}, {"outcome", "exempt"}}, c.exempt);
    connects.sample({{"target", target}, {"outcome", "uncovered"}}, c.uncovered);
  }
  Family refused =
      out.counter("sluice_connects_refused_total", "Connects to targets that the kernel refused, by reason.");
  for (size_t i = 0; i < count; ++i) {
    const interception::TargetCounters& c = counters[i];
    const std::string& target = (*targets)[i].name;
    refused.sample({{"target", target}, {"reason", "daemon_down"}}, c.refused_down);
    refused.sample({{"target", target}, {"reason", "daemon_hung"}}, c.refused_hung);
    refused.sample({{"target", target}, {"reason", "no_listener_in_namespace"}}, c.refused_namespace);
    refused.sample({{"target", target}, {"reason", "too_many_waiting"}}, c.refused_notes_full);
    refused.sample({{"target", target}, {"reason", "other"}}, c.refused_other);
  }
  Family open = out.gauge("sluice_uncovered_open",
                          "Connections to targets that were open at the last look, every ten seconds, and do not go "
                          "through Sluice.");
  for (const auto& [target, connections] : parts.uncovered.counts()) open.sample({{"target", target}}, connections);
  const AcceptorCounters& accepted = parts.acceptor.counters();
  Family arrived = out.counter("sluice_accepted_connections_total",
                               "Connections that reached the daemon's listeners. `without_note` were not steered there "
                               "and were reset; `refused` found no descriptor, no room or no target.");
  arrived.sample({{"outcome", "session"}}, accepted.accepted.load(std::memory_order_relaxed));
  arrived.sample({{"outcome", "without_note"}}, accepted.without_note.load(std::memory_order_relaxed));
  arrived.sample({{"outcome", "refused"}}, accepted.refused.load(std::memory_order_relaxed));
}

// --- sessions and commands
// ---------------------------------------------------------------------------------------------

void write_sessions(Exposition& out, const TalliesByTarget& tallies) {
  Family live = out.gauge("sluice_sessions", "Live sessions.");
  for (const auto& [target, list] : tallies) {
    uint64_t ended = 0;  // read before what started, so that the difference is never negative
    for (size_t reason = 0; reason < session::kCloseReasonCount; ++reason)
      ended += sum(list, [reason](const TargetTally& t) -> const Counter& { return t.sessions_ended[reason]; });
    const uint64_t started = sum(list, [](const TargetTally& t) -> const Counter& { return t.sessions_started; });
    live.sample({{"target", target}}, started - ended);
  }
  Family began = out.counter("sluice_sessions_started_total", "Sessions that began.");
  for (const auto& [target, list] : tallies) {
    began.sample({{"target", target}},
                 sum(list, [](const TargetTally& t) -> const Counter& { return t.sessions_started; }));
  }
  Family ends = out.counter("sluice_sessions_ended_total", "Sessions that ended, by reason.");
  for (const auto& [target, list] : tallies) {
    for (size_t reason = 0; reason < session::kCloseReasonCount; ++reason) {
      const uint64_t count =
          sum(list, [reason](const TargetTally& t) -> const Counter& { return t.sessions_ended[reason]; });
      if (count == 0) continue;
      ends.sample({{"target", target}, {"reason", to_string(static_cast<session::CloseReason>(reason))}}, count);
    }
  }
  Family bytes = out.counter("sluice_session_bytes_total", "Bytes that sessions moved; counted when a session ends.");
  for (const auto& [target, list] : tallies) {
    bytes.sample({{"target", target}, {"to", "client"}},
                 sum(list, [](const TargetTally& t) -> const Counter& { return t.bytes_to_client; }));
    bytes.sample({{"target", target}, {"to", "server"}},
                 sum(list, [](const TargetTally& t) -> const Counter& { return t.bytes_to_server; }));
  }
}

std::string_view kind_word(size_t column) {
  if (column == session::kSeveralKinds) return "several";
  if (column == session::kNoKind) return "none";
  return policies::to_string(static_cast<policies::StatementKind>(column));
}

void write_commands(Exposition& out, const TalliesByTarget& tallies) {
  Family commands =
      out.counter("sluice_commands_total",
                  "Commands that policy decided about, by decision and statement kind. `several`: more than "
                  "one statement, of different kinds; `none`: no statement, a cancel request.");
  for (const auto& [target, list] : tallies) {
    for (size_t how = 0; how < session::kDecidedCount; ++how) {
      const std::string_view decision = how == static_cast<size_t>(session::Decided::allowed) ? "allow" : "block";
      for (size_t kind = 0; kind < session::kKindColumns; ++kind) {
        const uint64_t count =
            sum(list, [how, kind](const TargetTally& t) -> const Counter& { return t.commands[how][kind]; });
        if (count == 0) continue;
        commands.sample({{"target", target}, {"decision", decision}, {"kind", kind_word(kind)}}, count);
      }
    }
  }
  const auto plain = [&](const char* name, const char* help, auto&& read) {
    Family family = out.counter(name, help);
    for (const auto& [target, list] : tallies) family.sample({{"target", target}}, sum(list, read));
  };
  plain("sluice_commands_unknown_total",
        "Commands of which something could not be told; rules treat what is unknown as possible.",
        [](const TargetTally& t) -> const Counter& { return t.commands_unknown; });
  plain("sluice_commands_failed_total", "Commands that the server answered with an error.",
        [](const TargetTally& t) -> const Counter& { return t.commands_failed; });
  plain("sluice_rows_total", "Rows that commands returned or wrote.",
        [](const TargetTally& t) -> const Counter& { return t.rows; });
  Family refusals = out.counter("sluice_refusals_total",
                                "What the daemon refused, by reason. `protocol`: what could not be parsed; the session "
                                "ended. `log_unavailable`: the audit log could not be written.");
  for (const auto& [target, list] : tallies) {
    for (size_t reason = 0; reason < session::kRefusalReasonCount; ++reason) {
      refusals.sample({{"target", target}, {"reason", to_string(static_cast<session::RefusalReason>(reason))}},
                      sum(list, [reason](const TargetTally& t) -> const Counter& { return t.refusals[reason]; }));
    }
  }
  Family findings = out.counter("sluice_findings_total", "Pieces of card data that were masked, by kind and brand.");
  for (const auto& [target, list] : tallies) {
    for (size_t kind = 0; kind < session::kFindingKindsMax; ++kind) {
      for (size_t brand = 0; brand < session::kBrandsMax; ++brand) {
        const uint64_t count =
            sum(list, [kind, brand](const TargetTally& t) -> const Counter& { return t.findings[kind][brand]; });
        if (count == 0) continue;
        findings.sample({{"target", target},
                         {"kind", policies::to_string(static_cast<policies::FindingKind>(kind))},
                         {"brand", policies::has_brand(static_cast<policies::FindingKind>(kind))
                                       ? policies::to_string(static_cast<policies::Brand>(brand))
                                       : "none"}},
                        count);
      }
    }
  }
}

// --- analysis and the waits of the gate
// --------------------------------------------------------------------------------

void write_analysis(Exposition& out, const ServiceParts& parts) {
  DurationCounts here, waited_analysis, waited_durable;
  uint64_t known = 0, fresh = 0, kept = 0, kept_bytes = 0;
  for (const session::Worker* worker : parts.workers) {
    const session::GateCounters& counters = worker->counters();
    here += counters.analysis_here.get();
    waited_analysis += counters.analysis_wait.get();
    waited_durable += counters.durable_wait.get();
    known += counters.statements_known.get();
    fresh += counters.statements_new.get();
    kept += counters.statements_kept.get();
    kept_bytes += counters.statements_kept_bytes.get();
  }
  const command::AnalysisPool::Counters pool = parts.analysis.counters();
  Family took = out.histogram("sluice_analysis_seconds",
                              "How long the analysis of a statement took: short texts on the worker, long ones on an "
                              "analysis thread.");
  took.histogram({{"where", "worker"}}, here);
  took.histogram({{"where", "thread"}}, pool.took);
  Family results =
      out.counter("sluice_analysis_jobs_total",
                  "Statements given to the analysis threads. Refused and expired ones are unknown to policy.");
  results.sample({{"outcome", "analysed"}}, pool.analysed);
  results.sample({{"outcome", "refused"}}, pool.refused_full);
  results.sample({{"outcome", "expired"}}, pool.expired);
  out.gauge("sluice_analysis_queue_jobs", "Statements that wait for an analysis thread.").sample({}, pool.waiting);
  out.gauge("sluice_analysis_queue_bytes", "Their text.").sample({}, pool.waiting_bytes);
  Family waits =
      out.histogram("sluice_gate_wait_seconds",
                    "How long commands waited at the gate: for an analysis thread, or for their record to be "
                    "on disk (durability: strict). Those that did not wait are not counted.");
  waits.histogram({{"for", "analysis"}}, waited_analysis);
  waits.histogram({{"for", "durability"}}, waited_durable);
  Family texts =
      out.counter("sluice_statement_cache_lookups_total", "Statement texts, by whether their analysis was kept.");
  texts.sample({{"outcome", "hit"}}, known);
  texts.sample({{"outcome", "miss"}}, fresh);
  out.gauge("sluice_statement_cache_entries", "Analysed statements that are kept.").sample({}, kept);
  out.gauge("sluice_statement_cache_bytes", "Their texts.").sample({}, kept_bytes);
}

// --- the log
// -----------------------------------------------------------------------------------------------------------

void write_log(Exposition& out, const ServiceParts& parts) {
  const audit::LogStatus log = parts.log.status();
  out.gauge("sluice_audit_log_healthy", "1 while the audit log can be written; at 0 every command is refused.")
      .sample({}, uint64_t{log.state == events::LogState::healthy});
  out.counter("sluice_audit_log_failures_total", "Times that the audit log could not be written any more.")
      .sample({}, log.failures);
  out.gauge("sluice_audit_log_records", "Records in the audit log.").sample({}, log.events);
  out.gauge("sluice_audit_log_bytes", "Bytes of the audit log.").sample({}, log.bytes);
  out.gauge("sluice_audit_log_segments", "Segments of the audit log.").sample({}, log.segments);
  out.histogram("sluice_audit_log_commit_seconds", "How long it took to make a batch of events durable.")
      .histogram({}, log.commits);
  uint64_t waiting = 0;
  for (const uint64_t events : log.not_durable) waiting += events;
  out.gauge("sluice_audit_log_lag_events", "Events that happened and are not on disk yet.").sample({}, waiting);
  Family rings =
      out.gauge("sluice_event_ring_used_slots",
                "Events that wait in a ring for the disk; a full ring makes its sessions wait. Ring 0 is the "
                "daemon's own, the others are the workers'.");
  for (size_t i = 0; i < log.not_durable.size(); ++i) {
    rings.sample({{"ring", std::to_string(i)}}, log.not_durable[i]);
  }
  out.gauge("sluice_event_ring_slots", "Places of one ring.").sample({}, uint64_t{events::EventRing::kSlots});
  uint64_t unrecorded = 0, self_findings = parts.recorder.self_findings();
  for (const session::Worker* worker : parts.workers) {
    unrecorded +=
        worker->counters().commands_refused_unrecorded.load(std::memory_order_relaxed) + worker->refused_unrecorded();
    self_findings += worker->counters().self_findings.load(std::memory_order_relaxed);
  }
  out.counter("sluice_refused_unrecorded_total",
              "Commands and connections that were refused without an event, because the log could not be written; the "
              "log says how many once it can.")
      .sample({}, unrecorded);
  out.counter("sluice_self_findings_total",
              "Card data that got as far as the last scan before the log, and was masked there. More than 0 is a bug.")
      .sample({}, self_findings);
}

void write_workers(Exposition& out, const ServiceParts& parts) {
  Family sessions = out.gauge("sluice_worker_sessions", "Sessions that live on a worker.");
  for (size_t i = 0; i < parts.workers.size(); ++i)
    sessions.sample({{"worker", std::to_string(i)}}, uint64_t{parts.workers[i]->session_count()});
  Family turns = out.counter("sluice_worker_turns_total", "Turns of a worker's loop.");
  for (size_t i = 0; i < parts.workers.size(); ++i)
    turns.sample({{"worker", std::to_string(i)}}, parts.workers[i]->turns());
}

}  // namespace

std::string render_metrics(const ServiceParts& parts, const std::vector<std::string>& problems) {
  Exposition out;
  const TalliesByTarget tallies = tallies_of(parts.workers);
  write_daemon(out, parts, problems);
  write_process(out);
  write_coverage(out, parts);
  write_sessions(out, tallies);
  write_commands(out, tallies);
  write_analysis(out, parts);
  write_log(out, parts);
  write_workers(out, parts);
  return out.text();
}

}  // namespace sluice
