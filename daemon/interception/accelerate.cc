#include "daemon/interception/accelerate.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <accelerate.skel.h>
#include <array>
#include <cerrno>
#include <utility>

#include "daemon/interception/notes.h"
#include "daemon/interception/programs.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace sluice::interception {
namespace {

constexpr size_t kNoticesBytes = SLUICE_NOTICE_SLOTS * sizeof(uint64_t);
constexpr size_t kProcessorsMax = 8192;  // the kernel's own bound on NR_CPUS

UniqueFd duplicate(int fd) {
  return UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

// The view of the addresses that the other end has.
sluice_note_key turned(const sluice_note_key& key) {
  sluice_note_key other = key;
  std::swap(other.local, other.remote);
  std::swap(other.local_port, other.remote_port);
  return other;
}

std::optional<sluice_end> look_up(int map, const sluice_note_key& key) {
  sluice_end end = {};
  if (bpf_map_lookup_elem(map, &key, &end) != 0) return std::nullopt;
  return end;
}

Result<sluice_exempt_key> key_of(int fd) {
  sluice_exempt_key key = {};
  socklen_t size = sizeof(key.socket_cookie);
  if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &key.socket_cookie, &size) != 0)
    return fail_errno("read the socket's cookie", errno);
  if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &key.netns_cookie, &size) != 0)
    return fail_errno("read the socket's namespace cookie", errno);
  return key;
}

bool goes_past_tcp(const std::optional<sluice_end>& end) {
  return end && end->way == SLUICE_REDIRECTED;
}

}  // namespace

Result<std::unique_ptr<Accelerator>> Accelerator::load(const Programs& steering) {
  std::unique_ptr<Accelerator> accelerator(new Accelerator);
  if (Status attached = accelerator->open_and_attach(steering); !attached)
    return within("accelerate", attached.error());
  return accelerator;
}

Accelerator::~Accelerator() {
  // A link that only closes detaches some time later; what is turned off takes no more sockets from now on.
  if (link_.valid()) bpf_link_detach(link_.get());
  if (notices_ != nullptr) munmap(notices_, kNoticesBytes);
  accelerate_bpf__destroy(skeleton_);
}

Status Accelerator::open_and_attach(const Programs& steering) {
  capture_libbpf_log();
  skeleton_ = accelerate_bpf__open();
  if (skeleton_ == nullptr) return fail_errno("open the eBPF object: " + take_libbpf_log(), errno);
  auto& maps = skeleton_->maps;
  const std::array<std::pair<bpf_map*, MapId>, 7> shared = {{{maps.sluice_endpoints, MapId::endpoints},
                                                             {maps.sluice_settings, MapId::settings},
                                                             {maps.sluice_listeners, MapId::listeners},
                                                             {maps.sluice_exempt, MapId::exempt},
                                                             {maps.sluice_names, MapId::names},
                                                             {maps.sluice_connections, MapId::connections},
                                                             {maps.sluice_mptcp_names, MapId::mptcp_names}}};
  for (const auto& [map, id] : shared) {
    if (bpf_map__reuse_fd(map, steering.map(id)) != 0) return fail_errno("share a map with steering", errno);
  }
  exempt_ = duplicate(steering.map(MapId::exempt));
  if (!exempt_.valid()) return fail_errno("share the exempt sockets", errno);
  if (accelerate_bpf__load(skeleton_) != 0) {
    const int why = errno;
    const std::string log = take_libbpf_log();
    return fail_errno("load" + (log.empty() ? "" : " (" + log + ")"), why);
  }
  if (Status opened = peer_queue_.open(); !opened) return opened;
  void* notices = mmap(nullptr, kNoticesBytes, PROT_READ, MAP_SHARED, bpf_map__fd(maps.sluice_notices), 0);
  if (notices == MAP_FAILED) return fail_errno("map the notices", errno);
  notices_ = static_cast<uint64_t*>(notices);
  const int writers = bpf_map__fd(maps.sluice_writers);
  if (bpf_prog_attach(bpf_program__fd(skeleton_->progs.sluice_redirect), writers, BPF_SK_MSG_VERDICT, 0) != 0)
    return fail_errno("attach to the sockets", errno);
  link_.reset(bpf_link_create(bpf_program__fd(skeleton_->progs.sluice_ends_of), steering.cgroup(), BPF_CGROUP_SOCK_OPS,
                              nullptr));
  if (!link_.valid()) return fail_errno("attach to the cgroup", errno);
  return {};
}

std::optional<sluice_end> Accelerator::own_end(int fd) const {
  const auto others = note_key_of(fd);
  if (!others) return std::nullopt;
  return look_up(bpf_map__fd(skeleton_->maps.sluice_ends), turned(*others));
}

std::optional<sluice_end> Accelerator::other_end(int fd) const {
  const auto others = note_key_of(fd);
  if (!others) return std::nullopt;
  return look_up(bpf_map__fd(skeleton_->maps.sluice_ends), *others);
}

bool Accelerator::short_circuited(int fd) const {
  return goes_past_tcp(own_end(fd)) || goes_past_tcp(other_end(fd));
}

const uint64_t* Accelerator::notices_of(int fd) const {
  const auto key = key_of(fd);
  return key ? notices_ + key->socket_cookie % SLUICE_NOTICE_SLOTS : nullptr;
}

bool Accelerator::reader_lags(int fd, uint64_t& seen) const {
  const uint64_t* const notices = notices_of(fd);
  if (notices == nullptr) return false;
  const uint64_t now = __atomic_load_n(notices, __ATOMIC_ACQUIRE);
  if (now == seen) return false;
  // Where it cannot be told the connection is about to end, and the write will say how.
  if (peer_queue_.queued_at_peer(fd).value_or(0) != 0) return true;
  seen = now;
  return false;
}

sluice_short_circuits Accelerator::totals() const {
  sluice_short_circuits sum = {};
  const int processors = libbpf_num_possible_cpus();
  if (processors <= 0 || static_cast<size_t>(processors) > kProcessorsMax) return sum;
  std::vector<sluice_short_circuits> each(static_cast<size_t>(processors));
  uint32_t zero = 0;
  // Reading an element of an array that is open cannot fail.
  if (bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.sluice_circuits), &zero, each.data()) != 0) return sum;
  for (const sluice_short_circuits& one : each) {
    sum.ends += one.ends;
    sum.directions += one.directions;
    sum.messages += one.messages;
    sum.bytes += one.bytes;
    for (size_t i = 0; i < SLUICE_TCP_REASONS; ++i) sum.by_tcp[i] += one.by_tcp[i];
  }
  return sum;
}

Status Accelerator::exempt_trial(int fd, uint8_t into) const {
  const auto key = key_of(fd);
  if (!key) return tl::unexpected(key.error());
  const auto value = static_cast<uint8_t>(SLUICE_EXEMPT_TRIAL | into);
  if (bpf_map_update_elem(exempt_.get(), &*key, &value, BPF_ANY) != 0) return fail_errno("exempt", errno);
  return {};
}

void Accelerator::forget_trial(int fd) const {
  const auto key = key_of(fd);
  if (key) bpf_map_delete_elem(exempt_.get(), &*key);
}

Status Accelerator::put_own_end(int fd, const sluice_end& end) const {
  const auto others = note_key_of(fd);
  if (!others) return fail("the socket is not connected");
  const sluice_note_key own = turned(*others);
  if (bpf_map_update_elem(bpf_map__fd(skeleton_->maps.sluice_ends), &own, &end, BPF_EXIST) != 0)
    return fail_errno("change an end", errno);
  return {};
}

}  // namespace sluice::interception
