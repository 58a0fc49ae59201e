// What one `sluice try` leaves on the host while it runs: a directory below kTryDirectory (control socket, log, audit
// log, the names of the rest), a cgroup, and pins on the BPF file system. It says what it will make before it makes it,
// so that whatever is left by a process that was killed is found and removed by the next one. A lock on the directory
// tells which of them still lives; the keeper holds it. One thread.
#pragma once

#include <sys/types.h>

#include <string>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace sluice::cli {

inline constexpr const char* kTryDirectory = "/run/sluice-try";

class TryScratch {
 public:
  // Removes what earlier ones left, then makes its own. Needs root.
  [[nodiscard]] static Result<TryScratch> make();

  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] const std::string& cgroup() const { return cgroup_; }
  [[nodiscard]] std::string bpf_directory() const;
  [[nodiscard]] std::string audit_directory() const { return directory_ + "/state/audit"; }
  [[nodiscard]] std::string control_socket() const { return directory_ + "/control.sock"; }
  [[nodiscard]] std::string daemon_log() const { return directory_ + "/daemon.log"; }

  // So that the next one can end it, should nobody else.
  [[nodiscard]] Status note_daemon(pid_t pid) const;
  // A copy of this in a process that must not hold the lock.
  void drop_lock() { lock_.reset(); }
  // Detaches, unpins, moves what still runs in the cgroup back to where it came from, removes everything. Ends the
  // daemon first, where it still lives. Every step is tried; the error is that of the first that failed.
  [[nodiscard]] Status remove() const;

 private:
  TryScratch() = default;
  [[nodiscard]] static Status remove_leftovers();
  void end_daemon() const;

  std::string name_;
  std::string directory_;
  std::string cgroup_;
  UniqueFd lock_;
};

}  // namespace sluice::cli
