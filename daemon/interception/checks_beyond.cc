// Rows of the doctor: what lies around steering. Other namespaces, connections from before, ways past the hooks, and
// what later versions will want of the kernel; the last are marked as not used, so that nobody goes after a gap in
// vain.
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <set>

#include "daemon/interception/capability_checks.h"
#include "daemon/interception/host.h"

namespace sluice::interception {
namespace {

constexpr size_t kProcessesMax = 100'000;
constexpr uid_t kNobody = 65534;
constexpr bpf_attach_type kConnectUnix =
    static_cast<bpf_attach_type>(49);  // BPF_CGROUP_UNIX_CONNECT; libbpf 1.1 has no name

Verdict count_namespaces(TrialHost&) {
  struct stat own {};
  if (stat("/proc/self/ns/net", &own) != 0) return unknown(error_text(errno));
  const std::unique_ptr<DIR, int (*)(DIR*)> processes(opendir("/proc"), closedir);
  if (processes == nullptr) return unknown(error_text(errno));
  std::set<ino_t> others;
  size_t seen = 0;
  for (const dirent* entry = readdir(processes.get()); entry != nullptr && seen < kProcessesMax;
       entry = readdir(processes.get())) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    ++seen;
    struct stat status {};
    if (stat(("/proc/" + std::string(entry->d_name) + "/ns/net").c_str(), &status) == 0 && status.st_ino != own.st_ino)
      others.insert(status.st_ino);
  }
  if (others.empty()) return found("every process is in this one");
  return missing(std::to_string(others.size()) + " other network namespaces have processes");
}

Verdict try_map_without_capabilities(TrialHost&) {
  const UniqueFd map(bpf_map_create(BPF_MAP_TYPE_HASH, "sluice_trial", sizeof(uint64_t), sizeof(uint64_t), 1, nullptr));
  if (!map.valid()) return missing(error_text(errno));
  const pid_t child = fork();
  if (child < 0) return unknown(error_text(errno));
  if (child == 0) {
    if (setresuid(kNobody, kNobody, kNobody) != 0) _exit(errno);
    uint64_t key = 1, value = 2;
    _exit(bpf_map_update_elem(map.get(), &key, &value, BPF_ANY) == 0 ? 0 : errno);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return found("a process without any used a map that it was given");
  return missing(error_text(WEXITSTATUS(status)));
}

// Asks sock_diag to destroy a connection of our own.
Verdict try_socket_destroy(TrialHost&) {
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  const UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (bind(listener.get(), generic, size) != 0 || listen(listener.get(), 1) != 0 ||
      getsockname(listener.get(), generic, &size) != 0 || connect(client.get(), generic, size) != 0)
    return unknown("a connection to try it on: " + error_text(errno));
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } message = {};
  message.header.nlmsg_len = sizeof message;
  message.header.nlmsg_type = SOCK_DESTROY;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  message.request.sdiag_family = AF_INET;
  message.request.sdiag_protocol = IPPROTO_TCP;
  message.request.idiag_states = 0xffffffff;
  sockaddr_in own = {};
  size = sizeof own;
  if (getsockname(client.get(), reinterpret_cast<sockaddr*>(&own), &size) != 0) return unknown(error_text(errno));
  message.request.id.idiag_src[0] = own.sin_addr.s_addr;
  message.request.id.idiag_sport = own.sin_port;
  message.request.id.idiag_dst[0] = address.sin_addr.s_addr;
  message.request.id.idiag_dport = address.sin_port;
  message.request.id.idiag_cookie[0] = message.request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  const UniqueFd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (send(netlink.get(), &message, sizeof message, 0) != static_cast<ssize_t>(sizeof message))
    return missing(error_text(errno));
  struct {
    nlmsghdr header;
    nlmsgerr error;
  } answer = {};
  if (recv(netlink.get(), &answer, sizeof answer, 0) < static_cast<ssize_t>(sizeof(nlmsghdr) + sizeof(int)))
    return missing("no answer");
  if (answer.header.nlmsg_type != NLMSG_ERROR || answer.error.error != 0)
    return missing(error_text(-answer.error.error));
  return found("a connection of our own was destroyed");
}

Verdict look_for_kernel_function(const char* name) {
  const std::unique_ptr<btf, decltype(&btf__free)> types(btf__load_vmlinux_btf(), btf__free);
  if (types == nullptr) return unknown("the kernel's types cannot be read");
  return btf__find_by_name_kind(types.get(), name, BTF_KIND_FUNC) > 0
             ? found(std::string("the kernel has ") + name)
             : missing(std::string("the kernel has no ") + name);
}

Verdict look_for_sock_destroy(TrialHost&) {
  return look_for_kernel_function("bpf_sock_destroy");
}

template <bpf_prog_type kType>
Verdict try_program(TrialHost&) {
  const int answer = libbpf_probe_bpf_prog_type(kType, nullptr);
  if (answer == 1) return found("the kernel loads such a program");
  return missing(answer == 0 ? "refused by the kernel" : error_text(-answer));
}

Verdict try_iterator(TrialHost&) {
  return look_for_kernel_function("bpf_iter_tcp");
}

template <bpf_prog_type kType, bpf_attach_type kAttach>
Verdict try_attach_to_cgroup(TrialHost& host) {
  if (host.cgroup().empty()) return missing(host.why_not());
  bpf_insn program[2] = {};
  program[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  program[0].dst_reg = BPF_REG_0;
  program[0].imm = 1;
  program[1].code = BPF_JMP | BPF_EXIT;
  LIBBPF_OPTS(bpf_prog_load_opts, load, .expected_attach_type = kAttach);
  const UniqueFd loaded(bpf_prog_load(kType, "sluice_trial", "Dual BSD/GPL", program, 2, &load));
  if (!loaded.valid()) return missing("load: " + error_text(errno));
  const auto cgroup = open_cgroup(host.cgroup());
  if (!cgroup) return missing(cgroup.error().message);
  const UniqueFd link(bpf_link_create(loaded.get(), cgroup->get(), kAttach, nullptr));
  return link.valid() ? found("attached to a cgroup") : missing("attach: " + error_text(errno));
}

Verdict try_transparent(TrialHost&) {
  const UniqueFd probe(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (setsockopt(probe.get(), IPPROTO_IP, IP_TRANSPARENT, &on, sizeof on) == 0) return found("IP_TRANSPARENT");
  return missing(error_text(errno));
}

Verdict look_for_lsm(TrialHost&) {
  std::ifstream file("/sys/kernel/security/lsm");
  std::string modules;
  if (!std::getline(file, modules)) return unknown("/sys/kernel/security/lsm cannot be read");
  return ("," + modules + ",").find(",bpf,") != std::string::npos ? found(modules) : missing(modules);
}

Verdict look_for_guard(TrialHost&) {
  if (access("/run/systemd/system", F_OK) != 0) return unknown("this host was not started by systemd");
  for (const char* const wants : {"/etc/systemd/system/sysinit.target.wants/sluice-guard.service",
                                  "/usr/lib/systemd/system/sysinit.target.wants/sluice-guard.service"}) {
    if (access(wants, F_OK) == 0) return found(wants);
  }
  return missing("sluice-guard.service is not enabled");
}

Verdict know(TrialHost&) {
  return {Finding::limit, "true of every kernel"};
}

constexpr const char* kLaterVersion = "nothing: this version does not use it";

constexpr Check kChecks[] = {
    {"boot guard", Need::optional, "between boot and the daemon's start nothing is steered or refused",
     "systemctl enable sluice-guard", look_for_guard},
    {"one network namespace", Need::optional,
     "connects from other namespaces (containers) to a protected target get what when_down says, and are counted",
     "run clients in the host's network namespace", count_namespaces},
    {"maps without capabilities", Need::optional, "the daemon keeps CAP_BPF after it has given up root",
     "run Linux 5.19 or later", try_map_without_capabilities},
    {"ending connections from before", Need::unused,
     "connections that were open before the start could not be ended from outside", kLaterVersion, try_socket_destroy},
    {"connections from before, by eBPF", Need::unused, "they could not be listed by eBPF, only by sock_diag",
     kLaterVersion, try_iterator},
    {"ending them by eBPF", Need::unused, "they could not be ended by eBPF, only by sock_diag", kLaterVersion,
     look_for_sock_destroy},
    {"backstop for raw sockets", Need::unused, "packets of raw sockets would not be dropped", kLaterVersion,
     try_attach_to_cgroup<BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS>},
    {"inbound: sk_lookup", Need::unused, "targets on this host could not be protected from other hosts", kLaterVersion,
     try_program<BPF_PROG_TYPE_SK_LOOKUP>},
    {"inbound: the client's address", Need::unused, "the server would see the daemon's address", kLaterVersion,
     try_transparent},
    {"Unix sockets: connect hook", Need::unused, "connections to a server's Unix socket could not be steered",
     kLaterVersion, try_attach_to_cgroup<BPF_PROG_TYPE_CGROUP_SOCK_ADDR, kConnectUnix>},
    {"BPF LSM", Need::unused, "nothing is built on it", kLaterVersion, look_for_lsm},
    {"packet sockets", Need::optional,
     "who holds CAP_NET_RAW can send with AF_PACKET below the hooks, and with raw sockets past them",
     "give CAP_NET_RAW to nobody", know},
    {"host root", Need::optional, "root can detach programs; the daemon notices within a second (tamper_warning)",
     "alert on tamper_warning, keep heads of the log elsewhere", know},
    {"sockets handed on", Need::optional,
     "a connected socket that is passed to another process (SCM_RIGHTS) stays attributed to the one that connected", "",
     know},
};

}  // namespace

CheckGroup beyond_checks() {
  return {"beyond", kChecks};
}

}  // namespace sluice::interception
