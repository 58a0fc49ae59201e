// Runs the tables of capability_checks.h.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "daemon/interception/acceleration_rows.h"
#include "daemon/interception/capability_checks.h"
#include "daemon/interception/host.h"
#include "daemon/interception/programs.h"

namespace sluice::interception {

std::string error_text(int error_number) {
  return std::generic_category().message(error_number);
}

TrialHost::TrialHost(SteeringOptions options) : options_(std::move(options)) {
  const std::string parent = options_.cgroup_path.empty() ? find_cgroup_root() : options_.cgroup_path;
  if (parent.empty()) return;
  const std::string path = parent + "/sluice-trial-" + std::to_string(getpid());
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    error_ = errno;
    return;
  }
  cgroup_ = path;
}

TrialHost::~TrialHost() {
  if (!cgroup_.empty()) rmdir(cgroup_.c_str());
}

std::string TrialHost::why_not() const {
  return "no cgroup to try in: " + (error_ == 0 ? "the cgroup v2 hierarchy is not mounted" : error_text(error_));
}

std::string TrialHost::pin_directory() const {
  return "/sys/fs/bpf/sluice-trial-" + std::to_string(getpid());
}

std::vector<Capability> probe_capabilities(const SteeringOptions& options) {
  capture_libbpf_log();
  std::vector<Capability> rows;
  TrialHost host(options);
  for (const CheckGroup& group :
       {host_checks(), kernel_checks(), steering_checks(), identity_checks(), beyond_checks()}) {
    for (const Check& check : group.checks) {
      Verdict verdict = check.look(host);
      rows.push_back({group.name, check.name, check.need, verdict.finding, std::move(verdict.detail), check.meaning,
                      check.remedy});
    }
  }
  for (Capability& verdict : probe_acceleration(host.cgroup())) rows.push_back(std::move(verdict));
  return rows;
}

}  // namespace sluice::interception
