#include "daemon/interception/steering.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "bpf/abi.h"
#include "daemon/interception/accelerate.h"
#include "daemon/interception/endpoint_table.h"
#include "daemon/interception/host.h"
#include "daemon/interception/kernel_broker.h"
#include "daemon/interception/listeners.h"
#include "daemon/interception/notes.h"
#include "daemon/interception/pins.h"
#include "daemon/interception/programs.h"
#include "daemon/interception/target_slots.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace sluice::interception {
namespace {

constexpr uint64_t kNoteAgeMaxNs = 120'000'000'000;  // far longer than a connection waits for a living daemon's accept
constexpr uint32_t kNotesSweptAtOnce = 512;
constexpr std::chrono::milliseconds kCountersWait(50);  // of one reading, for connects that are in flight
constexpr const char* kNotAskedFor = "no target asked for it when the daemon started; it takes a restart";

uint64_t monotonic_ns() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

// The settings map, in our memory: a heartbeat is one store.
class MappedSettings {
 public:
  MappedSettings() = default;
  MappedSettings(const MappedSettings&) = delete;
  MappedSettings& operator=(const MappedSettings&) = delete;
  ~MappedSettings() {
    if (settings_ != nullptr) munmap(settings_, sizeof(sluice_settings));
  }
  Status map(int fd) {
    void* memory = mmap(nullptr, sizeof(sluice_settings), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) return fail_errno("map the settings", errno);
    settings_ = static_cast<sluice_settings*>(memory);
    return {};
  }
  sluice_settings* operator->() const { return settings_; }
  static void store(__u64& field, uint64_t value) { __atomic_store_n(&field, value, __ATOMIC_RELEASE); }

 private:
  sluice_settings* settings_ = nullptr;
};

// An endpoint trie, filled and ready to be swapped in.
Result<UniqueFd> make_trie(KernelBroker* broker, std::span<const EndpointEntry> entries) {
  auto trie = broker != nullptr ? broker->make_endpoint_map() : make_endpoint_map();
  if (!trie) return trie;
  for (const EndpointEntry& entry : entries) {
    if (bpf_map_update_elem(trie->get(), &entry.key, &entry.value, BPF_NOEXIST) != 0)
      return fail_errno("fill the endpoint trie", errno);
  }
  return trie;
}

// Removes every entry of a map with at most `entries_max` entries and keys of at most 64 bytes.
void clear_map(int map, uint32_t entries_max) {
  std::array<uint8_t, 64> key = {};
  for (uint32_t i = 0; i < entries_max && bpf_map_get_next_key(map, nullptr, key.data()) == 0; ++i) {
    if (bpf_map_delete_elem(map, key.data()) != 0) return;
  }
}

uint8_t readers_of(Acceleration acceleration) {
  switch (acceleration) {
    case Acceleration::none:
      return 0;
    case Acceleration::into_daemon:
      return SLUICE_INTO_DAEMON;
    case Acceleration::both_ways:
      return SLUICE_INTO_DAEMON | SLUICE_INTO_FOREIGN;
  }
  return 0;
}

bool same_addresses(std::span<const SteeredEndpoint> left, std::span<const SteeredEndpoint> right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](const SteeredEndpoint& a, const SteeredEndpoint& b) {
                      return a.family == b.family && std::memcmp(a.address, b.address, sizeof(a.address)) == 0;
                    });
}

class LiveSteering final : public Steering {
 public:
  LiveSteering(PinLock lock, std::unique_ptr<Programs> programs, const SteeringOptions& options)
      : lock_(std::move(lock)),
        programs_(std::move(programs)),
        broker_(options.broker),
        bpf_directory_(options.bpf_directory),
        notes_max_(options.notes_max) {}
  ~LiveSteering() override;
  Status prepare();

  Status set_targets(std::span<const SteeredTarget> targets) override;
  uint64_t target_generation() const override { return settings_->generation; }
  const AccelerationReport& prepare_acceleration(std::span<const SteeredTarget> targets) override;
  const AccelerationReport& acceleration() const override { return acceleration_; }
  const uint64_t* short_circuit_notices(int fd) const override {
    return accelerator_ != nullptr ? accelerator_->notices_of(fd) : nullptr;
  }
  bool reader_lags(int fd, uint64_t& seen) const override {
    return accelerator_ != nullptr && accelerator_->reader_lags(fd, seen);
  }
  bool short_circuited(int client_fd, int server_fd) const override {
    return accelerator_ != nullptr &&
           (accelerator_->short_circuited(client_fd) || accelerator_->short_circuited(server_fd));
  }
  Result<std::vector<int>> open_listeners() override;
  Status go_live() override;
  void stop() override;
  void heartbeat() override { MappedSettings::store(settings_->heartbeat_ns, monotonic_ns()); }
  std::optional<ConnectNote> take_note(int accepted_fd) override;
  Status exempt(int fd) override;
  void forget(int fd) override;
  bool is_exempt(uint64_t socket_cookie) const override;
  std::vector<TargetCounters> counters() override;
  std::string self_check() override;
  std::string capability_line() const override;
  bool works_with_present_capabilities() const override { return may_use_map(programs_->map(MapId::exempt)); }

 private:
  Status put_endpoints(std::span<const SteeredTarget> targets, std::span<const uint32_t> slots, uint64_t generation);
  Result<std::vector<EndpointEntry>> make_entries(std::span<const SteeredTarget> targets,
                                                  std::span<const SteeredEndpoint> own, std::span<const uint32_t> slots,
                                                  uint64_t generation) const;
  Status learn_own_place();
  void sweep_notes();

  PinLock lock_;
  std::unique_ptr<Programs> programs_;
  std::unique_ptr<Accelerator> accelerator_;  // empty where nothing is short-circuited
  AccelerationReport acceleration_;
  KernelBroker* broker_;
  std::string bpf_directory_;
  uint32_t notes_max_;
  std::optional<sluice_note_key> sweep_from_;  // where the last sweep of notes ended
  MappedSettings settings_;
  std::vector<SteeredTarget> targets_;
  std::vector<uint32_t> slots_;
  std::vector<SteeredEndpoint> own_addresses_;  // that the aliases in force were made from
  std::vector<Listener> listeners_;
  uint64_t netns_cookie_ = 0;
};

Status LiveSteering::prepare() {
  if (Status mapped = settings_.map(programs_->map(MapId::settings)); !mapped) return mapped;
  // What an earlier daemon registered is void: its listeners are gone or must not be used, cookies are never used
  // again.
  clear_map(programs_->map(MapId::listeners), SLUICE_LISTENERS_MAX);
  clear_map(programs_->map(MapId::exempt), SLUICE_EXEMPT_MAX);
  // Connections that it had not accepted were reset with its listeners.
  clear_map(programs_->map(MapId::notes), notes_max_);
  MappedSettings::store(settings_->heartbeat_ns, 0);
  if (programs_->maps_are_new()) {
    settings_->abi = SLUICE_ABI;
    auto trie = make_trie(broker_, {});
    if (!trie) return tl::unexpected(trie.error());
    uint32_t zero = 0;
    int fd = trie->get();
    if (bpf_map_update_elem(programs_->map(MapId::endpoints), &zero, &fd, BPF_ANY) != 0)
      return fail_errno("put in the endpoint trie", errno);
  }
  if (Status learnt = learn_own_place(); !learnt) return learnt;
  if (programs_->needs_filling()) return {};  // set_targets() commits
  return programs_->commit();
}

// Which cgroup exempt sockets connect from, and in which namespace local aliases hold.
Status LiveSteering::learn_own_place() {
  auto netns = own_netns_cookie();
  if (!netns) return tl::unexpected(netns.error());
  auto cgroup = own_cgroup_id();
  if (!cgroup) return tl::unexpected(cgroup.error());
  netns_cookie_ = *netns;
  MappedSettings::store(settings_->daemon_netns, *netns);
  MappedSettings::store(settings_->daemon_cgroup, *cgroup);
  return {};
}

Result<std::vector<EndpointEntry>> LiveSteering::make_entries(std::span<const SteeredTarget> targets,
                                                              std::span<const SteeredEndpoint> own,
                                                              std::span<const uint32_t> slots,
                                                              uint64_t generation) const {
  auto entries = build_endpoint_table(targets, own);
  if (!entries) return entries;
  for (EndpointEntry& entry : *entries) {
    entry.value.slot = slots[entry.value.target];
    entry.value.into = readers_of(acceleration_.of(targets[entry.value.target].accelerate));
    entry.value.generation = generation;
    SteeredEndpoint where;
    where.family = entry.key.family == SLUICE_IPV4 ? AF_INET : AF_INET6;
    where.port = ntohs(entry.key.port_be);
    std::memcpy(where.address, entry.key.address, 16);
    uint8_t source[16] = {};
    entry.value.source_known = source_address_for(where, source);
    std::memcpy(entry.value.source, source, sizeof(source));
  }
  return entries;
}

const AccelerationReport& LiveSteering::prepare_acceleration(std::span<const SteeredTarget> targets) {
  const auto wants = [](const SteeredTarget& target) { return target.accelerate != AccelerateWish::off; };
  if (std::none_of(targets.begin(), targets.end(), wants)) {
    acceleration_.why_auto = acceleration_.why_on = kNotAskedFor;
    return acceleration_;
  }
  auto loaded = Accelerator::load(*programs_);
  if (loaded) accelerator_ = std::move(*loaded);
  acceleration_ = try_acceleration(accelerator_.get(), loaded ? "" : loaded.error().message);
  const auto gets = [&](const SteeredTarget& target) {
    return acceleration_.of(target.accelerate) != Acceleration::none;
  };
  if (std::any_of(targets.begin(), targets.end(), gets)) return acceleration_;
  accelerator_.reset();
  if (acceleration_.for_on != Acceleration::none) acceleration_.why_on = kNotAskedFor;
  acceleration_.for_auto = acceleration_.for_on = Acceleration::none;
  return acceleration_;
}

Status LiveSteering::put_endpoints(std::span<const SteeredTarget> targets, std::span<const uint32_t> slots,
                                   uint64_t generation) {
  auto own = local_addresses();
  if (!own) return tl::unexpected(own.error());
  auto entries = make_entries(targets, *own, slots, generation);
  if (!entries) return tl::unexpected(entries.error());
  auto trie = make_trie(broker_, *entries);
  if (!trie) return tl::unexpected(trie.error());
  uint32_t zero = 0;
  int fd = trie->get();
  if (bpf_map_update_elem(programs_->map(MapId::endpoints), &zero, &fd, BPF_ANY) != 0)
    return fail_errno("put in the endpoint trie", errno);
  own_addresses_ = std::move(*own);
  return {};
}

Status LiveSteering::set_targets(std::span<const SteeredTarget> targets) {
  auto checked = build_endpoint_table(targets, {});  // before anything changes
  if (!checked) return within("set targets", checked.error());
  auto slots = assign_slots(programs_->map(MapId::names), programs_->map(MapId::counters), targets);
  if (!slots) return within("set targets", slots.error());
  uint64_t generation = settings_->generation + 1;
  if (Status put = put_endpoints(targets, *slots, generation); !put) return within("set targets", put.error());
  MappedSettings::store(settings_->generation, generation);
  targets_.assign(targets.begin(), targets.end());
  slots_ = std::move(*slots);
  if (programs_->committed()) return {};
  if (Status committed = programs_->commit(); !committed)
    return within("take over from programs of another version", committed.error());
  return {};
}

Result<std::vector<int>> LiveSteering::open_listeners() {
  if (!listeners_.empty()) return fail("open listeners: they are open already");
  auto opened = open_listening_sockets();
  if (!opened) return within("open listeners", opened.error());
  listeners_ = std::move(*opened);
  std::vector<int> fds;
  for (const Listener& listener : listeners_) fds.push_back(listener.fd.get());
  return fds;
}

Status LiveSteering::go_live() {
  if (listeners_.empty()) return fail("go live: no listeners are open");
  if (!programs_->committed()) return fail("go live: set the targets first");
  if (Status learnt = learn_own_place(); !learnt) return within("go live", learnt.error());
  heartbeat();
  for (const Listener& listener : listeners_) {
    sluice_listener_key key = {};
    key.netns_cookie = netns_cookie_;
    key.family = listener.family == AF_INET ? SLUICE_IPV4 : SLUICE_IPV6;
    uint64_t fd = static_cast<uint64_t>(listener.fd.get());
    if (bpf_map_update_elem(programs_->map(MapId::listeners), &key, &fd, BPF_ANY) != 0) {
      int why = errno;
      stop();
      return fail_errno("go live: register a listener", why);
    }
  }
  return {};
}

void LiveSteering::stop() {
  for (uint32_t family : {SLUICE_IPV4, SLUICE_IPV6}) {
    sluice_listener_key key = {};
    key.netns_cookie = netns_cookie_;
    key.family = family;
    bpf_map_delete_elem(programs_->map(MapId::listeners), &key);  // ENOENT where it was not registered
  }
  MappedSettings::store(settings_->heartbeat_ns, 0);
}

std::optional<ConnectNote> LiveSteering::take_note(int accepted_fd) {
  auto key = note_key_of(accepted_fd);
  if (!key) return std::nullopt;
  int notes = programs_->map(MapId::notes);
  sluice_note note = {};
  if (bpf_map_lookup_and_delete_elem(notes, &*key, &note) != 0) return std::nullopt;  // hash maps: 5.14
  return to_connect_note(note);
}

// The key of one of our sockets; fails where the kernel cannot tell cookies.
Result<sluice_exempt_key> exempt_key_of(int fd) {
  sluice_exempt_key key = {};
  socklen_t size = sizeof(key.socket_cookie);
  if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &key.socket_cookie, &size) != 0)
    return fail_errno("read the socket's cookie", errno);
  if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &key.netns_cookie, &size) != 0) {
    return fail_errno("read the socket's namespace cookie", errno);
  }
  return key;
}

Status LiveSteering::exempt(int fd) {
  auto key = exempt_key_of(fd);
  if (!key) return within("exempt", key.error());
  uint8_t yes = 1;
  if (bpf_map_update_elem(programs_->map(MapId::exempt), &*key, &yes, BPF_ANY) != 0) return fail_errno("exempt", errno);
  return {};
}

void LiveSteering::forget(int fd) {
  auto key = exempt_key_of(fd);
  if (key) bpf_map_delete_elem(programs_->map(MapId::exempt), &*key);
}

bool LiveSteering::is_exempt(uint64_t socket_cookie) const {
  sluice_exempt_key key = {};
  key.socket_cookie = socket_cookie;
  key.netns_cookie = netns_cookie_;
  uint8_t value = 0;
  return bpf_map_lookup_elem(programs_->map(MapId::exempt), &key, &value) == 0;
}

std::vector<TargetCounters> LiveSteering::counters() {
  std::vector<TargetCounters> all;
  const auto until = std::chrono::steady_clock::now() + kCountersWait;
  for (uint32_t slot : slots_) {
    auto one = read_counters(programs_->map(MapId::counters), slot, until);
    all.push_back(one ? *one : TargetCounters{});  // reading an element of an array that is open cannot fail
  }
  return all;
}

// Removes notes that nobody came for: their clients closed before their connections could be accepted, and then those
// were lost too (the listener's queue was full). A part of the map each time.
void LiveSteering::sweep_notes() {
  int notes = programs_->map(MapId::notes);
  uint64_t now = monotonic_ns();
  for (uint32_t i = 0; i < kNotesSweptAtOnce; ++i) {
    sluice_note_key key = {};
    if (bpf_map_get_next_key(notes, sweep_from_ ? &*sweep_from_ : nullptr, &key) != 0) {
      sweep_from_.reset();
      return;
    }
    sluice_note note = {};
    if (bpf_map_lookup_elem(notes, &key, &note) == 0 && note.connect_ktime_ns + kNoteAgeMaxNs < now) {
      bpf_map_delete_elem(notes, &key);
    }
    sweep_from_ = key;
  }
}

std::string LiveSteering::self_check() {
  sweep_notes();
  auto pinned = broker_ != nullptr ? broker_->look_at_pins() : Result<PinnedObjects>(look_at_pins(bpf_directory_));
  std::string wrong = pinned ? programs_->check(*pinned) : "the pins cannot be looked at: " + pinned.error().message;
  auto add = [&](const std::string& what) { wrong += (wrong.empty() ? "" : "; ") + what; };
  auto own = local_addresses();
  if (!own) {
    add(own.error().message);
  } else if (!same_addresses(*own, own_addresses_)) {
    Status put = put_endpoints(targets_, slots_, settings_->generation);
    if (!put) add("follow the host's addresses: " + put.error().message);
  }
  return wrong;
}

std::string LiveSteering::capability_line() const {
  utsname kernel = {};
  uname(&kernel);
  bool six = false;
  for (const Listener& listener : listeners_) six = six || listener.family == AF_INET6;
  std::string line = std::string("kernel ") + kernel.release + ": connect, name and sockops hooks attached";
  line += programs_->refuses_cleanly() ? ", refusals as ECONNREFUSED" : ", refusals as EPERM (no bpf_set_retval)";
  if (!listeners_.empty()) line += six ? ", IPv4 and IPv6 listeners" : ", IPv4 listener only (no IPv6 on loopback)";
  return line;
}

// Where nothing is pinned (a failed first start, or unloaded meanwhile) the lock's directory goes too: nothing is left.
LiveSteering::~LiveSteering() {
  if (access(bpf_directory_.c_str(), F_OK) != 0) lock_.release_and_remove();
}

// Removes what a daemon left that died in the middle of a commit.
Status remove_leftovers(const std::string& bpf_directory) {
  std::string old = replaced_directory(bpf_directory);
  // It died between two renames: the replaced pins are still the ones in force.
  if (access(bpf_directory.c_str(), F_OK) != 0 && access(old.c_str(), F_OK) == 0) {
    if (rename(old.c_str(), bpf_directory.c_str()) != 0) return fail_errno("rename " + old, errno);
  }
  int removed = 0;
  for (const std::string& directory : {staging_directory(bpf_directory), old}) {
    if (!remove_pins(directory, removed)) return fail_errno("remove " + directory, errno);
  }
  return {};
}

Result<std::unique_ptr<Steering>> start_locked(const SteeringOptions& options, PinLock lock) {
  bool left_something = access(options.bpf_directory.c_str(), F_OK) == 0;
  Status cleaned = remove_leftovers(options.bpf_directory);
  auto cgroup = cleaned ? open_cgroup(options.cgroup_path) : tl::unexpected(cleaned.error());
  auto programs = cgroup ? Programs::load(options.bpf_directory, std::move(*cgroup), options.notes_max)
                         : tl::unexpected(cgroup.error());
  if (!programs) {
    if (!left_something) lock.release_and_remove();
    return within("start steering", programs.error());
  }
  auto steering = std::make_unique<LiveSteering>(std::move(lock), std::move(*programs), options);
  if (Status prepared = steering->prepare(); !prepared) return within("start steering", prepared.error());
  return steering;
}

}  // namespace

Result<std::unique_ptr<Steering>> Steering::start(const SteeringOptions& options) {
  if (Status mounted = ensure_bpf_file_system(options.bpf_directory); !mounted)
    return within("start steering", mounted.error());
  auto lock = PinLock::take(options.bpf_directory);
  if (!lock) return within("start steering", lock.error());
  if (!*lock) return fail("start steering: " + PinLock::describe_holder(options.bpf_directory));
  return start_locked(options, std::move(**lock));
}

Result<Unloaded> unload(const SteeringOptions& options) {
  auto lock = PinLock::take(options.bpf_directory);  // a living daemon does not stop us: it will notice
  Unloaded unloaded;
  for (const std::string& directory :
       {options.bpf_directory, staging_directory(options.bpf_directory), replaced_directory(options.bpf_directory)}) {
    detach_links(directory);
    if (!remove_pins(directory, unloaded.removed)) return fail_errno("unload: remove " + directory, errno);
  }
  if (lock && *lock) (*lock)->release_and_remove();
  unloaded.daemon_lives = lock && !*lock;
  return unloaded;
}

Status attach_guard(const SteeringOptions& options, std::span<const SteeredTarget> targets) {
  if (Status mounted = ensure_bpf_file_system(options.bpf_directory); !mounted)
    return within("attach guard", mounted.error());
  auto lock = PinLock::take(options.bpf_directory);
  if (!lock) return within("attach guard", lock.error());
  if (!*lock) return {};  // a daemon runs: nothing to guard
  auto steering = start_locked(options, std::move(**lock));
  if (!steering) return within("attach guard", steering.error());
  if (Status set = (*steering)->set_targets(targets); !set) return within("attach guard", set.error());
  return {};
}

}  // namespace sluice::interception
