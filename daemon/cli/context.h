// What every command needs: the options that all of them take, where output goes, the configuration, the daemon.
// Lifetime: one per process, on main's stack. One thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "daemon/cli/cli.h"
#include "daemon/cli/exit_status.h"
#include "daemon/config/config.h"
#include "daemon/control/client.h"

namespace sluice::cli {

using Json = nlohmann::ordered_json;

enum class Tone { plain, good, warning, bad, dim };

class Context {
 public:
  Context(const Environment& environment, bool output_is_terminal);

  // Filled in by the parser.
  std::string config_file;
  bool json = false;

  [[nodiscard]] const Environment& environment() const { return environment_; }
  [[nodiscard]] bool terminal() const { return terminal_; }
  // `text` in a colour where output is a terminal and nobody asked for none.
  [[nodiscard]] std::string tint(Tone tone, std::string_view text) const;

  // The configuration. nullopt after all its problems were printed on stderr. `show_warnings`: those too where it is
  // usable.
  enum class Warnings { hide, show };
  [[nodiscard]] std::optional<config::Config> configuration(Warnings warnings = Warnings::hide) const;
  // The control socket: SLUICE_CONTROL, else what the configuration names, else the default where there is no
  // configuration file.
  [[nodiscard]] std::optional<std::string> control_socket() const;

  // One request to the daemon. On success `reply` holds the JSON text; otherwise the problem was printed and the status
  // says which.
  [[nodiscard]] ExitStatus call(std::string_view method, std::string_view target, std::string& reply) const;
  // Says why a control call failed, and gives the exit status for it.
  [[nodiscard]] ExitStatus explain(const control::ClientError& error, const std::string& socket) const;
  [[nodiscard]] ExitStatus explain(const control::ClientReply& refusal) const;

 private:
  const Environment& environment_;
  bool terminal_;
};

// "sluice: MESSAGE" on stderr.
void complain(std::string_view message);
// One line on stdout. False where nobody reads any more (a closed pipe).
bool print_line(std::string_view line);
[[nodiscard]] std::string to_line(const Json& json);

}  // namespace sluice::cli
