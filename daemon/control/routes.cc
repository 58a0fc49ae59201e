#include "daemon/control/routes.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "daemon/audit/event_query.h"
#include "daemon/control/views.h"

namespace sluice::control {
namespace {

constexpr std::string_view kSessionPrefix = "/v1/sessions/";
constexpr std::string_view kKillSuffix = "/kill";

ControlReply refuse(unsigned status, std::string_view sentence) {
  return {status, to_line(Json{{"error", sentence}}), ReplyForm::json};
}

ControlReply ok(const Json& json) {
  return {200, to_line(json), ReplyForm::json};
}

// A number in the query; absent leaves `value` as it is.
template <typename Number>
bool read_number(const RequestTarget& target, const char* name, Number& value) {
  const auto found = target.query.find(name);
  if (found == target.query.end()) return true;
  const std::string& text = found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}

ControlReply list_sessions(Operations& operations) {
  ControlReply reply{200, {}, ReplyForm::lines};
  for (const SessionView& session : operations.sessions()) {
    reply.body += to_line(to_json(session));
    reply.body += '\n';
  }
  return reply;
}

ControlReply session_route(const ControlRequest& request, Operations& operations) {
  std::string_view id = std::string_view(request.target.path).substr(kSessionPrefix.size());
  const bool kill = id.size() > kKillSuffix.size() && id.substr(id.size() - kKillSuffix.size()) == kKillSuffix;
  if (kill) id.remove_suffix(kKillSuffix.size());
  if (id.empty() || id.find('/') != std::string_view::npos) return refuse(404, "no such path");
  if (!kill) {
    if (request.method != "GET") return refuse(405, "this path takes GET");
    const std::optional<SessionView> session = operations.session(id);
    return session ? ok(to_json(*session)) : refuse(404, "no live session " + std::string(id));
  }
  if (request.method != "POST") return refuse(405, "this path takes POST");
  if (!request.may_change) {
    return refuse(403, "ending a session needs root, the daemon's user, or membership of the group sluice-admin");
  }
  if (operations.kill(id, request.caller) == KillResult::not_found)
    return refuse(404, "no live session " + std::string(id));
  return ok(Json{{"id", id}, {"killed", true}});
}

ControlReply list_connections(Operations& operations) {
  const Result<std::vector<UncoveredView>> connections = operations.uncovered();
  if (!connections) return refuse(503, connections.error().message);
  ControlReply reply{200, {}, ReplyForm::lines};
  for (const UncoveredView& connection : *connections) {
    reply.body += to_line(to_json(connection));
    reply.body += '\n';
  }
  return reply;
}

ControlReply end_connections(const ControlRequest& request, Operations& operations) {
  if (request.method != "POST") return refuse(405, "this path takes POST");
  if (!request.may_change) {
    return refuse(403, "ending connections needs root, the daemon's user, or membership of the group sluice-admin");
  }
  EndRequest wanted;
  for (const auto& [name, value] : request.target.query) {
    if (name == "target") {
      wanted.target = value;
    } else if (name == "all" && value == "1") {
      wanted.all = true;
    } else if (name == "id") {
      for (size_t start = 0; start <= value.size();) {
        const size_t comma = std::min(value.find(',', start), value.size());
        if (comma > start) wanted.ids.push_back(value.substr(start, comma - start));
        start = comma + 1;
      }
    } else {
      return refuse(400, "id, target and all=1 say what is to end");
    }
  }
  if (wanted.ids.empty() && wanted.target.empty() && !wanted.all)
    return refuse(400, "id, target or all=1 has to say what is to end");
  const Result<EndResult> result = operations.end_uncovered(wanted, request.caller);
  return result ? ok(to_json(*result)) : refuse(503, result.error().message);
}

ControlReply reload(const ControlRequest& request, Operations& operations) {
  if (request.method != "POST") return refuse(405, "this path takes POST");
  if (!request.may_change)
    return refuse(403, "a reload needs root, the daemon's user, or membership of the group sluice-admin");
  return ok(to_json(operations.reload(request.caller)));
}

// What a reader asked for, for the log_read event.
std::string describe(const audit::EventQuery& query, bool follow) {
  std::string text = "events";
  if (query.since_ns != INT64_MIN) text += " since_ns=" + std::to_string(query.since_ns);
  if (query.until_ns != INT64_MAX) text += " until_ns=" + std::to_string(query.until_ns);
  if (!query.filter.empty()) text += " filter=" + query.filter;
  if (query.limit != 0) text += " limit=" + std::to_string(query.limit);
  if (follow) text += " follow";
  return text;
}

}  // namespace

bool is_stream(const ControlRequest& request) {
  return request.target.path == "/v1/events" && request.method == "GET";
}

ControlReply answer(const ControlRequest& request, Operations& operations) {
  const std::string& path = request.target.path;
  if (path == "/v1/status" || path == "/v1/sessions" || path == "/v1/events") {
    if (request.method != "GET") return refuse(405, "this path takes GET");
    return path == "/v1/status" ? ok(to_json(operations.status())) : list_sessions(operations);
  }
  if (path == "/metrics") {
    if (request.method != "GET") return refuse(405, "this path takes GET");
    return {200, operations.metrics(), ReplyForm::metrics};
  }
  if (path == "/v1/connections") {
    return request.method == "GET" ? list_connections(operations) : refuse(405, "this path takes GET");
  }
  if (path == "/v1/connections/end") return end_connections(request, operations);
  if (path == "/v1/reload") return reload(request, operations);
  if (path.size() > kSessionPrefix.size() && path.compare(0, kSessionPrefix.size(), kSessionPrefix) == 0) {
    return session_route(request, operations);
  }
  return refuse(404, "no such path");
}

Result<std::optional<ControlReply>> stream(const ControlRequest& request, Operations& operations, LineSink& sink) {
  audit::EventQuery query;
  uint64_t follow = 0;
  if (!read_number(request.target, "since_ns", query.since_ns) ||
      !read_number(request.target, "until_ns", query.until_ns) || !read_number(request.target, "limit", query.limit) ||
      !read_number(request.target, "from_index", query.from_index) || !read_number(request.target, "follow", follow)) {
    return refuse(400, "since_ns, until_ns, limit, from_index and follow take whole numbers");
  }
  const auto filter = request.target.query.find("filter");
  if (filter != request.target.query.end()) query.filter = filter->second;
  for (const auto& [name, value] : request.target.query) {
    if (name != "since_ns" && name != "until_ns" && name != "limit" && name != "from_index" && name != "follow" &&
        name != "filter") {
      return refuse(400, "unknown parameter " + name);
    }
  }

  if (const Status recorded = operations.record_log_read(request.caller, describe(query, follow != 0)); !recorded) {
    return refuse(503, "the log is not shown, because reading it could not be recorded: " + recorded.error().message);
  }

  const std::string directory = operations.audit_directory();
  bool reading = true;   // false once nobody reads what we write
  bool started = false;  // true once something went out
  const auto pass_on = [&](std::string_view text) {
    started = true;
    reading = sink.line(text);
    return reading;
  };
  Result<audit::EventStream> events = audit::EventStream::open(directory, query);
  if (!events) return refuse(400, events.error().message);
  for (;;) {
    const Result<audit::QueryResult> result = events->run(pass_on);
    if (!result) {
      if (!started) return refuse(400, result.error().message);
      return tl::unexpected<Error>(result.error());
    }
    started = true;
    if (!reading || !sink.flush() || follow == 0) return std::nullopt;
    if (query.limit != 0 && result->matched >= query.limit) return std::nullopt;
    if (!sink.pause(kFollowInterval)) return fail("it was followed until its reader left or the daemon stopped");
  }
}

}  // namespace sluice::control
