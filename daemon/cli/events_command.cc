#include <chrono>
#include <cstdio>

#include "daemon/audit/event_query.h"
#include "daemon/base/rfc3339.h"
#include "daemon/cli/commands.h"
#include "daemon/cli/event_line.h"
#include "daemon/cli/table.h"
#include "daemon/control/request_target.h"

namespace sluice::cli {
namespace {

int64_t now_utc_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string request_target(const audit::EventQuery& query, bool follow) {
  std::string target = "/v1/events?limit=" + std::to_string(query.limit);
  if (query.since_ns != INT64_MIN) target += "&since_ns=" + std::to_string(query.since_ns);
  if (query.until_ns != INT64_MAX) target += "&until_ns=" + std::to_string(query.until_ns);
  if (!query.filter.empty()) target += "&filter=" + control::percent_encode(query.filter);
  if (follow) target += "&follow=1";
  return target;
}

}  // namespace

bool read_time_option(const char* option, const std::string& text, int64_t& ns) {
  if (text.empty()) return true;
  const std::optional<int64_t> time = parse_time_argument(text, now_utc_ns());
  if (!time) {
    complain(std::string(option) + " " + printable(text) +
             ": not a time; write 2026-11-21T09:30:00Z, a date, `today`, or how long ago (15m, 1h, 7d)");
    return false;
  }
  ns = *time;
  return true;
}

ExitStatus events_command(const Context& context, const EventsOptions& options) {
  audit::EventQuery query;
  query.filter = options.filter;
  query.limit = options.limit;
  if (!read_time_option("--since", options.since, query.since_ns) ||
      !read_time_option("--until", options.until, query.until_ns))
    return kUsage;

  const auto show = [&](std::string_view line) {
    bool written = false;
    if (context.json) {
      written = print_line(line);
    } else {
      const Json event = Json::parse(line, nullptr, false);
      written = print_line(event.is_object() ? event_line(context, event) : printable(line));
    }
    // Whoever follows wants each event as it comes.
    return written && (!options.follow || std::fflush(stdout) == 0);
  };

  if (!options.directory.empty()) {
    if (options.follow) {
      complain("--follow needs the daemon; it does not go with --dir");
      return kUsage;
    }
    const Result<audit::QueryResult> result = audit::query_events(options.directory, query, show);
    if (!result) {
      complain(result.error().message);
      return kUsage;
    }
    return kSuccess;
  }

  const std::optional<std::string> socket = context.control_socket();
  if (!socket) return kUsage;
  const auto reply = control::ControlClient(*socket).stream(request_target(query, options.follow), show);
  if (!reply) {
    const ExitStatus status = context.explain(reply.error(), *socket);
    if (reply.error().kind == control::ClientError::Kind::unreachable) {
      complain("to read the files without a daemon: sluice events --dir DIRECTORY");
    }
    return status;
  }
  return reply->status == 200 ? kSuccess : context.explain(*reply);
}

}  // namespace sluice::cli
