// The commands, one function each; cli.cc fills in what the command line said. Each prints for itself and answers with
// the exit status. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/cli/context.h"

namespace sluice::cli {

// run_commands.cc: what acts on this host.
[[nodiscard]] ExitStatus run_command(const Context& context);
[[nodiscard]] ExitStatus guard_command(
    const Context& context);  // the boot guard: attach in the when_down state, then exit
[[nodiscard]] ExitStatus unload_command(const Context& context);
[[nodiscard]] ExitStatus demo_command(const Context& context, const std::vector<std::string>& arguments);
[[nodiscard]] ExitStatus version_command(const Context& context);

// try_command.cc
struct TryOptions {
  std::string policies;  // directory; empty: what the configuration names
  std::vector<std::string> command;
};
// The exit status is the command's.
[[nodiscard]] int try_command(const Context& context, const TryOptions& options);

// check_command.cc, doctor_command.cc
[[nodiscard]] ExitStatus check_command(const Context& context);
[[nodiscard]] ExitStatus doctor_command(const Context& context);

// status_command.cc
[[nodiscard]] ExitStatus status_command(const Context& context);
[[nodiscard]] ExitStatus reload_command(const Context& context);

// sessions_command.cc
enum class SessionSet { live, past };
// `since`: past sessions that ended from then on; empty: all that are in the log.
[[nodiscard]] ExitStatus sessions_list_command(const Context& context, SessionSet set, const std::string& since);
[[nodiscard]] ExitStatus sessions_show_command(const Context& context, const std::string& id);
[[nodiscard]] ExitStatus sessions_kill_command(const Context& context, const std::string& id);

// connections_command.cc
struct ConnectionsEndOptions {
  std::vector<std::string> ids;
  std::string target;
  bool all = false;
};
[[nodiscard]] ExitStatus connections_list_command(const Context& context);
[[nodiscard]] ExitStatus connections_end_command(const Context& context, const ConnectionsEndOptions& options);

// events_command.cc
struct EventsOptions {
  std::string since;
  std::string until;
  std::string filter;
  uint64_t limit = 0;  // 0: all
  bool follow = false;
  std::string directory;  // read the files themselves; empty: ask the daemon
};
// What --since and --until take. An absent bound leaves `ns` alone; false after a complaint.
[[nodiscard]] bool read_time_option(const char* option, const std::string& text, int64_t& ns);
[[nodiscard]] ExitStatus events_command(const Context& context, const EventsOptions& options);

// audit_command.cc
struct AuditVerifyOptions {
  std::string directory;  // empty: what the configuration names
  std::string head;       // file of a head that was kept elsewhere, "-" for standard input; empty: none
};
[[nodiscard]] ExitStatus audit_verify_command(const Context& context, const AuditVerifyOptions& options);

}  // namespace sluice::cli
