#include <cstdio>

#include "daemon/cli/commands.h"
#include "daemon/cli/table.h"
#include "daemon/config/problem_format.h"

namespace sluice::cli {
namespace {

std::string number(const Json& object, const char* name) {
  return object.contains(name) && object[name].is_number() ? std::to_string(object[name].get<uint64_t>()) : "-";
}
std::string text(const Json& object, const char* name) {
  return object.contains(name) && object[name].is_string() ? object[name].get<std::string>() : "";
}

// The problems that came as JSON, to be shown as `check` shows them.
policies::Problems problems_of(const Json& result) {
  policies::Problems problems;
  for (const Json& json : result.value("problems", Json::array())) {
    const auto place = [&](const char* name) {
      return json.contains(name) && json[name].is_number_unsigned() ? json[name].get<uint32_t>() : 0u;
    };
    const bool error = text(json, "severity") == "error";
    problems.push_back({text(json, "file"), place("line"), place("column"),
                        error ? policies::Severity::error : policies::Severity::warning, text(json, "message"),
                        text(json, "hint")});
  }
  return problems;
}

void print_human(const Context& context, const Json& status) {
  const std::string state = text(status, "state");
  const Tone tone = state == "running" ? Tone::good : state == "degraded" ? Tone::bad : Tone::warning;
  std::printf("%s  sluice %s, pid %s, since %s\n", context.tint(tone, state).c_str(), text(status, "version").c_str(),
              number(status, "pid").c_str(), text(status, "started").c_str());
  for (const Json& problem : status.value("problems", Json::array())) {
    if (problem.is_string())
      std::printf("  %s\n", context.tint(Tone::bad, printable(problem.get<std::string>())).c_str());
  }

  Table targets({{"TARGET"},
                 {"STATE"},
                 {"SESSIONS", Table::Align::right},
                 {"CONNECTS", Table::Align::right},
                 {"REDIRECTED", Table::Align::right},
                 {"REFUSED", Table::Align::right},
                 {"EXEMPT", Table::Align::right},
                 {"UNCOVERED", Table::Align::right},
                 {"OPEN PAST", Table::Align::right}});
  for (const Json& target : status.value("targets", Json::array())) {
    const Json coverage = target.value("coverage", Json::object());
    targets.row({text(target, "name"), text(target, "state"), number(target, "sessions"), number(coverage, "connects"),
                 number(coverage, "redirected"), number(coverage, "refused"), number(coverage, "exempt"),
                 number(coverage, "uncovered"), number(target, "uncovered_open")});
  }
  std::printf("\n%s", targets.text().c_str());
  for (const Json& target : status.value("targets", Json::array())) {
    const Json accelerate = target.value("accelerate", Json::object());
    if (text(accelerate, "configured") == "off") continue;
    std::printf("accelerate  %s: %s (%s)\n", printable(text(target, "name")).c_str(), text(accelerate, "taken").c_str(),
                printable(text(accelerate, "why")).c_str());
  }

  Table sinks({{"SINK"}, {"STATE"}, {"LAG", Table::Align::right}});
  for (const Json& sink : status.value("sinks", Json::array())) {
    sinks.row({text(sink, "name"), text(sink, "state"), number(sink, "lag_events")});
  }
  if (!sinks.empty()) std::printf("\n%s", sinks.text().c_str());

  const Json log = status.value("log", Json::object());
  const bool failing = text(log, "state") != "healthy";
  std::printf("\npolicy  %s, %s rules\n", text(status, "policy_version").c_str(),
              number(status, "policy_rules").c_str());
  std::printf("log     %s, %s, %s events in %s segments, %s\n",
              context.tint(failing ? Tone::bad : Tone::good, text(log, "state")).c_str(),
              text(log, "durability").c_str(), number(log, "events").c_str(), number(log, "segments").c_str(),
              human_bytes(log.value("bytes", uint64_t{0})).c_str());
  if (!text(log, "failure").empty())
    std::printf("        %s\n", context.tint(Tone::bad, printable(text(log, "failure"))).c_str());
  if (!text(log, "recovered").empty()) std::printf("        at start: %s\n", printable(text(log, "recovered")).c_str());
  std::printf("kernel  %s\n", printable(text(status, "capabilities")).c_str());
}

}  // namespace

ExitStatus status_command(const Context& context) {
  std::string reply;
  if (const ExitStatus status = context.call("GET", "/v1/status", reply); status != kSuccess) return status;
  const Json status = Json::parse(reply, nullptr, false);
  if (!status.is_object()) {
    complain("the daemon's status cannot be read");
    return kUnreachable;
  }
  if (context.json) {
    print_line(to_line(status));
  } else {
    print_human(context, status);
  }
  // It answers while it starts, but does not protect yet: whoever waits for it has to go on waiting.
  return text(status, "state") == "starting" ? kUnreachable : kSuccess;
}

ExitStatus reload_command(const Context& context) {
  std::string reply;
  if (const ExitStatus status = context.call("POST", "/v1/reload", reply); status != kSuccess) return status;
  const Json result = Json::parse(reply, nullptr, false);
  if (!result.is_object()) {
    complain("the daemon's answer cannot be read");
    return kUnreachable;
  }
  const bool accepted = result.value("accepted", false);
  if (context.json) {
    print_line(to_line(result));
  } else {
    std::fputs(config::format_text(problems_of(result)).c_str(), stderr);
    std::printf("%s; policy %s is in force\n", accepted ? "reloaded" : "not reloaded, everything stays as it was",
                text(result, "policy_version").c_str());
  }
  return accepted ? kSuccess : kUsage;
}

}  // namespace sluice::cli
