#include "daemon/identity/resolver.h"

#include <grp.h>
#include <openssl/evp.h>
#include <pwd.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "daemon/identity/proc_reader.h"

namespace sluice::identity {
namespace {

constexpr size_t kNameBufferBytes = 64 * 1024;
constexpr size_t kHashChunkBytes = 256 * 1024;

class SystemNames final : public NameService {
 public:
  std::string user_name(int64_t uid) override {
    std::vector<char> buffer(kNameBufferBytes);
    passwd entry{};
    passwd* found = nullptr;
    if (getpwuid_r(static_cast<uid_t>(uid), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
      return {};
    return found->pw_name;
  }
  std::string group_name(int64_t gid) override {
    std::vector<char> buffer(kNameBufferBytes);
    group entry{};
    group* found = nullptr;
    if (getgrgid_r(static_cast<gid_t>(gid), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
      return {};
    return found->gr_name;
  }
};

// Lower-case hex; empty where the file is too large or cannot be read.
std::string sha256_of_file(int fd, uint64_t size) {
  if (fd < 0 || size > Resolver::kHashBytesMax) return {};
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (context == nullptr || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) return {};
  std::vector<unsigned char> chunk(kHashChunkBytes);
  for (uint64_t at = 0;;) {
    const ssize_t got = pread(fd, chunk.data(), chunk.size(), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 || at > Resolver::kHashBytesMax) return {};
    if (got == 0) break;
    if (EVP_DigestUpdate(context.get(), chunk.data(), static_cast<size_t>(got)) != 1) return {};
    at += static_cast<uint64_t>(got);
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  if (EVP_DigestFinal_ex(context.get(), digest, &length) != 1) return {};
  static constexpr char kHex[] = "0123456789abcdef";
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) {
    hex.push_back(kHex[digest[i] >> 4]);
    hex.push_back(kHex[digest[i] & 15]);
  }
  return hex;
}

void set_cgroup(policies::AttestedIdentity& identity, const std::string& cgroup) {
  identity.cgroup = cgroup;
  identity.unit = unit_of(cgroup);
  identity.container = container_of(cgroup);
}

template <typename Map>
void make_room(Map& map) {
  // Entries are few on any real host; a full cache starts again rather than keeping an order for eviction.
  if (map.size() >= Resolver::kCacheEntriesMax) map.clear();
}

}  // namespace

NameService& system_names() {
  static SystemNames names;
  return names;
}

Resolver::Resolver(std::unique_ptr<ProcessLookup> lookup, NameService& names, const Clock& clock)
    : lookup_(std::move(lookup)), names_(names), clock_(clock) {}

Status Resolver::start() {
  auto thread = Thread::start("identity", kSmallStackBytes, [this] { run(); });
  if (!thread) return tl::unexpected(thread.error());
  thread_ = std::move(*thread);
  return {};
}

Resolver::~Resolver() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  thread_.join();
}

Taken Resolver::resolve(const ProcessFacts& facts, Done done) {
  policies::AttestedIdentity identity;
  identity.pid = facts.pid;
  identity.uid = facts.uid;
  identity.gid = facts.gid;
  const CgroupPath cgroup = fill_cgroup(identity, facts) ? CgroupPath::known : CgroupPath::wanted;
  if (cgroup == CgroupPath::known && fill_from_process(identity, facts)) {
    done(std::move(identity));
    return Taken::yes;
  }
  auto look = lookup_->look(facts, cgroup);
  if (!look.has_value()) return Taken::nobody_to_ask;
  if (cgroup == CgroupPath::wanted) keep_cgroup(identity, facts, std::move(look->cgroup));
  if (fill_from_process(identity, facts)) {
    done(std::move(identity));
    return Taken::yes;
  }
  std::optional<Executable> exe = std::move(look->executable);
  if (exe.has_value()) identity.exe = exe->path;
  if (fill_from_caches(identity, exe)) {
    if (exe.has_value()) keep_process(identity, facts);
    done(std::move(identity));
    return Taken::yes;
  }
  {
    const std::lock_guard lock(mutex_);
    if (queue_.size() >= kQueueMax || stopping_) return Taken::too_many_wait;
    queue_.push_back({std::move(identity), std::move(exe), std::move(done)});
  }
  work_.notify_one();
  return Taken::yes;
}

// True where it is known from an earlier connection.
bool Resolver::fill_cgroup(policies::AttestedIdentity& identity, const ProcessFacts& facts) {
  if (facts.cgroup_id == 0) return false;
  const std::lock_guard lock(mutex_);
  const auto found = cgroups_.find(facts.cgroup_id);
  if (found == cgroups_.end()) return false;
  set_cgroup(identity, found->second);
  return true;
}

void Resolver::keep_cgroup(policies::AttestedIdentity& identity, const ProcessFacts& facts, std::string cgroup) {
  set_cgroup(identity, cgroup);
  if (cgroup.empty() || facts.cgroup_id == 0) return;
  const std::lock_guard lock(mutex_);
  make_room(cgroups_);
  cgroups_.emplace(facts.cgroup_id, std::move(cgroup));  // ids are not used again, and a v2 cgroup cannot be renamed
}

// True where the program of this process was read a moment ago and the names are known too. Without the executable's
// inode in the note there is nothing that would show an exec in between.
bool Resolver::fill_from_process(policies::AttestedIdentity& identity, const ProcessFacts& facts) {
  if (facts.exe_inode == 0 || facts.start_boottime_ns == 0) return false;
  {
    const std::lock_guard lock(mutex_);
    const auto found = processes_.find({facts.pid, facts.start_boottime_ns, facts.exe_inode, facts.exe_device});
    if (found == processes_.end() || clock_.monotonic_ms() - found->second.known_ms > kProcessTtlMs) return false;
    identity.exe = found->second.exe;
    identity.exe_sha256 = found->second.exe_sha256;
  }
  return fill_from_caches(identity, std::nullopt);
}

void Resolver::keep_process(const policies::AttestedIdentity& identity, const ProcessFacts& facts) {
  const std::lock_guard lock(mutex_);
  make_room(processes_);
  processes_[{facts.pid, facts.start_boottime_ns, facts.exe_inode, facts.exe_device}] = {
      identity.exe, identity.exe_sha256, clock_.monotonic_ms()};
}

// True where nothing is missing.
bool Resolver::fill_from_caches(policies::AttestedIdentity& identity, const std::optional<Executable>& exe) {
  const uint64_t now = clock_.monotonic_ms();
  const std::lock_guard lock(mutex_);
  const auto fresh = [now](const std::unordered_map<int64_t, Name>& map, int64_t id, std::string& name) {
    const auto found = map.find(id);
    if (found == map.end() || now - found->second.known_ms > kNameTtlMs) return false;
    name = found->second.name;
    return true;
  };
  bool all = fresh(users_, identity.uid, identity.user);
  all = fresh(groups_, identity.gid, identity.group) && all;
  if (exe.has_value()) {
    const auto found = hashes_.find(exe->stamp);
    if (found == hashes_.end()) return false;
    identity.exe_sha256 = found->second;
  }
  return all;
}

void Resolver::fill_slowly(policies::AttestedIdentity& identity, const std::optional<Executable>& exe) {
  if (fill_from_caches(identity, exe)) return;  // somebody before us asked for the same
  std::string user = names_.user_name(identity.uid);
  std::string group = names_.group_name(identity.gid);
  std::string hash = identity.exe_sha256;
  if (exe.has_value() && hash.empty()) hash = sha256_of_file(exe->file.get(), exe->stamp.size);
  const uint64_t now = clock_.monotonic_ms();
  const std::lock_guard lock(mutex_);
  make_room(users_);
  make_room(groups_);
  users_[identity.uid] = {user, now};
  groups_[identity.gid] = {group, now};
  if (exe.has_value()) {
    make_room(hashes_);
    hashes_[exe->stamp] = hash;
  }
  identity.user = std::move(user);
  identity.group = std::move(group);
  identity.exe_sha256 = std::move(hash);
}

void Resolver::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;  // stopping, and nobody waits
    Waiting next = std::move(queue_.front());
    queue_.pop_front();
    const bool hurry = stopping_;
    lock.unlock();
    if (!hurry) fill_slowly(next.identity, next.exe);
    next.done(std::move(next.identity));
    lock.lock();
  }
}

}  // namespace sluice::identity
