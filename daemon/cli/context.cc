#include "daemon/cli/context.h"

#include <unistd.h>

#include <cstdio>

#include "daemon/config/problem_format.h"

namespace sluice::cli {

Context::Context(const Environment& environment, bool output_is_terminal)
    : environment_(environment), terminal_(output_is_terminal) {}

std::string Context::tint(Tone tone, std::string_view text) const {
  if (!terminal_ || environment_.no_color || tone == Tone::plain) return std::string(text);
  const char* start = "";
  switch (tone) {
    case Tone::good:
      start = "\x1b[32m";
      break;
    case Tone::warning:
      start = "\x1b[33m";
      break;
    case Tone::bad:
      start = "\x1b[31m";
      break;
    case Tone::dim:
      start = "\x1b[2m";
      break;
    case Tone::plain:
      break;
  }
  return start + std::string(text) + "\x1b[0m";
}

std::optional<config::Config> Context::configuration(Warnings warnings) const {
  policies::Problems problems;
  std::optional<config::Config> config =
      config::load(config_file.empty() ? config::kDefaultConfigFile : config_file, problems);
  if (!config || warnings == Warnings::show) std::fputs(config::format_text(problems).c_str(), stderr);
  return config;
}

std::optional<std::string> Context::control_socket() const {
  if (!environment_.control_socket.empty()) return environment_.control_socket;
  if (config_file.empty() && ::access(config::kDefaultConfigFile, F_OK) != 0) return config::Config{}.control_socket;
  const std::optional<config::Config> config = configuration();
  if (!config) return std::nullopt;
  return config->control_socket;
}

ExitStatus Context::explain(const control::ClientError& error, const std::string& socket) const {
  if (error.kind == control::ClientError::Kind::unreachable) {
    complain("the daemon cannot be reached: " + error.message);
    complain("is it running? `systemctl status sluice`, or `sluice run` in the foreground; the socket looked for is " +
             socket);
  } else {
    complain("the daemon did not answer to the end: " + error.message);
  }
  return kUnreachable;
}

ExitStatus Context::explain(const control::ClientReply& refusal) const {
  const Json said = Json::parse(refusal.body, nullptr, false);
  const bool readable = said.is_object() && said.contains("error") && said["error"].is_string();
  complain(readable ? said["error"].get<std::string>()
                    : "the daemon answered with status " + std::to_string(refusal.status));
  if (refusal.status == 400 || refusal.status == 405) return kUsage;
  if (refusal.status == 404 || refusal.status == 403) return kNo;
  return kUnreachable;  // 503 and the like: it is there, but does not serve
}

ExitStatus Context::call(std::string_view method, std::string_view target, std::string& reply) const {
  const std::optional<std::string> socket = control_socket();
  if (!socket) return kUsage;
  auto answer = control::ControlClient(*socket).call(method, target);
  if (!answer) return explain(answer.error(), *socket);
  if (answer->status != 200) return explain(*answer);
  reply = std::move(answer->body);
  return kSuccess;
}

void complain(std::string_view message) {
  std::fprintf(stderr, "sluice: %.*s\n", static_cast<int>(message.size()), message.data());
}

bool print_line(std::string_view line) {
  return std::fwrite(line.data(), 1, line.size(), stdout) == line.size() && std::fputc('\n', stdout) != EOF;
}

std::string to_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace sluice::cli
