#include "daemon/interception/acceleration.h"

#include <algorithm>

namespace sluice::interception {
namespace {

// Names of the checks of this weight that failed; empty where all passed.
std::string failed_checks(const AccelerationReport& report, CheckWeight weight) {
  std::string names;
  for (const AccelerationCheck& check : report.checks) {
    if (check.weight == weight && !check.passed) names += (names.empty() ? "" : ", ") + check.name;
  }
  return names;
}

bool pays(unsigned percent) {
  return percent != 0 && percent <= kPaysAtPercent;
}

std::string cost(unsigned percent) {
  return std::to_string(percent) + " % of TCP's processor time";
}

}  // namespace

void decide(AccelerationReport& report) {
  report.for_auto = report.for_on = Acceleration::none;
  const std::string fatal = failed_checks(report, CheckWeight::fatal);
  if (report.checks.empty() || !fatal.empty()) {
    report.why_auto = report.why_on =
        report.checks.empty() ? "the self-test did not run" : "the self-test failed: " + fatal;
    return;
  }
  const std::string foreign = failed_checks(report, CheckWeight::foreign);
  const std::string guarded = failed_checks(report, CheckWeight::guarded);
  report.for_on = Acceleration::both_ways;
  report.why_on = "asked for";
  const std::string accepted = foreign + (foreign.empty() || guarded.empty() ? "" : ", ") + guarded;
  if (!accepted.empty()) report.why_on += ", although other programs see a difference: " + accepted;

  if (!foreign.empty()) {
    report.why_auto = "other programs would see a difference: " + foreign;
  } else if (guarded.empty() && pays(report.both_ways_percent)) {
    report.for_auto = Acceleration::both_ways;
    report.why_auto = "every check passed, " + cost(report.both_ways_percent);
  } else if (pays(report.into_daemon_percent)) {
    report.for_auto = Acceleration::into_daemon;
    report.why_auto = "every fatal check passed, " + cost(report.into_daemon_percent);
  } else {
    report.why_auto = "does not pay into Sluice alone: " + cost(report.into_daemon_percent);
    if (!guarded.empty()) report.why_auto += "; not into other programs: " + guarded;
  }
}

std::string_view to_string(Acceleration acceleration) {
  switch (acceleration) {
    case Acceleration::none:
      return "off";
    case Acceleration::into_daemon:
      return "into Sluice";
    case Acceleration::both_ways:
      return "both ways";
  }
  return "off";
}

std::string_view to_string(CheckWeight weight) {
  switch (weight) {
    case CheckWeight::fatal:
      return "fatal";
    case CheckWeight::foreign:
      return "foreign";
    case CheckWeight::guarded:
      return "guarded";
  }
  return "fatal";
}

}  // namespace sluice::interception
