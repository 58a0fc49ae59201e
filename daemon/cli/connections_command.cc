// `sluice connections`: what is open to targets and goes past Sluice, and ending it.
#include <algorithm>
#include <cstdio>

#include "daemon/cli/commands.h"
#include "daemon/cli/table.h"
#include "daemon/control/request_target.h"

namespace sluice::cli {
namespace {

std::string text(const Json& object, const char* name) {
  return object.contains(name) && object[name].is_string() ? object[name].get<std::string>() : "";
}
std::string number(const Json& object, const char* name) {
  return object.contains(name) && object[name].is_number() ? std::to_string(object[name].get<int64_t>()) : "-";
}

}  // namespace

ExitStatus connections_list_command(const Context& context) {
  std::string reply;
  if (const ExitStatus status = context.call("GET", "/v1/connections", reply); status != kSuccess) return status;
  if (context.json) {
    std::fputs(reply.c_str(), stdout);
    return kSuccess;
  }
  Table table(
      {{"ID"}, {"TARGET"}, {"FROM"}, {"TO"}, {"PID", Table::Align::right}, {"UID", Table::Align::right}, {"PROGRAM"}});
  for (size_t start = 0; start < reply.size();) {
    const size_t end = std::min(reply.find('\n', start), reply.size());
    const Json one = Json::parse(std::string_view(reply).substr(start, end - start), nullptr, false);
    start = end + 1;
    if (!one.is_object()) continue;
    table.row({text(one, "id"), text(one, "target"), text(one, "origin"), text(one, "destination"), number(one, "pid"),
               number(one, "uid"), text(one, "exe") + (one.value("can_be_ended", true) ? "" : " (other namespace)")});
  }
  if (table.empty()) {
    std::printf("every open connection to a target goes through Sluice\n");
  } else {
    std::fputs(table.text().c_str(), stdout);
  }
  return kSuccess;
}

ExitStatus connections_end_command(const Context& context, const ConnectionsEndOptions& options) {
  if (options.ids.empty() && options.target.empty() && !options.all) {
    complain("say what is to end: IDs as `sluice connections` shows them, --target NAME, or --all");
    return kUsage;
  }
  std::string target = "/v1/connections/end?";
  if (options.all) target += "all=1&";
  if (!options.target.empty()) target += "target=" + control::percent_encode(options.target) + "&";
  std::string ids;
  for (const std::string& id : options.ids) ids += (ids.empty() ? "" : ",") + id;
  target += "id=" + control::percent_encode(ids);
  std::string reply;
  if (const ExitStatus status = context.call("POST", target, reply); status != kSuccess) return status;
  const Json result = Json::parse(reply, nullptr, false);
  if (!result.is_object()) {
    complain("the daemon's answer cannot be read");
    return kUnreachable;
  }
  size_t ended = 0, failed = 0;
  for (const Json& one : result.value("connections", Json::array())) {
    if (one.value("ended", false)) {
      ++ended;
    } else {
      ++failed;
      complain(text(one, "id") + " " + text(one, "origin") + ": " + text(one, "problem"));
    }
  }
  if (context.json) {
    print_line(to_line(result));
  } else {
    std::printf("ended %zu connections\n", ended);
  }
  if (ended + failed == 0) complain("no such connection is open");
  return failed == 0 && ended > 0 ? kSuccess : kNo;
}

}  // namespace sluice::cli
