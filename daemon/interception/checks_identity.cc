// Rows of the doctor: what is known about a process that connects. Each field of a real note is held against what /proc
// and stat(2) say about the same process.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <sstream>

#include "daemon/interception/trial_connection.h"

namespace sluice::interception {
namespace {

constexpr uint64_t kTickNs = 10'000'000;  // USER_HZ is 100 everywhere that we run
constexpr int kStartField = 22;           // proc(5), /proc/PID/stat

using Compare = Verdict (*)(TrialHost& host, const TrialConnection& connection);

template <Compare kCompare>
Verdict with_note(TrialHost& host) {
  bool not_possible = false;
  const auto connection = connect_steered(host, connect_plainly, not_possible);
  return connection ? kCompare(host, *connection) : unknown("not tried: " + connection.error().message);
}

Verdict compare(bool same, const std::string& what) {
  return same ? found("as /proc says: " + what) : missing("the note says " + what + ", /proc something else");
}

Verdict compare_user(TrialHost&, const TrialConnection& connection) {
  return compare(connection.note.uid == geteuid() && connection.note.gid == getegid(),
                 "user " + std::to_string(connection.note.uid));
}

Verdict compare_start(TrialHost&, const TrialConnection& connection) {
  const size_t close = connection.stat.rfind(')');
  if (close == std::string::npos) return unknown("/proc/PID/stat cannot be read");
  std::istringstream fields(connection.stat.substr(close + 1));
  std::string field;
  for (int number = 3; number <= kStartField; ++number) fields >> field;
  return compare(field == std::to_string(connection.note.start_boottime_ns / kTickNs), "started at tick " + field);
}

Verdict compare_executable(TrialHost&, const TrialConnection& connection) {
  struct stat own {};
  if (stat("/proc/self/exe", &own) != 0) return unknown("/proc/self/exe: " + error_text(errno));
  return compare(connection.note.exe_inode == own.st_ino && connection.note.exe_device == own.st_dev,
                 "inode " + std::to_string(connection.note.exe_inode));
}

Verdict compare_cgroup(TrialHost& host, const TrialConnection& connection) {
  struct stat own {};
  if (stat(host.cgroup().c_str(), &own) != 0) return unknown(error_text(errno));
  return compare(connection.note.cgroup_id == own.st_ino, "cgroup " + std::to_string(connection.note.cgroup_id));
}

Verdict compare_parent(TrialHost&, const TrialConnection& connection) {
  return compare(connection.note.parent_pid == getpid(), "child of " + std::to_string(connection.note.parent_pid));
}

// A cgroup is found by the number in the note, also when the process is gone: its number is its file handle.
Verdict try_cgroup_by_number(TrialHost& host) {
  if (host.cgroup().empty()) return missing(host.why_not());
  alignas(file_handle) std::array<unsigned char, sizeof(file_handle) + MAX_HANDLE_SZ> storage{};
  auto* const handle = reinterpret_cast<file_handle*>(storage.data());
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount = 0;
  if (name_to_handle_at(AT_FDCWD, host.cgroup().c_str(), handle, &mount, 0) != 0) return missing(error_text(errno));
  const UniqueFd cgroup(open(host.cgroup().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const UniqueFd again(open_by_handle_at(cgroup.get(), handle, O_PATH | O_CLOEXEC));
  return again.valid() ? found("opened by its number") : missing(error_text(errno));
}

constexpr const char* kWrong = "identities are wrong: rules about them match the wrong processes, or nobody";
constexpr const char* kReport = "please report this kernel; until then write no rules about processes";

constexpr Check kChecks[] = {
    {"noted: user and group", Need::required, kWrong, kReport, with_note<compare_user>},
    {"noted: start time", Need::required, "a process that took a number over cannot be told from the one before",
     kReport, with_note<compare_start>},
    {"noted: executable", Need::required, "an exec between connect and look cannot be noticed", kReport,
     with_note<compare_executable>},
    {"noted: cgroup", Need::required, "units and containers cannot be told", kReport, with_note<compare_cgroup>},
    {"noted: parent", Need::optional, "the parent process is missing from events", kReport, with_note<compare_parent>},
    {"cgroups found by number", Need::optional, "the unit of a process that has ended already stays empty",
     "a kernel of 5.5 or later", try_cgroup_by_number},
};

}  // namespace

CheckGroup identity_checks() {
  return {"identity", kChecks};
}

}  // namespace sluice::interception
