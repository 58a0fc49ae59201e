#include "daemon/control/views.h"

#include "daemon/base/rfc3339.h"

namespace sluice::control {
namespace {

// Absent facts are null, never an empty word: "could not be resolved" is not a name.
Json text_or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}
Json number_or_null(int64_t number) {
  return number < 0 ? Json(nullptr) : Json(number);
}

Json identity_json(const policies::AttestedIdentity& attested, const policies::ClaimedIdentity& claimed) {
  return {{"attested",
           {{"pid", number_or_null(attested.pid)},
            {"exe", text_or_null(attested.exe)},
            {"uid", number_or_null(attested.uid)},
            {"user", text_or_null(attested.user)},
            {"gid", number_or_null(attested.gid)},
            {"group", text_or_null(attested.group)},
            {"unit", text_or_null(attested.unit)},
            {"container", text_or_null(attested.container)},
            {"cgroup", text_or_null(attested.cgroup)}}},
          {"claimed",
           {{"user", text_or_null(claimed.db_user)},
            {"database", text_or_null(claimed.database)},
            {"application", text_or_null(claimed.application)}}},
          {"verified", nullptr}};
}

Json log_json(const LogView& log) {
  return {{"state", log.state},
          {"failure", text_or_null(log.failure)},
          {"recovered", text_or_null(log.recovered)},
          {"log_id", log.log_id},
          {"durability", log.durability},
          {"events", log.events},
          {"bytes", log.bytes},
          {"segments", log.segments}};
}

Json acceleration_json(const AccelerationView& acceleration) {
  Json checks = Json::array();
  for (const AccelerationCheckView& check : acceleration.checks) {
    checks.push_back({{"name", check.name},
                      {"weight", check.weight},
                      {"passed", check.passed},
                      {"detail", check.detail},
                      {"meaning", text_or_null(check.meaning)}});
  }
  const auto percent = [](uint64_t number) { return number == 0 ? Json(nullptr) : Json(number); };
  return {{"checks", std::move(checks)},
          {"into_daemon_percent", percent(acceleration.into_daemon_percent)},
          {"both_ways_percent", percent(acceleration.both_ways_percent)}};
}

}  // namespace

Json to_json(const StatusView& view) {
  Json targets = Json::array();
  for (const TargetView& target : view.targets) {
    targets.push_back({{"name", target.name},
                       {"state", target.state},
                       {"protocol", target.protocol},
                       {"sessions", target.sessions},
                       {"uncovered_open", target.uncovered_open},
                       {"coverage",
                        {{"connects", target.coverage.connects},
                         {"redirected", target.coverage.redirected},
                         {"refused", target.coverage.refused},
                         {"exempt", target.coverage.exempt},
                         {"uncovered", target.coverage.uncovered}}},
                       {"accelerate",
                        {{"configured", target.accelerate},
                         {"taken", target.acceleration},
                         {"why", text_or_null(target.why_acceleration)}}}});
  }
  Json sinks = Json::array();
  for (const SinkView& sink : view.sinks) {
    sinks.push_back({{"name", sink.name}, {"state", sink.state}, {"lag_events", sink.lag_events}});
  }
  return {{"state", to_string(view.state)},
          {"problems", view.problems},
          {"version", view.version},
          {"pid", view.pid},
          {"started", format_rfc3339(view.started_ns)},
          {"targets", std::move(targets)},
          {"sinks", std::move(sinks)},
          {"policy_version", view.policy_version},
          {"policy_rules", view.policy_rules},
          {"sessions", view.sessions},
          {"connections_without_note", view.connections_without_note},
          {"connections_refused", view.connections_refused},
          {"commands_refused_unrecorded", view.commands_refused_unrecorded},
          {"self_findings", view.self_findings},
          {"capabilities", view.capabilities},
          {"acceleration", acceleration_json(view.acceleration)},
          {"log", log_json(view.log)}};
}

Json to_json(const SessionView& view) {
  return {{"id", view.id},
          {"target", view.target},
          {"state", view.state},
          {"started", format_rfc3339(view.started_ns)},
          {"identity", identity_json(view.attested, view.claimed)},
          {"origin", view.origin},
          {"destination", view.destination},
          {"commands", view.commands},
          {"blocked", view.blocked},
          {"bytes", view.bytes_to_client + view.bytes_to_server},
          {"bytes_to_client", view.bytes_to_client},
          {"bytes_to_server", view.bytes_to_server},
          {"accelerated", view.accelerated}};
}

Json to_json(const UncoveredView& view) {
  return {{"id", view.id},
          {"target", view.target},
          {"origin", view.origin},
          {"destination", view.destination},
          {"uid", number_or_null(view.uid)},
          {"pid", number_or_null(view.pid)},
          {"exe", text_or_null(view.exe)},
          {"can_be_ended", view.can_be_ended}};
}

Json to_json(const EndResult& result) {
  Json connections = Json::array();
  for (const EndResult::One& one : result.connections) {
    Json json = to_json(one.connection);
    json["ended"] = one.problem.empty();
    json["problem"] = text_or_null(one.problem);
    connections.push_back(std::move(json));
  }
  return {{"connections", std::move(connections)}};
}

Json to_json(const policies::Problem& problem) {
  return {
      {"file", problem.file},       {"line", problem.line},
      {"column", problem.column},   {"severity", problem.severity == policies::Severity::error ? "error" : "warning"},
      {"message", problem.message}, {"hint", text_or_null(problem.hint)}};
}

Json to_json(const ReloadResult& result) {
  Json problems = Json::array();
  for (const policies::Problem& problem : result.problems) problems.push_back(to_json(problem));
  return {{"accepted", result.accepted}, {"policy_version", result.policy_version}, {"problems", std::move(problems)}};
}

std::string to_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace sluice::control
