#include "daemon/cli/try_summary.h"

#include <cstdio>
#include <map>
#include <vector>

#include "daemon/audit/event_query.h"
#include "daemon/cli/table.h"

namespace sluice::cli {
namespace {

constexpr size_t kTextWidth = 60;

struct Seen {
  uint64_t sessions = 0;
  uint64_t commands = 0;
  uint64_t refused = 0;
  uint64_t masked = 0;
  uint64_t connects_refused = 0;
  uint64_t uncovered = 0;
  std::map<std::string, uint64_t> findings;  // "payments-db pan visa"
  std::vector<Json> refusals;                // the first kRefusalsShownMax
};

std::string text(const Json& event, const char* name) {
  return event.contains(name) && event[name].is_string() ? event[name].get<std::string>() : "";
}

// The last of them for each target holds everything: the counters were new.
void take_coverage(const Json& event, std::map<std::string, std::pair<uint64_t, uint64_t>>& coverage) {
  const Json counters = event.value("counters", Json::object());
  coverage[text(event, "target")] = {counters.value("refused", uint64_t{0}), counters.value("uncovered", uint64_t{0})};
}

Result<Seen> look(const TryScratch& scratch) {
  Seen seen;
  std::map<std::string, std::pair<uint64_t, uint64_t>> coverage;
  const auto take = [&](std::string_view line) {
    const Json event = Json::parse(line, nullptr, false);
    if (!event.is_object()) return true;
    const std::string type = text(event, "type");
    if (type == "session_started") ++seen.sessions;
    if (type == "command_received") ++seen.commands;
    if (type == "coverage") take_coverage(event, coverage);
    const bool refused = type == "command_blocked" || type == "protocol_violation" || type == "limit_exceeded";
    if (type == "command_blocked") ++seen.commands;
    if (refused) {
      ++seen.refused;
      if (seen.refusals.size() < kRefusalsShownMax) seen.refusals.push_back(event);
    }
    for (const Json& finding : event.value("findings", Json::array())) {
      const uint64_t count = finding.value("count", uint64_t{0});
      seen.masked += count;
      seen.findings[text(event, "target") + " " + text(finding, "kind") + " " + text(finding, "brand")] += count;
    }
    return true;
  };
  const Result<audit::QueryResult> read = audit::query_events(scratch.audit_directory(), {}, take);
  if (!read) return tl::unexpected(read.error());
  for (const auto& [target, counts] : coverage) {
    seen.connects_refused += counts.first;
    seen.uncovered += counts.second;
  }
  return seen;
}

std::string statement_of(const Json& event) {
  const Json command = event.value("command", Json(nullptr));
  return command.is_object() ? text(command, "text") : "";
}

void print_json(const Seen& seen) {
  Json findings = Json::array();
  for (const auto& [what, count] : seen.findings) {
    const size_t first = what.find(' '), second = what.find(' ', first + 1);
    findings.push_back({{"target", what.substr(0, first)},
                        {"kind", what.substr(first + 1, second - first - 1)},
                        {"brand", what.substr(second + 1)},
                        {"count", count}});
  }
  Json refusals = Json::array();
  for (const Json& event : seen.refusals) {
    refusals.push_back({{"type", event.value("type", Json(nullptr))},
                        {"target", event.value("target", Json(nullptr))},
                        {"rule", event.value("rule", Json(nullptr))},
                        {"detail", event.value("detail", Json(nullptr))},
                        {"text", statement_of(event)}});
  }
  const Json summary = {{"sessions", seen.sessions},
                        {"commands", seen.commands},
                        {"refused", seen.refused},
                        {"masked", seen.masked},
                        {"connects_refused", seen.connects_refused},
                        {"uncovered", seen.uncovered},
                        {"findings", std::move(findings)},
                        {"refusals", std::move(refusals)}};
  std::fprintf(stderr, "%s\n", to_line(summary).c_str());
}

void print_human(const Seen& seen, const config::Config& config) {
  std::fprintf(stderr, "sluice try: %llu sessions, %llu commands, %llu refused, %llu pieces of card data masked\n",
               static_cast<unsigned long long>(seen.sessions), static_cast<unsigned long long>(seen.commands),
               static_cast<unsigned long long>(seen.refused), static_cast<unsigned long long>(seen.masked));
  if (seen.sessions == 0) {
    std::string names;
    for (const config::Target& target : config.targets) names += (names.empty() ? "" : ", ") + target.name;
    std::fprintf(stderr, "  the command made no connection to a target (%s)\n", shortened(names, kTextWidth).c_str());
  }
  for (const auto& [what, count] : seen.findings) {
    std::fprintf(stderr, "  masked   %s: %llu\n", printable(what).c_str(), static_cast<unsigned long long>(count));
  }
  for (const Json& event : seen.refusals) {
    const std::string rule = text(event, "rule");
    const std::string statement = statement_of(event);
    std::fprintf(stderr, "  refused  %s%s%s\n",
                 shortened(printable(statement.empty() ? text(event, "type") : statement), kTextWidth).c_str(),
                 rule.empty() ? "" : ", by rule ", printable(rule).c_str());
    std::fprintf(stderr, "           %s\n", printable(text(event, "detail")).c_str());
  }
  if (seen.refused > seen.refusals.size()) {
    std::fprintf(stderr, "  … and %llu more\n", static_cast<unsigned long long>(seen.refused - seen.refusals.size()));
  }
  if (seen.connects_refused > 0) {
    std::fprintf(stderr, "  %llu connects were refused in the kernel (another network namespace?)\n",
                 static_cast<unsigned long long>(seen.connects_refused));
  }
  if (seen.uncovered > 0) {
    std::fprintf(stderr, "  %llu connects went past Sluice (when_down: allow)\n",
                 static_cast<unsigned long long>(seen.uncovered));
  }
}

}  // namespace

void print_try_summary(const Context& context, const TryScratch& scratch, const config::Config& config) {
  const Result<Seen> seen = look(scratch);
  if (!seen) {
    complain("try: what was seen cannot be read: " + seen.error().message);
  } else if (context.json) {
    print_json(*seen);
  } else {
    print_human(*seen, config);
  }
}

}  // namespace sluice::cli
