// Rows of the doctor: what the kernel loads, makes and attaches.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/interception/capability_checks.h"
#include "daemon/interception/host.h"
#include "daemon/interception/kernel_broker.h"
#include "daemon/interception/programs.h"

namespace sluice::interception {
namespace {

constexpr const char* kNewerKernel = "run a newer kernel (5.15 or later; 5.18 for clean refusals)";
constexpr const char* kNotSteered = "connections cannot be steered";

template <bpf_prog_type kType, bpf_func_id kHelper>
Verdict try_helper(TrialHost&) {
  const int answer = libbpf_probe_bpf_helper(kType, kHelper, nullptr);
  if (answer == 1) return found("the kernel loads a program that calls it");
  return missing(answer == 0 ? "refused by the kernel" : error_text(-answer));
}

template <bpf_map_type kType>
Verdict try_map(TrialHost&) {
  const int answer = libbpf_probe_bpf_map_type(kType, nullptr);
  if (answer == 1) return found("the kernel makes such a map");
  return missing(answer == 0 ? "refused by the kernel" : error_text(-answer));
}

UniqueFd let_through(bpf_prog_type type, bpf_attach_type attach) {
  bpf_insn program[2] = {};
  program[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  program[0].dst_reg = BPF_REG_0;
  program[0].imm = 1;
  program[1].code = BPF_JMP | BPF_EXIT;
  LIBBPF_OPTS(bpf_prog_load_opts, load, .expected_attach_type = attach);
  return UniqueFd(bpf_prog_load(type, "sluice_trial", "Dual BSD/GPL", program, 2, &load));
}

// Attaches a program that does nothing but let through.
Verdict try_attach(TrialHost& host, bpf_prog_type type, bpf_attach_type attach) {
  if (host.cgroup().empty()) return missing(host.why_not());
  const UniqueFd program = let_through(type, attach);
  if (!program.valid()) return missing("load: " + error_text(errno));
  const auto cgroup = open_cgroup(host.cgroup());
  if (!cgroup) return missing(cgroup.error().message);
  const UniqueFd link(bpf_link_create(program.get(), cgroup->get(), attach, nullptr));
  if (!link.valid()) return missing("attach: " + error_text(errno));
  if (bpf_link_update(link.get(), program.get(), nullptr) != 0)
    return missing("replace in place: " + error_text(errno));
  bpf_link_info info = {};
  uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(link.get(), &info, &size) != 0) return missing("look at it: " + error_text(errno));
  return found("attached to a cgroup, replaced in place, and looked at");
}

template <size_t kIndex>
Verdict try_hook(TrialHost& host) {
  const bpf_attach_type attach = kHooks[kIndex].type;
  return try_attach(host, attach == BPF_CGROUP_SOCK_OPS ? BPF_PROG_TYPE_SOCK_OPS : BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
                    attach);
}

Verdict try_pinned_link(TrialHost& host) {
  if (host.cgroup().empty()) return missing(host.why_not());
  const UniqueFd program = let_through(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT);
  if (!program.valid()) return missing("load: " + error_text(errno));
  const auto cgroup = open_cgroup(host.cgroup());
  if (!cgroup) return missing(cgroup.error().message);
  UniqueFd link(bpf_link_create(program.get(), cgroup->get(), BPF_CGROUP_INET4_CONNECT, nullptr));
  if (!link.valid()) return missing("attach: " + error_text(errno));
  const std::string path = host.pin_directory() + "-link";
  if (bpf_obj_pin(link.get(), path.c_str()) != 0) return missing("pin: " + error_text(errno));
  link.reset();
  const UniqueFd again(bpf_obj_get(path.c_str()));
  const int error = errno;
  const bool detached = again.valid() && bpf_link_detach(again.get()) == 0;
  unlink(path.c_str());
  if (!again.valid()) return missing("open it again: " + error_text(error));
  return detached ? found("pinned, found again, and detached") : missing("detach: " + error_text(errno));
}

// A listener in a SOCKHASH, gone with its last descriptor: how a killed daemon is noticed.
Verdict try_listener_in_sockhash(TrialHost&) {
  uint32_t key = 1;
  const UniqueFd map(bpf_map_create(BPF_MAP_TYPE_SOCKHASH, "sluice_trial", sizeof(key), sizeof(uint64_t), 1, nullptr));
  if (!map.valid()) return missing("make the map: " + error_text(errno));
  UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in loopback = {};
  loopback.sin_family = AF_INET;
  loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&loopback), sizeof(loopback)) != 0 ||
      listen(listener.get(), 1) != 0)
    return missing("listen: " + error_text(errno));
  uint64_t fd = static_cast<uint64_t>(listener.get());
  if (bpf_map_update_elem(map.get(), &key, &fd, BPF_ANY) != 0) return missing("put it in: " + error_text(errno));
  listener.reset();
  uint32_t next = 0;
  return bpf_map_get_next_key(map.get(), nullptr, &next) != 0 ? found("the entry goes with the socket")
                                                              : missing("the entry stays after the socket is closed");
}

Verdict try_mapped_map(TrialHost&) {
  LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
  const UniqueFd map(bpf_map_create(BPF_MAP_TYPE_ARRAY, "sluice_trial", sizeof(uint32_t), 64, 1, &options));
  if (!map.valid()) return missing(error_text(errno));
  void* const memory = mmap(nullptr, 64, PROT_READ | PROT_WRITE, MAP_SHARED, map.get(), 0);
  if (memory == MAP_FAILED) return missing(error_text(errno));
  munmap(memory, 64);
  return found("an array that is also memory of the daemon");
}

// A trie that is put in place of another in one step: how targets change.
Verdict try_map_in_map(TrialHost&) {
  const auto inner = make_endpoint_map();
  if (!inner) return missing(inner.error().message);
  const auto other = make_endpoint_map();
  if (!other) return missing(other.error().message);
  LIBBPF_OPTS(bpf_map_create_opts, options, .inner_map_fd = static_cast<uint32_t>(inner->get()));
  const UniqueFd outer(
      bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "sluice_trial", sizeof(uint32_t), sizeof(uint32_t), 1, &options));
  if (!outer.valid()) return missing(error_text(errno));
  const uint32_t zero = 0;
  const int fd = other->get();
  return bpf_map_update_elem(outer.get(), &zero, &fd, BPF_ANY) == 0 ? found("a trie replaced in one step")
                                                                    : missing(error_text(errno));
}

Verdict try_take_and_delete(TrialHost&) {
  const UniqueFd map(bpf_map_create(BPF_MAP_TYPE_HASH, "sluice_trial", sizeof(uint64_t), sizeof(uint64_t), 1, nullptr));
  if (!map.valid()) return missing(error_text(errno));
  const uint64_t key = 1;
  uint64_t value = 2;
  if (bpf_map_update_elem(map.get(), &key, &value, BPF_ANY) != 0) return missing(error_text(errno));
  if (bpf_map_lookup_and_delete_elem(map.get(), &key, &value) != 0) return missing(error_text(errno));
  return found("looked up and deleted in one step");
}

Verdict try_netns_cookie(TrialHost&) {
  const auto cookie = own_netns_cookie();
  return cookie ? found("SO_NETNS_COOKIE") : missing(cookie.error().message);
}

constexpr Check kChecks[] = {
    {"network namespace cookies", Need::required, "listeners cannot be told apart by namespace", kNewerKernel,
     try_netns_cookie},
    {"socket storage", Need::required, "a connection's note has nowhere to stay", kNewerKernel,
     try_map<BPF_MAP_TYPE_SK_STORAGE>},
    {"prefix match", Need::required, "targets cannot be networks", kNewerKernel, try_map<BPF_MAP_TYPE_LPM_TRIE>},
    {"targets change in one step", Need::required, "a reload would have a window", kNewerKernel, try_map_in_map},
    {"notes are taken once", Need::required, "a connection's note cannot be taken", kNewerKernel, try_take_and_delete},
    {"heartbeat in shared memory", Need::required, "a daemon that hangs would not be noticed", kNewerKernel,
     try_mapped_map},
    {"listener in a sockhash", Need::required, "a killed daemon would not be noticed before its heartbeat is stale",
     kNewerKernel, try_listener_in_sockhash},
    {"refusal as ECONNREFUSED", Need::optional, "refused connects see EPERM instead of ECONNREFUSED",
     "run Linux 5.18 or later", try_helper<BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval>},
    {"identity at connect", Need::required, "the connecting process cannot be attested", kNewerKernel,
     try_helper<BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_get_current_task>},
    {"cookie of the connecting socket", Need::required, "the daemon's own connections cannot be told from others",
     kNewerKernel, try_helper<BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_get_socket_cookie>},
    {"storage of the connecting socket", Need::required, "a connection's note cannot be left", kNewerKernel,
     try_helper<BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_sk_storage_get>},
    {"release from SO_BINDTODEVICE", Need::optional, "connects of sockets bound to a device are refused", kNewerKernel,
     try_helper<BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_setsockopt>},
    // The cookie came to sock_ops in 5.15, with the fix for sockets that net_cls or net_prio hid from v2 hooks.
    {"cgroup v2 hooks beside net_cls and net_prio", Need::optional,
     "where net_cls or net_prio are in use, sockets escape the hooks: coverage cannot be claimed",
     "run Linux 5.15 or later", try_helper<BPF_PROG_TYPE_SOCK_OPS, BPF_FUNC_get_netns_cookie>},
    {"hook connect4", Need::required, kNotSteered, kNewerKernel, try_hook<0>},
    {"hook connect6", Need::required, kNotSteered, kNewerKernel, try_hook<1>},
    {"hook getpeername4", Need::required, "clients would see the daemon's address", kNewerKernel, try_hook<2>},
    {"hook getpeername6", Need::required, "clients would see the daemon's address", kNewerKernel, try_hook<3>},
    {"hook getsockname4", Need::required, "clients would see an address that they do not have", kNewerKernel,
     try_hook<4>},
    {"hook getsockname6", Need::required, "clients would see an address that they do not have", kNewerKernel,
     try_hook<5>},
    {"hook sockops", Need::required, "a connection would arrive without its note", kNewerKernel, try_hook<6>},
    {"pinned links", Need::required, "enforcement would end with the daemon", kNewerKernel, try_pinned_link},
};

}  // namespace

CheckGroup kernel_checks() {
  return {"kernel", kChecks};
}

}  // namespace sluice::interception
