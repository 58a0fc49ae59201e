#include "daemon/cli/event_line.h"

#include <cstdio>

#include "daemon/cli/table.h"

namespace sluice::cli {
namespace {

constexpr size_t kTimeWidth = 23;  // to the millisecond
constexpr size_t kCommandTextWidth = 400;
constexpr size_t kDetailWidth = 200;

std::string text(const Json& object, const char* name) {
  return object.is_object() && object.contains(name) && object[name].is_string() ? object[name].get<std::string>() : "";
}

bool is_number(const Json& object, const char* name) {
  return object.is_object() && object.contains(name) && object[name].is_number();
}

std::string padded(std::string text, size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

Tone tone_of(const std::string& outcome, const std::string& type) {
  if (outcome == "refused" || type == "tamper_warning" || type == "control_failure" || type == "loss") return Tone::bad;
  if (outcome == "failure" || type == "uncovered_connection") return Tone::warning;
  return Tone::plain;
}

std::string describe_findings(const Json& findings) {
  std::string out;
  for (const Json& finding : findings) {
    if (!out.empty()) out += ", ";
    out += is_number(finding, "count") ? std::to_string(finding["count"].get<uint64_t>()) + " " : "";
    out += text(finding, "brand") + " " + text(finding, "kind");
    if (!text(finding, "where").empty()) out += " in " + text(finding, "where");
  }
  return out;
}

}  // namespace

std::string describe_process(const Json& identity) {
  const Json attested = identity.is_object() ? identity.value("attested", Json::object()) : Json::object();
  std::string out = text(attested, "user");
  if (out.empty() && is_number(attested, "uid")) out = "uid " + std::to_string(attested["uid"].get<int64_t>());
  const std::string exe = text(attested, "exe");
  if (!exe.empty()) out += (out.empty() ? "" : " ") + exe;
  if (is_number(attested, "pid")) out += "[" + std::to_string(attested["pid"].get<int64_t>()) + "]";
  return out.empty() ? "-" : out;
}

std::string event_line(const Context& context, const Json& event) {
  const std::string type = text(event, "type");
  const std::string outcome = text(event, "outcome");
  std::string time = text(event, "time");
  if (time.size() > kTimeWidth) time = time.substr(0, kTimeWidth) + "Z";

  std::string line = context.tint(Tone::dim, time) + "  " +
                     context.tint(tone_of(outcome, type), padded(printable(type), 19)) + " " +
                     padded(printable(outcome), 8);
  const std::string target = text(event, "target");
  if (!target.empty()) line += " " + printable(target);
  line += "  " + printable(describe_process(event.value("identity", Json::object())));
  const std::string session = text(event, "session");
  const Json command = event.value("command", Json::object());
  const std::string number = is_number(command, "id") ? "#" + std::to_string(command["id"].get<uint64_t>()) : "";
  if (!session.empty()) line += "  " + context.tint(Tone::dim, printable(session) + number);
  if (!text(event, "rule").empty()) line += "  rule " + printable(text(event, "rule"));
  if (is_number(event, "rows")) line += "  rows " + std::to_string(event["rows"].get<uint64_t>());
  if (is_number(event, "bytes")) line += "  " + human_bytes(event["bytes"].get<uint64_t>());
  if (event.contains("findings") && event["findings"].is_array() && !event["findings"].empty()) {
    line += "  " + context.tint(Tone::warning, "masked " + printable(describe_findings(event["findings"])));
  }
  if (!text(event, "error_code").empty()) line += "  SQLSTATE " + printable(text(event, "error_code"));
  if (!text(event, "detail").empty()) line += "  " + shortened(printable(text(event, "detail")), kDetailWidth);
  const std::string said = text(command, "text");
  if (!said.empty()) line += "  " + shortened(printable(said), kCommandTextWidth);
  return line;
}

}  // namespace sluice::cli
