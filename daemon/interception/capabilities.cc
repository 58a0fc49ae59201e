// What this kernel can do for steering: each row is found by trying it, in a cgroup made for the purpose. Never by
// comparing version numbers: distributions carry features back.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>

#include "daemon/interception/acceleration_rows.h"
#include "daemon/interception/host.h"
#include "daemon/interception/programs.h"
#include "daemon/interception/steering.h"

namespace sluice::interception {
namespace {

constexpr int kTrialPatienceMs = 3000;

// A cgroup that exists for the trials alone; removed at the end.
class TrialCgroup {
 public:
  explicit TrialCgroup(const SteeringOptions& options) {
    std::string parent = options.cgroup_path.empty() ? find_cgroup_root() : options.cgroup_path;
    if (parent.empty()) return;
    std::string path = parent + "/sluice-trial-" + std::to_string(getpid());
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
      error_ = errno;
      return;
    }
    path_ = path;
  }
  TrialCgroup(const TrialCgroup&) = delete;
  TrialCgroup& operator=(const TrialCgroup&) = delete;
  ~TrialCgroup() {
    if (!path_.empty()) rmdir(path_.c_str());
  }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string why_not() const {
    return error_ == 0 ? "the cgroup v2 hierarchy is not mounted" : std::strerror(error_);
  }

 private:
  std::string path_;
  int error_ = 0;
};

Capability row(std::string name, bool found, std::string detail, std::string meaning, std::string remedy) {
  return {std::move(name), found, std::move(detail), found ? "" : std::move(meaning), found ? "" : std::move(remedy)};
}

constexpr const char* kNewerKernel = "run a newer kernel (5.15 or later; 5.18 for clean refusals)";

Capability try_helper(const std::string& name, bpf_prog_type type, bpf_func_id helper, const std::string& meaning) {
  int answer = libbpf_probe_bpf_helper(type, helper, nullptr);
  std::string detail = answer == 1   ? "the kernel loads a program that calls it"
                       : answer == 0 ? "refused by the kernel"
                                     : std::strerror(-answer);
  return row(name, answer == 1, detail, meaning, kNewerKernel);
}

Capability try_map(const std::string& name, bpf_map_type type, const std::string& meaning) {
  int answer = libbpf_probe_bpf_map_type(type, nullptr);
  std::string detail = answer == 1   ? "the kernel makes such a map"
                       : answer == 0 ? "refused by the kernel"
                                     : std::strerror(-answer);
  return row(name, answer == 1, detail, meaning, kNewerKernel);
}

// Attaches a program that does nothing but let through.
Capability try_hook(const Hook& hook, const TrialCgroup& trial) {
  std::string name = std::string("hook ") + hook.name;
  std::string meaning = "connections cannot be steered";
  std::string remedy = kNewerKernel;
  if (trial.path().empty())
    return row(name, false, "no cgroup to try in: " + trial.why_not(), meaning, "mount the cgroup v2 hierarchy");
  bpf_insn let_through[2] = {};
  let_through[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  let_through[0].dst_reg = BPF_REG_0;
  let_through[0].imm = 1;
  let_through[1].code = BPF_JMP | BPF_EXIT;
  bpf_prog_type type = hook.type == BPF_CGROUP_SOCK_OPS ? BPF_PROG_TYPE_SOCK_OPS : BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
  LIBBPF_OPTS(bpf_prog_load_opts, load, .expected_attach_type = hook.type);
  UniqueFd program(bpf_prog_load(type, "sluice_trial", "Dual BSD/GPL", let_through, 2, &load));
  if (!program.valid()) return row(name, false, std::string("load: ") + std::strerror(errno), meaning, remedy);
  auto cgroup = open_cgroup(trial.path());
  if (!cgroup) return row(name, false, cgroup.error().message, meaning, remedy);
  UniqueFd link(bpf_link_create(program.get(), cgroup->get(), hook.type, nullptr));
  if (!link.valid()) return row(name, false, std::string("attach: ") + std::strerror(errno), meaning, remedy);
  if (bpf_link_update(link.get(), program.get(), nullptr) != 0) {
    return row(name, false, std::string("replace in place: ") + std::strerror(errno), "an upgrade would have a window",
               remedy);
  }
  return row(name, true, "attached to a cgroup and replaced in place", "", "");
}

// A listener in a SOCKHASH, gone with its last descriptor: how a killed daemon is noticed.
Capability try_listener_in_sockhash() {
  const std::string name = "listener in a sockhash";
  const std::string meaning = "a killed daemon would not be noticed before its heartbeat is stale";
  uint32_t key = 1;
  UniqueFd map(bpf_map_create(BPF_MAP_TYPE_SOCKHASH, "sluice_trial", sizeof(key), sizeof(uint64_t), 1, nullptr));
  if (!map.valid())
    return row(name, false, std::string("make the map: ") + std::strerror(errno), meaning, kNewerKernel);
  UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in loopback = {};
  loopback.sin_family = AF_INET;
  loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&loopback), sizeof(loopback)) != 0 ||
      listen(listener.get(), 1) != 0) {
    return row(name, false, std::string("listen: ") + std::strerror(errno), meaning, "bring the loopback device up");
  }
  uint64_t fd = static_cast<uint64_t>(listener.get());
  if (bpf_map_update_elem(map.get(), &key, &fd, BPF_ANY) != 0) {
    return row(name, false, std::string("put it in: ") + std::strerror(errno), meaning, kNewerKernel);
  }
  listener.reset();
  uint32_t next = 0;
  bool gone = bpf_map_get_next_key(map.get(), nullptr, &next) != 0;
  return row(name, gone, gone ? "the entry goes with the socket" : "the entry stays after the socket is closed",
             meaning, kNewerKernel);
}

Capability try_root(const SteeringOptions& options) {
  const std::string meaning = "processes outside of this cgroup are not covered";
  std::string root = find_cgroup_root();
  if (!options.cgroup_path.empty())
    return row("cgroup v2", true, "confined to " + options.cgroup_path + " as asked", "", "");
  if (root.empty()) {
    return row("cgroup v2", false, "not mounted", "connections cannot be steered",
               "mount -t cgroup2 cgroup2 " + std::string(kCgroupMountPoint));
  }
  // The root of the hierarchy has no events file; the root of a cgroup namespace has.
  bool real = access((root + "/cgroup.events").c_str(), F_OK) != 0;
  return row("cgroup v2", real,
             root + (real ? " is the root of the hierarchy" : " is the root of a cgroup namespace only"), meaning,
             "run on the host, or with the host's cgroup namespace");
}

// The whole way: a process in the trial cgroup connects to a target and arrives here with a note.
Result<std::string> steer_once(const TrialCgroup& trial) {
  SteeringOptions options;
  options.bpf_directory = "/sys/fs/bpf/sluice-trial-" + std::to_string(getpid());
  options.cgroup_path = trial.path();
  auto steering = Steering::start(options);
  if (!steering) return tl::unexpected(steering.error());
  SteeredTarget target;
  target.name = "trial";
  SteeredEndpoint endpoint;
  endpoint.address[0] = 127;
  endpoint.address[3] = 1;
  endpoint.port = 9;  // discard; nobody is ever asked there: the connection is steered, or fails
  target.endpoints.push_back(endpoint);
  if (Status set = (*steering)->set_targets({&target, 1}); !set) return tl::unexpected(set.error());
  auto listeners = (*steering)->open_listeners();
  if (!listeners) return tl::unexpected(listeners.error());
  if (Status live = (*steering)->go_live(); !live) return tl::unexpected(live.error());
  pid_t client = fork();
  if (client < 0) return fail_errno("fork", errno);
  if (client == 0) {
    std::ofstream(trial.path() + "/cgroup.procs") << getpid() << std::flush;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    to.sin_port = htons(endpoint.port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    _exit(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0 ? 0 : errno);
  }
  pollfd wait = {(*listeners)[0], POLLIN, 0};
  bool arrived = poll(&wait, 1, kTrialPatienceMs) == 1;
  UniqueFd accepted(arrived ? accept4((*listeners)[0], nullptr, nullptr, SOCK_CLOEXEC) : -1);
  int status = 0;
  waitpid(client, &status, 0);
  if (!accepted.valid())
    return fail(std::string("the connection did not arrive: ") + std::strerror(WEXITSTATUS(status)));
  auto note = (*steering)->take_note(accepted.get());
  if (!note) return fail("the connection arrived without a note");
  if (note->pid != client) return fail("the note names another process");
  return (*steering)->capability_line();
}

Capability try_steering(const TrialCgroup& trial) {
  const std::string name = "steering end to end";
  const std::string meaning = "connections to protected targets cannot be steered on this host";
  if (trial.path().empty()) return row(name, false, trial.why_not(), meaning, "mount the cgroup v2 hierarchy");
  auto line = steer_once(trial);
  SteeringOptions options;
  options.bpf_directory = "/sys/fs/bpf/sluice-trial-" + std::to_string(getpid());
  auto removed = unload(options);
  if (line && !removed) line = tl::unexpected(removed.error());
  return row(name, line.has_value(), line ? *line : line.error().message, meaning,
             "see the rows above for what is missing");
}

}  // namespace

std::vector<Capability> probe_capabilities(const SteeringOptions& options) {
  capture_libbpf_log();
  std::vector<Capability> rows;
  bool root = geteuid() == 0;
  rows.push_back(row("privileges", root, root ? "running as root" : "not running as root", "nothing below can be tried",
                     "run as root"));
  Status mounted = ensure_bpf_file_system(options.bpf_directory);
  rows.push_back(row("BPF file system", mounted.has_value(), mounted ? "mounted" : mounted.error().message,
                     "enforcement would end with the daemon", "mount -t bpf bpf /sys/fs/bpf"));
  rows.push_back(try_root(options));
  bool types = access("/sys/kernel/btf/vmlinux", R_OK) == 0;
  rows.push_back(row("kernel type information", types, types ? "/sys/kernel/btf/vmlinux" : "no /sys/kernel/btf/vmlinux",
                     "the programs cannot be fitted to this kernel", "a kernel with CONFIG_DEBUG_INFO_BTF"));
  auto cookie = own_netns_cookie();
  rows.push_back(row("network namespace cookies", cookie.has_value(),
                     cookie ? "SO_NETNS_COOKIE" : cookie.error().message, "listeners cannot be told apart by namespace",
                     kNewerKernel));
  rows.push_back(try_map("socket storage", BPF_MAP_TYPE_SK_STORAGE, "a connection's note has nowhere to stay"));
  rows.push_back(try_map("prefix match", BPF_MAP_TYPE_LPM_TRIE, "targets cannot be networks"));
  rows.push_back(try_listener_in_sockhash());
  rows.push_back(try_helper("refusal as ECONNREFUSED", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval,
                            "refused connects see EPERM instead of ECONNREFUSED"));
  rows.push_back(try_helper("identity at connect", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_get_current_task,
                            "the connecting process cannot be attested"));
  rows.push_back(try_helper("release from SO_BINDTODEVICE", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_setsockopt,
                            "connects of sockets bound to a device are refused"));
  // The cookie came to sock_ops in 5.15, with the fix for sockets that net_cls or net_prio hid from v2 hooks.
  rows.push_back(
      try_helper("cgroup v2 hooks beside net_cls and net_prio", BPF_PROG_TYPE_SOCK_OPS, BPF_FUNC_get_netns_cookie,
                 "where net_cls or net_prio are in use, sockets escape the hooks: coverage cannot be claimed"));
  TrialCgroup trial(options);
  for (const Hook& hook : kHooks) rows.push_back(try_hook(hook, trial));
  rows.push_back(try_steering(trial));
  for (Capability& one : probe_acceleration(trial.path())) rows.push_back(std::move(one));
  UniqueFd six(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 loopback = {};
  loopback.sin6_family = AF_INET6;
  loopback.sin6_addr = in6addr_loopback;
  bool has_six = six.valid() && bind(six.get(), reinterpret_cast<sockaddr*>(&loopback), sizeof(loopback)) == 0;
  rows.push_back(row("IPv6 loopback", has_six, has_six ? "::1 can be bound" : std::strerror(errno),
                     "sockets that only speak IPv6 follow when_down", "bring ::1 up on the loopback device"));
  return rows;
}

}  // namespace sluice::interception
