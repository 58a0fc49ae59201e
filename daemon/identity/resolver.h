// Turns what the kernel noted at connect() into the identity that policy and the record see. What can be had at once
// (caches, /proc) is answered on the caller's thread; what may wait (name services, hashing a large executable) goes to
// a thread of its own while the session waits, so that no worker and no other connection does.
//
// What cannot be resolved stays empty: an empty field matches no allow rule. The numbers (pid, uid, gid) are the
// kernel's own and are always there. Where nobody can be asked any more (the helper is gone), nobody is resolved.
// Threading: resolve() from the acceptor's thread. Lifetime: the destructor answers what waits with what is known and
// joins. Limits: kCacheEntriesMax per cache, kQueueMax waiting, kHashBytesMax of one executable, kNameTtlMs for names.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "daemon/base/clock.h"
#include "daemon/base/thread.h"
#include "daemon/identity/process_lookup.h"
#include "policies/rules/facts.h"

namespace sluice::identity {

// Names of users and groups; may block for as long as the host's name services do.
class NameService {
 public:
  virtual ~NameService() = default;
  [[nodiscard]] virtual std::string user_name(int64_t uid) = 0;  // empty where there is none
  [[nodiscard]] virtual std::string group_name(int64_t gid) = 0;
};
[[nodiscard]] NameService& system_names();  // getpwuid_r, getgrgid_r

// What became of a question.
enum class Taken : uint8_t { yes, too_many_wait, nobody_to_ask };

class Resolver {
 public:
  static constexpr size_t kCacheEntriesMax = 4096;
  static constexpr size_t kQueueMax = 4096;
  static constexpr uint64_t kNameTtlMs = 60'000;
  // A process that connects again and again is read from /proc this often; a file deleted under it shows so much later.
  static constexpr uint64_t kProcessTtlMs = 1'000;
  static constexpr uint64_t kHashBytesMax = 512u << 20;

  using Done = std::function<void(policies::AttestedIdentity)>;

  Resolver(std::unique_ptr<ProcessLookup> lookup, NameService& names, const Clock& clock);
  ~Resolver();
  [[nodiscard]] Status start();

  // Calls `done` once: on this thread before it returns, or on the resolver's own thread; not where it is refused.
  [[nodiscard]] Taken resolve(const ProcessFacts& facts, Done done);

 private:
  struct Name {
    std::string name;
    uint64_t known_ms = 0;
  };
  // A process, and which program it runs: the kernel notes both at every connect, so another process with the same
  // number, or another program in the same process, is another key.
  struct ProcessKey {
    int64_t pid = -1;
    uint64_t start_boottime_ns = 0, exe_inode = 0, exe_device = 0;
    bool operator==(const ProcessKey&) const = default;
  };
  struct ProcessHash {
    size_t operator()(const ProcessKey& key) const {
      return static_cast<size_t>(key.pid) * 0x9e3779b97f4a7c15 ^ key.start_boottime_ns ^ key.exe_inode;
    }
  };
  struct Process {
    std::string exe, exe_sha256;
    uint64_t known_ms = 0;
  };
  struct StampHash {
    size_t operator()(const FileStamp& stamp) const {
      return stamp.inode * 0x9e3779b97f4a7c15 ^ stamp.device ^ static_cast<size_t>(stamp.changed_ns);
    }
  };
  struct Waiting {
    policies::AttestedIdentity identity;
    std::optional<Executable> exe;
    Done done;
  };

  [[nodiscard]] bool fill_cgroup(policies::AttestedIdentity& identity, const ProcessFacts& facts);
  void keep_cgroup(policies::AttestedIdentity& identity, const ProcessFacts& facts, std::string cgroup);
  [[nodiscard]] bool fill_from_process(policies::AttestedIdentity& identity, const ProcessFacts& facts);
  void keep_process(const policies::AttestedIdentity& identity, const ProcessFacts& facts);
  [[nodiscard]] bool fill_from_caches(policies::AttestedIdentity& identity, const std::optional<Executable>& exe);
  void fill_slowly(policies::AttestedIdentity& identity, const std::optional<Executable>& exe);
  void run();

  const std::unique_ptr<ProcessLookup> lookup_;
  NameService& names_;
  const Clock& clock_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable work_;
  std::deque<Waiting> queue_;
  std::unordered_map<int64_t, Name> users_, groups_;
  std::unordered_map<FileStamp, std::string, StampHash> hashes_;
  std::unordered_map<ProcessKey, Process, ProcessHash> processes_;
  std::unordered_map<uint64_t, std::string> cgroups_;  // by cgroup id
  bool stopping_ = false;
  Thread thread_;
};

}  // namespace sluice::identity
