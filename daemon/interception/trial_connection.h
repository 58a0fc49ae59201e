// One connection that is really steered, for the doctor's rows: a child in the trial cgroup connects to a target of the
// trial's own, and arrives here with a note. Everything is taken away again before it returns. One thread.
#pragma once

#include <sys/types.h>

#include <string>

#include "daemon/base/result.h"
#include "daemon/interception/capability_checks.h"

namespace sluice::interception {

inline constexpr int kTrialPatienceMs = 3000;

// What the child does: 0 where it is connected, else an errno. kTrialNotPossible: this kernel has no such socket.
using ConnectWay = int (*)();
inline constexpr int kTrialNotPossible = 255;
inline constexpr uint16_t kTrialPort = 9;  // discard; nobody is ever asked there: the connection is steered, or fails

struct TrialConnection {
  ConnectNote note;
  pid_t child = 0;
  std::string stat;  // its /proc/PID/stat
  std::string capabilities;
};

// An error says which step failed; `not_possible` is set where the child said so.
[[nodiscard]] Result<TrialConnection> connect_steered(TrialHost& host, ConnectWay way, bool& not_possible);

// What a connect gets when the daemon has just gone: the child's errno, 0 where it got through.
[[nodiscard]] Result<int> connect_without_daemon(TrialHost& host);

// The plain way: IPv4, to 127.0.0.1.
[[nodiscard]] int connect_plainly();

}  // namespace sluice::interception
