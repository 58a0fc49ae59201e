#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <vector>

#include "daemon/cli/commands.h"
#include "daemon/cli/event_line.h"
#include "daemon/cli/table.h"
#include "daemon/control/request_target.h"

namespace sluice::cli {
namespace {

constexpr size_t kSecondsWidth = 19;  // of an RFC 3339 time
constexpr size_t kProcessWidth = 48;

// A session id is 16 hexadecimal digits; anything else does not go into a path or a filter.
bool is_session_id(const std::string& id) {
  return id.size() == 16 && id.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::string text(const Json& object, const char* name) {
  return object.contains(name) && object[name].is_string() ? object[name].get<std::string>() : "";
}

// A member that is an object; an empty one where it is missing or null.
Json object(const Json& of, const char* name) {
  return of.is_object() && of.contains(name) && of[name].is_object() ? of[name] : Json::object();
}

uint64_t number(const Json& of, const char* name) {
  return of.is_object() && of.contains(name) && of[name].is_number_unsigned() ? of[name].get<uint64_t>() : 0;
}

void print_session(const Json& session) {
  const auto line = [](const char* name, const std::string& value) {
    if (!value.empty()) std::printf("%-12s %s\n", name, printable(value).c_str());
  };
  const Json identity = object(session, "identity");
  const Json claimed = object(identity, "claimed");
  line("session", text(session, "id"));
  line("target", text(session, "target"));
  line("state", text(session, "state"));
  line("started", text(session, "started"));
  line("process", describe_process(identity));
  line("unit", text(object(identity, "attested"), "unit"));
  line("container", text(object(identity, "attested"), "container"));
  line("claims", "user " + text(claimed, "user") + ", database " + text(claimed, "database") + ", application " +
                     text(claimed, "application"));
  line("origin", text(session, "origin"));
  line("destination", text(session, "destination"));
  line("commands",
       std::to_string(number(session, "commands")) + ", " + std::to_string(number(session, "blocked")) + " blocked");
  line("bytes", human_bytes(number(session, "bytes")));
  if (session.is_object() && session.value("accelerated", false)) line("accelerated", "yes");
}

// The events that match, oldest first.
ExitStatus read_events(const Context& context, const std::string& filter, int64_t since_ns,
                       const std::function<void(Json&&)>& take) {
  const std::optional<std::string> socket = context.control_socket();
  if (!socket) return kUsage;
  std::string target = "/v1/events?filter=" + control::percent_encode(filter);
  if (since_ns != INT64_MIN) target += "&since_ns=" + std::to_string(since_ns);
  const auto reply = control::ControlClient(*socket).stream(target, [&](std::string_view line) {
    Json event = Json::parse(line, nullptr, false);
    if (event.is_object()) take(std::move(event));
    return true;
  });
  if (!reply) return context.explain(reply.error(), *socket);
  if (reply->status != 200) return context.explain(*reply);
  return kSuccess;
}

ExitStatus read_live(const Context& context, std::vector<Json>& sessions) {
  std::string reply;
  if (const ExitStatus status = context.call("GET", "/v1/sessions", reply); status != kSuccess) return status;
  for (size_t start = 0; start < reply.size();) {
    const size_t end = std::min(reply.find('\n', start), reply.size());
    Json session =
        Json::parse(reply.begin() + static_cast<long>(start), reply.begin() + static_cast<long>(end), nullptr, false);
    if (session.is_object()) sessions.push_back(std::move(session));
    start = end + 1;
  }
  return kSuccess;
}

// Sessions that ended, from the log: how each ended, and when it had started.
ExitStatus read_past(const Context& context, const std::string& since, std::vector<Json>& sessions) {
  int64_t since_ns = INT64_MIN;
  if (!read_time_option("--since", since, since_ns)) return kUsage;
  std::map<std::string, std::string> started;
  const ExitStatus starts = read_events(context, "type=session_started", INT64_MIN,
                                        [&](Json&& event) { started[text(event, "session")] = text(event, "time"); });
  if (starts != kSuccess) return starts;
  return read_events(context, "type=session_ended", since_ns, [&](Json&& event) {
    const Json counters = object(event, "counters");
    const auto start = started.find(text(event, "session"));
    sessions.push_back({{"id", text(event, "session")},
                        {"target", text(event, "target")},
                        {"state", "ended"},
                        {"started", start == started.end() ? Json(nullptr) : Json(start->second)},
                        {"ended", text(event, "time")},
                        {"reason", text(event, "detail")},
                        {"identity", object(event, "identity")},
                        {"origin", text(event, "origin")},
                        {"destination", text(event, "destination")},
                        {"commands", number(counters, "commands")},
                        {"blocked", number(counters, "blocked")},
                        {"bytes", number(counters, "bytes_to_client") + number(counters, "bytes_to_server")}});
  });
}

}  // namespace

ExitStatus sessions_list_command(const Context& context, SessionSet set, const std::string& since) {
  std::vector<Json> sessions;
  const ExitStatus read = set == SessionSet::live ? read_live(context, sessions) : read_past(context, since, sessions);
  if (read != kSuccess) return read;
  if (context.json) {
    for (const Json& session : sessions) print_line(to_line(session));
    return kSuccess;
  }
  if (sessions.empty()) {
    std::printf(set == SessionSet::live ? "no live sessions; past ones: sluice sessions list --past\n"
                                        : "no past sessions in the log\n");
    return kSuccess;
  }
  Table table({{"SESSION"},
               {"TARGET"},
               {"STATE"},
               {"STARTED"},
               {"PROCESS"},
               {"DB USER"},
               {"COMMANDS", Table::Align::right},
               {"BYTES", Table::Align::right}});
  for (const Json& session : sessions) {
    const Json identity = object(session, "identity");
    table.row({text(session, "id"), text(session, "target"), text(session, "state"),
               text(session, "started").substr(0, kSecondsWidth), shortened(describe_process(identity), kProcessWidth),
               text(object(identity, "claimed"), "user"), std::to_string(number(session, "commands")),
               human_bytes(number(session, "bytes"))});
  }
  std::fputs(table.text().c_str(), stdout);
  return kSuccess;
}

ExitStatus sessions_show_command(const Context& context, const std::string& id) {
  if (!is_session_id(id)) {
    complain("'" + printable(id) +
             "' is not a session id (16 hexadecimal digits, as `sluice sessions list` shows them)");
    return kUsage;
  }
  // A live session, where it is one; its events either way.
  const std::optional<std::string> socket = context.control_socket();
  if (!socket) return kUsage;
  const auto live = control::ControlClient(*socket).call("GET", "/v1/sessions/" + id);
  if (!live) return context.explain(live.error(), *socket);
  Json session = live->status == 200 ? Json::parse(live->body, nullptr, false) : Json(nullptr);
  if (live->status != 200 && live->status != 404) return context.explain(*live);

  Json events = Json::array();
  const ExitStatus read =
      read_events(context, "session=" + id, INT64_MIN, [&](Json&& event) { events.push_back(std::move(event)); });
  if (read != kSuccess) return read;
  if (session.is_null() && events.empty()) {
    complain("no session " + id + ", neither live nor in the log");
    return kNo;
  }
  if (session.is_null()) {
    session = Json{{"id", id},
                   {"target", events.front().value("target", Json(nullptr))},
                   {"state", "ended"},
                   {"started", events.front().value("time", Json(nullptr))},
                   {"identity", events.front().value("identity", Json(nullptr))},
                   {"origin", events.front().value("origin", Json(nullptr))}};
    for (const Json& event : events) {
      if (event.value("type", "") == "session_ended") session["ended"] = event.value("time", Json(nullptr));
    }
  }
  if (context.json) {
    session["events"] = std::move(events);
    print_line(to_line(session));
    return kSuccess;
  }
  print_session(session);
  std::printf("\n");
  for (const Json& event : events) print_line(event_line(context, event));
  return kSuccess;
}

ExitStatus sessions_kill_command(const Context& context, const std::string& id) {
  if (!is_session_id(id)) {
    complain("'" + printable(id) +
             "' is not a session id (16 hexadecimal digits, as `sluice sessions list` shows them)");
    return kUsage;
  }
  std::string reply;
  if (const ExitStatus status = context.call("POST", "/v1/sessions/" + id + "/kill", reply); status != kSuccess)
    return status;
  if (context.json) {
    print_line(to_line(Json{{"id", id}, {"killed", true}}));
  } else {
    std::printf("session %s ends\n", id.c_str());
  }
  return kSuccess;
}

}  // namespace sluice::cli
