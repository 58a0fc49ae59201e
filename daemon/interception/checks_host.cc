// Rows of the doctor: what the host gives, before any program is loaded.
#include <linux/seccomp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "daemon/interception/capability_checks.h"
#include "daemon/interception/host.h"

namespace sluice::interception {
namespace {

constexpr ino_t kInitialPidNamespace = 0xEFFFFFFC;  // PROC_PID_INIT_INO, include/linux/proc_ns.h

// The first line of a small file; empty where it cannot be read.
std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The options of the first mount of this type, empty where there is none.
std::string mount_options(const std::string& wanted_type) {
  std::ifstream mounts("/proc/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device, where, type, options;
    if (words >> device >> where >> type >> options && type == wanted_type) return options;
  }
  return {};
}

Verdict look_for_root(TrialHost&) {
  return geteuid() == 0 ? found("running as root") : missing("running as user " + std::to_string(geteuid()));
}

Verdict look_for_bpf_file_system(TrialHost& host) {
  const Status mounted = ensure_bpf_file_system(host.options().bpf_directory);
  return mounted ? found("mounted") : missing(mounted.error().message);
}

Verdict look_for_cgroup_root(TrialHost& host) {
  const std::string root = find_cgroup_root();
  if (root.empty()) return missing("not mounted");
  if (!host.options().cgroup_path.empty()) return found("confined to " + host.options().cgroup_path + " as asked");
  // The root of the hierarchy has no events file; the root of a cgroup namespace has.
  if (access((root + "/cgroup.events").c_str(), F_OK) != 0) return found(root + " is the root of the hierarchy");
  return missing(root + " is the root of a cgroup namespace only");
}

Verdict look_for_net_classes(TrialHost&) {
  std::ifstream mounts("/proc/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device, where, type, options;
    if (!(words >> device >> where >> type >> options) || type != "cgroup") continue;
    if (options.find("net_cls") != std::string::npos || options.find("net_prio") != std::string::npos)
      return missing("mounted at " + where);
  }
  return found("not mounted");
}

Verdict look_for_types(TrialHost&) {
  if (access("/sys/kernel/btf/vmlinux", R_OK) == 0) return found("/sys/kernel/btf/vmlinux");
  return missing("no /sys/kernel/btf/vmlinux");
}

Verdict look_at_lockdown(TrialHost&) {
  const std::string line = first_line("/sys/kernel/security/lockdown");
  if (line.empty()) return found("the kernel has no lockdown, or it is not shown");
  if (line.find("[confidentiality]") != std::string::npos) return missing(line);
  return found(line);
}

Verdict look_at_jit(TrialHost&) {
  const std::string value = first_line("/proc/sys/net/core/bpf_jit_enable");
  if (value.empty()) return unknown("/proc/sys/net/core/bpf_jit_enable cannot be read");
  return value == "0" ? missing("bpf_jit_enable is 0") : found("bpf_jit_enable is " + value);
}

Verdict look_at_pid_namespace(TrialHost&) {
  struct stat status {};
  if (stat("/proc/self/ns/pid", &status) != 0) return unknown(error_text(errno));
  return status.st_ino == kInitialPidNamespace ? found("the initial one") : missing("a namespace of its own");
}

Verdict look_at_hidepid(TrialHost&) {
  const std::string options = mount_options("proc");
  if (options.empty()) return missing("/proc is not mounted");
  if (access("/proc/1/stat", R_OK) != 0) return missing("/proc/1/stat: " + error_text(errno));
  const size_t at = options.find("hidepid=");
  if (at == std::string::npos || options.compare(at, 9, "hidepid=0") == 0) return found("visible");
  return found(options.substr(at, options.find(',', at) - at) + ", and visible to the helper all the same");
}

Verdict look_for_seccomp(TrialHost&) {
  const uint32_t action = SECCOMP_RET_KILL_PROCESS;
  if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0) return found("filters that kill the process");
  return missing(error_text(errno));
}

Verdict look_at_ports(TrialHost&) {
  std::ifstream file("/proc/sys/net/ipv4/ip_local_port_range");
  uint32_t first = 0, last = 0;
  if (!(file >> first >> last) || last < first) return unknown("ip_local_port_range cannot be read");
  constexpr uint32_t kPortsWanted = 10'000;
  const std::string detail = std::to_string(last - first + 1) + " ports for each of the listener's 65,536 addresses";
  return last - first >= kPortsWanted ? found(detail) : missing(detail);
}

Verdict look_at_backlog(TrialHost&) {
  std::ifstream file("/proc/sys/net/core/somaxconn");
  uint32_t bound = 0;
  if (!(file >> bound)) return unknown("somaxconn cannot be read");
  constexpr uint32_t kBacklogWanted = 1024;
  const std::string detail = "net.core.somaxconn is " + std::to_string(bound);
  return bound >= kBacklogWanted ? found(detail) : missing(detail);
}

constexpr Check kChecks[] = {
    {"privileges", Need::required, "nothing below can be tried", "run as root", look_for_root},
    {"BPF file system", Need::required, "enforcement would end with the daemon", "mount -t bpf bpf /sys/fs/bpf",
     look_for_bpf_file_system},
    {"cgroup v2", Need::required, "connections cannot be steered, or only those of processes in this cgroup",
     "mount -t cgroup2 cgroup2 /sys/fs/cgroup; in a container, give it the host's cgroup namespace",
     look_for_cgroup_root},
    {"no net_cls and net_prio", Need::optional,
     "below Linux 5.15 sockets that these controllers mark escape the hooks of cgroup v2: coverage cannot be claimed "
     "there (the row \"cgroup v2 hooks beside net_cls and net_prio\" says whether this kernel has the fix)",
     "umount the net_cls and net_prio hierarchies", look_for_net_classes},
    {"kernel type information", Need::required, "the programs cannot be fitted to this kernel",
     "a kernel with CONFIG_DEBUG_INFO_BTF", look_for_types},
    {"kernel lockdown", Need::required, "eBPF may not read kernel memory: the connecting process cannot be attested",
     "boot without lockdown=confidentiality (integrity is fine)", look_at_lockdown},
    {"eBPF compiler", Need::optional, "every connect of the host takes longer", "sysctl net.core.bpf_jit_enable=1",
     look_at_jit},
    {"initial PID namespace", Need::required,
     "the kernel notes processes by their numbers on the host, which mean others here: identities are wrong or empty",
     "run on the host, or with the host's PID namespace", look_at_pid_namespace},
    {"processes visible in /proc", Need::required, "the executable of a connecting process cannot be resolved",
     "mount /proc; hidepid is fine, the helper has CAP_SYS_PTRACE", look_at_hidepid},
    {"system call filters", Need::required, "the daemon does not start: it may not run without its filter",
     "a kernel with CONFIG_SECCOMP_FILTER", look_for_seccomp},
    {"local ports", Need::optional, "with many connections at once, connect() fails with EADDRNOTAVAIL sooner",
     "sysctl net.ipv4.ip_local_port_range='32768 60999'", look_at_ports},
    {"accept queue", Need::optional, "a burst of connects waits for retransmission", "sysctl net.core.somaxconn=4096",
     look_at_backlog},
};

}  // namespace

CheckGroup host_checks() {
  return {"host", kChecks};
}

}  // namespace sluice::interception
