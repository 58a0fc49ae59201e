// Connections to protected targets that go past Sluice: open since before it started, or let through while it was down.
// Whatever leads to a target's address and is not one of the daemon's own upstream sockets is one; steered connections
// lead to the daemon's listeners, so they cannot be mistaken for it. The daemon's own namespace is read through
// sock_diag, others through /proc/PID/net. Processes are looked up only where there is something to
// report. Any thread; a look costs time in proportion to the connections of the host.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/interception/steering.h"
#include "daemon/interception/tcp_sockets.h"

namespace sluice::interception {

inline constexpr size_t kNamespacesMax = 1024;   // network namespaces looked at
inline constexpr size_t kUncoveredMax = 16'384;  // connections reported

struct SocketHolder {
  int32_t pid = 0;
  std::string exe;
};

struct UncoveredConnection {
  uint32_t target = 0;  // index into the targets given
  TcpSocket socket;
  bool own_namespace = true;  // only there can it be ended
  SocketHolder holder;        // a process that holds it; pid 0 where none was found
};

// What it takes to see other users' processes and to end their connections. The daemon has given up its privileges when
// it looks, so a helper does these four things for it.
class SocketBroker {
 public:
  virtual ~SocketBroker() = default;
  // One process of each network namespace but our own.
  [[nodiscard]] virtual std::vector<int32_t> namespace_members() = 0;
  // A process that holds each of these sockets, by inode; 0 where none was found.
  [[nodiscard]] virtual std::vector<int32_t> holders_of(std::span<const uint64_t> inodes) = 0;
  [[nodiscard]] virtual std::string executable_of(int32_t pid) = 0;
  // 0 or an errno, as destroyed() reads it.
  [[nodiscard]] virtual int destroy(const TcpSocket& socket) = 0;
};

// By this process itself. A search ends after kSearchMs, with what it has found by then.
inline constexpr int kSearchMs = 1'000;
inline constexpr size_t kHoldersAskedMax = 1'024;
[[nodiscard]] std::vector<int32_t> namespace_members(const std::string& proc);
[[nodiscard]] std::vector<int32_t> holders_of(const std::string& proc, std::span<const uint64_t> inodes);

struct UncoveredSearch {
  std::span<const SteeredTarget> targets;
  // True for the daemon's own upstream sockets, by SO_COOKIE.
  std::function<bool(uint64_t cookie)> is_own;
  std::string cgroup_path;  // where steering is attached; empty: the root, so everything counts
  std::string proc = "/proc";
  // Who holds what was found before, by inode: not asked for again.
  const std::map<uint64_t, SocketHolder>* known = nullptr;
};

[[nodiscard]] Result<std::vector<UncoveredConnection>> find_uncovered(const UncoveredSearch& search,
                                                                      SocketBroker& broker);

}  // namespace sluice::interception
