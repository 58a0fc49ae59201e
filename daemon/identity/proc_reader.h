// Reads what /proc and the cgroup file system say about a process, and refuses what belongs to another process that has
// the same number by now: the start time is compared before and after, the executable's inode with what the kernel
// noted. Stateless but for two directory descriptors; any thread. A read costs microseconds and never waits on the
// process.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/identity/process_facts.h"
#include "daemon/identity/process_lookup.h"

namespace sluice::identity {

class ProcReader final : public ProcessLookup {
 public:
  // `proc`: "/proc"; `cgroup_mount`: where cgroup v2 is mounted, empty where it is not. Tests give their own.
  [[nodiscard]] static Result<ProcReader> open(const std::string& proc, const std::string& cgroup_mount);

  // Both of what follows. Never empty. Reading another user's executable takes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.
  [[nodiscard]] std::optional<ProcessLook> look(const ProcessFacts& facts, CgroupPath cgroup) override;

  // Is the process that was noted still the one that has this number?
  [[nodiscard]] bool same_process(const ProcessFacts& facts) const;

  // Its executable; nullopt where it cannot be told for certain (the process is gone, or has called exec since).
  [[nodiscard]] std::optional<Executable> executable(const ProcessFacts& facts) const;

  // Path below the cgroup v2 root, "/system.slice/x.service"; empty where it cannot be told.
  [[nodiscard]] std::string cgroup_path(const ProcessFacts& facts) const;

 private:
  ProcReader(UniqueFd proc, UniqueFd cgroup, std::string cgroup_mount)
      : proc_(std::move(proc)), cgroup_(std::move(cgroup)), cgroup_mount_(std::move(cgroup_mount)) {}
  [[nodiscard]] std::string path_of_cgroup_id(uint64_t id) const;
  [[nodiscard]] std::string path_from_proc(const ProcessFacts& facts) const;

  UniqueFd proc_;
  UniqueFd cgroup_;
  std::string cgroup_mount_;
};

// Where cgroup v2 is mounted according to the text of /proc/mounts; empty where nowhere.
[[nodiscard]] std::string find_cgroup_mount(std::string_view mounts);

// "/system.slice/ssh.service" → "ssh.service"; the innermost unit; empty where there is none. Also of user sessions
// (".scope").
[[nodiscard]] std::string unit_of(std::string_view cgroup_path);

// The 64 hex digits of a container id as container runtimes name their cgroups (docker, containerd, CRI-O, podman);
// empty where none.
[[nodiscard]] std::string container_of(std::string_view cgroup_path);

// The start time in clock ticks from the text of /proc/PID/stat; nullopt where it is malformed. The command name in it
// may hold anything.
[[nodiscard]] std::optional<uint64_t> start_ticks_of(std::string_view stat);

}  // namespace sluice::identity
