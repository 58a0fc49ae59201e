// Steering: the eBPF programs that lead connections to protected targets into this daemon, and the facts they note.
// One Steering per host; a second daemon is refused. Load, attach and pin are one transaction: on failure nothing is
// left behind.
// Threading: take_note(), exempt(), forget(), short_circuited() and heartbeat() may be called from any thread; the rest
// from the control thread. Children: a child process that is forked without exec holds the listeners and the lock (exec
// closes them). As long as it lives, the daemon's death is noticed by the heartbeat only, and a new daemon is refused.
// Fork helpers before start().
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/interception/acceleration.h"

namespace sluice::interception {

enum class WhenDown : uint8_t { deny, allow };

struct SteeredEndpoint {
  int family = AF_INET;      // AF_INET or AF_INET6
  uint8_t address[16] = {};  // network order
  uint8_t prefix_bits = 32;
  uint16_t port = 0;  // host order
};

struct SteeredTarget {
  std::string name;
  WhenDown when_down = WhenDown::deny;
  AccelerateWish accelerate = AccelerateWish::off;
  std::vector<SteeredEndpoint> endpoints;
};

// What the kernel noted at connect(): attested, not claimed.
struct ConnectNote {
  uint32_t target = 0;             // index into the targets last set
  uint64_t target_generation = 0;  // which set_targets() that index belongs to
  int32_t pid = 0;                 // tgid in the initial pid namespace
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t cgroup_id = 0;
  uint64_t netns_cookie = 0;
  uint64_t start_boottime_ns = 0;  // of the thread group leader
  uint64_t exec_id = 0;            // changes with each execve of the process
  int32_t parent_pid = 0;
  uint64_t exe_inode = 0;
  uint64_t exe_device = 0;         // as stat(2) shows it
  sockaddr_storage original = {};  // where the client wanted to go
  uint32_t bound_device = 0;       // interface index of the client's SO_BINDTODEVICE: the upstream socket needs it too
  uint64_t connect_ktime_ns = 0;   // CLOCK_MONOTONIC
};

struct TargetCounters {
  uint64_t connects = 0;  // seen by the hook = redirected + refused + exempt + uncovered
  uint64_t redirected = 0;
  uint64_t refused = 0;             // sum of the refused_* below
  uint64_t refused_down = 0;        // no daemon
  uint64_t refused_hung = 0;        // heartbeat older than 2 s
  uint64_t refused_namespace = 0;   // no listener in the client's network namespace
  uint64_t refused_notes_full = 0;  // too many connections wait to be accepted
  uint64_t refused_other = 0;       // the socket could not be prepared, or another eBPF program refused it
  uint64_t exempt = 0;
  uint64_t uncovered =
      0;  // let through while the daemon was down (when_down: allow), or from a namespace without listener
};

class KernelBroker;

struct SteeringOptions {
  std::string bpf_directory = "/sys/fs/bpf/sluice";
  std::string cgroup_path;     // empty: the cgroup v2 root, found in /proc/mounts (mounted where there is none)
  uint32_t notes_max = 16384;  // connections between SYN and accept; more are refused
  // Does what needs privileges after start() and the first set_targets(); null: this process itself has them. Outlives
  // the Steering.
  KernelBroker* broker = nullptr;
};

class Steering {
 public:
  // Loads, attaches and pins, or takes over what an earlier daemon pinned. Fails with a clear message where another
  // daemon lives.
  [[nodiscard]] static Result<std::unique_ptr<Steering>> start(const SteeringOptions& options);
  virtual ~Steering() = default;  // leaves everything pinned: the kernel decides by when_down

  // Replaces the set of targets; counters of targets that keep their name go on.
  [[nodiscard]] virtual Status set_targets(std::span<const SteeredTarget> targets) = 0;
  // Loads the short-circuit of local hops and tries it out, where one of the targets that are about to be set wants it;
  // what does not come to anything is unloaded again. Once, before the first set_targets() and before privileges are
  // given up. Never an error: without it everything goes by TCP.
  virtual const AccelerationReport& prepare_acceleration(std::span<const SteeredTarget> targets) = 0;
  [[nodiscard]] virtual const AccelerationReport& acceleration() const = 0;
  // Whether bytes of one of these connections of ours go past TCP right now. Any thread.
  [[nodiscard]] virtual bool short_circuited(int client_fd, int server_fd) const = 0;
  // For the transport of a connection of ours (io::ShortCircuit): null where nothing is short-circuited, else a number
  // in memory that changes when the transport has to look closer; and whether its next write should wait. Any thread.
  [[nodiscard]] virtual const uint64_t* short_circuit_notices(int fd) const = 0;
  [[nodiscard]] virtual bool reader_lags(int fd, uint64_t& seen) const = 0;
  // Number of the set in force, as ConnectNote::target_generation carries it. Grows with each set_targets(), across
  // restarts too.
  [[nodiscard]] virtual uint64_t target_generation() const = 0;
  // Opens the listening sockets that redirected connections reach (127.64.0.0/16 and ::1), non-blocking, close-on-exec.
  // Steering keeps them registered; the fds are for the acceptor's epoll.
  [[nodiscard]] virtual Result<std::vector<int>> open_listeners() = 0;
  // Registers them: from now on connects are redirected. Removed by the kernel when the process dies.
  [[nodiscard]] virtual Status go_live() = 0;
  // Deregisters them: from now on when_down decides. For a graceful stop.
  virtual void stop() = 0;
  // Says that the daemon is alive; when it is older than 2 s, when_down decides. Called every 250 ms by a thread that
  // watches the workers.
  virtual void heartbeat() = 0;
  // Takes the note of an accepted connection. Empty: nobody was steered here; reset it.
  [[nodiscard]] virtual std::optional<ConnectNote> take_note(int accepted_fd) = 0;
  // Registers one of our own upstream sockets before its connect(); forget() after.
  [[nodiscard]] virtual Status exempt(int fd) = 0;
  virtual void forget(int fd) = 0;
  // Whether a socket of our own namespace is registered so, by its SO_COOKIE.
  [[nodiscard]] virtual bool is_exempt(uint64_t socket_cookie) const = 0;
  [[nodiscard]] virtual std::vector<TargetCounters> counters() = 0;  // by target, in the order of set_targets()
  // Empty where all links are attached and unchanged; else what is wrong, for an event. Also follows changes of the
  // host's own addresses and removes notes that nobody came for. Called once a second.
  [[nodiscard]] virtual std::string self_check() = 0;
  // One line for the log at start.
  [[nodiscard]] virtual std::string capability_line() const = 0;
  // Whether this process may go on using the maps with the capabilities that act now. Asked before they are given up.
  [[nodiscard]] virtual bool works_with_present_capabilities() const = 0;
};

// Detaches and unpins everything, also without a daemon, and under a living one (whose self_check() then says so).
// A daemon that lives keeps its lock, an empty directory beside the pins; the next call without one removes that too.
struct Unloaded {
  int removed = 0;  // links and maps
  bool daemon_lives = false;
};
[[nodiscard]] Result<Unloaded> unload(const SteeringOptions& options);
// For the boot guard: attach with targets in their when_down state, without a daemon. Where a daemon runs already there
// is nothing to guard, and that is a success.
[[nodiscard]] Status attach_guard(const SteeringOptions& options, std::span<const SteeredTarget> targets);

}  // namespace sluice::interception
