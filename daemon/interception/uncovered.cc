#include "daemon/interception/uncovered.h"

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "bpf/abi.h"
#include "daemon/interception/endpoint_table.h"
#include "daemon/interception/host.h"

namespace sluice::interception {
namespace {

// The target of a destination by the same table that the kernel's trie is filled from: the longest prefix wins.
class TargetTrie {
 public:
  explicit TargetTrie(const std::vector<EndpointEntry>& entries) {
    for (const EndpointEntry& entry : entries) by_port_[ntohs(entry.key.port_be)].push_back(entry);
    for (auto& [port, list] : by_port_) {
      std::stable_sort(list.begin(), list.end(),
                       [](const auto& a, const auto& b) { return a.key.prefix_bits > b.key.prefix_bits; });
    }
  }
  [[nodiscard]] std::optional<uint32_t> find(const SteeredEndpoint& destination) const {
    const auto found = by_port_.find(destination.port);
    if (found == by_port_.end()) return std::nullopt;
    const uint16_t family = destination.family == AF_INET ? SLUICE_IPV4 : SLUICE_IPV6;
    for (const EndpointEntry& entry : found->second) {
      if (entry.key.family == family && matches(entry.key, destination.address)) return entry.value.target;
    }
    return std::nullopt;
  }

 private:
  static bool matches(const sluice_endpoint_key& key, const uint8_t* address) {
    const uint32_t bits = key.prefix_bits - SLUICE_ENDPOINT_KEY_BITS;
    const auto* prefix = reinterpret_cast<const uint8_t*>(key.address);
    if (std::memcmp(prefix, address, bits / 8) != 0) return false;
    if (bits % 8 == 0) return true;
    const auto mask = static_cast<uint8_t>(0xff << (8 - bits % 8));
    return (prefix[bits / 8] & mask) == (address[bits / 8] & mask);
  }
  std::map<uint16_t, std::vector<EndpointEntry>> by_port_;
};

using Directory = std::unique_ptr<DIR, int (*)(DIR*)>;

Directory open_directory(const std::string& path) {
  return {::opendir(path.c_str()), ::closedir};
}

std::optional<int32_t> pid_of(const char* name) {
  int32_t pid = 0;
  const char* const end = name + std::strlen(name);
  if (std::from_chars(name, end, pid).ptr != end || pid <= 0) return std::nullopt;
  return pid;
}

std::string read_link(const std::string& path) {
  char text[PATH_MAX];
  const ssize_t length = ::readlink(path.c_str(), text, sizeof text);
  return length > 0 ? std::string(text, static_cast<size_t>(length)) : std::string();
}

// Ids of a cgroup and of all below it.
std::unordered_set<uint64_t> cgroup_ids_below(const std::string& path) {
  std::unordered_set<uint64_t> ids;
  struct stat info = {};
  if (::stat(path.c_str(), &info) == 0) ids.insert(info.st_ino);
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    if (it->is_directory(error) && ::stat(it->path().c_str(), &info) == 0) ids.insert(info.st_ino);
  }
  return ids;
}

// Says when a search has taken long enough.
class Deadline {
 public:
  [[nodiscard]] bool passed() const { return std::chrono::steady_clock::now() > at_; }

 private:
  const std::chrono::steady_clock::time_point at_ =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(kSearchMs);
};

// Asks for those that are not known yet, and fills all in.
void find_holders(const UncoveredSearch& search, SocketBroker& broker, std::vector<UncoveredConnection>& connections) {
  std::vector<uint64_t> inodes;
  std::vector<UncoveredConnection*> asked;
  for (UncoveredConnection& connection : connections) {
    const auto known =
        search.known == nullptr ? decltype(search.known->end()){} : search.known->find(connection.socket.inode);
    if (search.known != nullptr && known != search.known->end()) {
      connection.holder = known->second;
    } else if (inodes.size() < kHoldersAskedMax) {
      inodes.push_back(connection.socket.inode);
      asked.push_back(&connection);
    }
  }
  if (inodes.empty()) return;
  const std::vector<int32_t> pids = broker.holders_of(inodes);
  for (size_t i = 0; i < asked.size() && i < pids.size(); ++i) {
    asked[i]->holder.pid = pids[i];
    if (pids[i] != 0) asked[i]->holder.exe = broker.executable_of(pids[i]);
  }
}

// Of a socket whose cgroup the list did not tell: that of the process that holds it, "0::/path".
bool holder_is_below(const std::string& proc, int32_t pid, const std::string& cgroup_path) {
  const std::string root = find_cgroup_root();
  if (pid == 0 || root.empty() || cgroup_path.compare(0, root.size(), root) != 0) return false;
  const std::string wanted = cgroup_path.substr(root.size());
  std::ifstream lines(proc + "/" + std::to_string(pid) + "/cgroup");
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("0::", 0) == 0) return (line.substr(3) + "/").rfind(wanted + "/", 0) == 0;
  }
  return false;
}

}  // namespace

std::vector<int32_t> namespace_members(const std::string& proc) {
  struct stat info = {};
  std::vector<int32_t> members;
  if (::stat((proc + "/self/ns/net").c_str(), &info) != 0) return members;
  std::unordered_set<uint64_t> seen = {info.st_ino};
  const Directory list = open_directory(proc);
  if (list == nullptr) return members;
  const Deadline deadline;
  while (const dirent* const entry = ::readdir(list.get())) {
    const auto pid = pid_of(entry->d_name);
    if (!pid) continue;
    if (members.size() >= kNamespacesMax || deadline.passed()) break;
    if (::stat((proc + "/" + entry->d_name + "/ns/net").c_str(), &info) == 0 && seen.insert(info.st_ino).second)
      members.push_back(*pid);
  }
  return members;
}

std::vector<int32_t> holders_of(const std::string& proc, std::span<const uint64_t> inodes) {
  std::unordered_multimap<uint64_t, size_t> wanted;
  for (size_t i = 0; i < inodes.size(); ++i) wanted.emplace(inodes[i], i);
  std::vector<int32_t> holders(inodes.size(), 0);
  size_t missing = inodes.size();
  const Directory list = open_directory(proc);
  if (list == nullptr) return holders;
  const Deadline deadline;
  while (const dirent* const entry = ::readdir(list.get())) {
    const auto pid = pid_of(entry->d_name);
    if (!pid) continue;
    if (missing == 0 || deadline.passed()) break;
    const std::string process = proc + "/" + entry->d_name;
    const Directory descriptors = open_directory(process + "/fd");
    if (descriptors == nullptr) continue;
    while (const dirent* const descriptor = ::readdir(descriptors.get())) {
      const std::string link = read_link(process + "/fd/" + descriptor->d_name);
      constexpr std::string_view kSocket = "socket:[";
      if (link.compare(0, kSocket.size(), kSocket) != 0) continue;
      uint64_t inode = 0;
      std::from_chars(link.data() + kSocket.size(), link.data() + link.size(), inode);
      const auto [first, last] = wanted.equal_range(inode);
      for (auto it = first; it != last; ++it) {
        if (holders[it->second] != 0) continue;  // held by several; one is named
        holders[it->second] = *pid;
        --missing;
      }
    }
  }
  return holders;
}

Result<std::vector<UncoveredConnection>> find_uncovered(const UncoveredSearch& search, SocketBroker& broker) {
  auto own_addresses = local_addresses();
  if (!own_addresses) return tl::unexpected(own_addresses.error());
  auto here_entries = build_endpoint_table(search.targets, *own_addresses);
  if (!here_entries) return tl::unexpected(here_entries.error());
  const TargetTrie here(*here_entries);
  auto sockets = list_tcp_sockets();
  if (!sockets) return tl::unexpected(sockets.error());
  std::vector<UncoveredConnection> found;
  const bool everything = search.cgroup_path.empty();
  const auto cgroups = everything ? std::unordered_set<uint64_t>{} : cgroup_ids_below(search.cgroup_path);
  const auto add = [&](const TargetTrie& trie, const TcpSocket& socket, bool own_namespace) {
    const auto target = trie.find(socket.remote);
    if (!target || found.size() >= kUncoveredMax) return;
    if (own_namespace && !everything && cgroups.count(socket.cgroup_id) == 0) return;
    if (own_namespace && search.is_own(socket.cookie)) return;
    found.push_back({*target, socket, own_namespace, {}});
  };
  for (const TcpSocket& socket : *sockets) add(here, socket, true);

  // Elsewhere an address of this host means another one: no aliases.
  auto there_entries = build_endpoint_table(search.targets, {});
  if (!there_entries) return tl::unexpected(there_entries.error());
  const TargetTrie there(*there_entries);
  for (const int32_t pid : broker.namespace_members()) {
    auto list = list_tcp_sockets_of(search.proc + "/" + std::to_string(pid) + "/net");
    if (!list) continue;  // its last process has ended meanwhile
    for (const TcpSocket& socket : *list) add(there, socket, false);
  }
  if (found.empty()) return found;
  find_holders(search, broker, found);
  // What nobody holds may have been closed since the list was made.
  std::unordered_set<uint64_t> still_there;
  if (std::any_of(found.begin(), found.end(),
                  [](const auto& one) { return one.own_namespace && one.holder.pid == 0; })) {
    sockets = list_tcp_sockets();
    if (!sockets) return tl::unexpected(sockets.error());
    for (const TcpSocket& socket : *sockets) still_there.insert(socket.cookie);
  }
  const auto is_not_ours = [&](const UncoveredConnection& one) {
    // An upstream socket that was forgotten just now, before it is closed.
    if (one.holder.pid == ::getpid()) return true;
    if (one.own_namespace && one.holder.pid == 0 && still_there.count(one.socket.cookie) == 0) return true;
    return !one.own_namespace && !everything && !holder_is_below(search.proc, one.holder.pid, search.cgroup_path);
  };
  found.erase(std::remove_if(found.begin(), found.end(), is_not_ours), found.end());
  return found;
}

}  // namespace sluice::interception
