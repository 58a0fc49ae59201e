// What the daemon has its helper do once it has given up root: the closed list of requests, on both sides. Everything
// that needs a privilege after start is here, and nothing else is.
//
//   a process       who runs, from which file, in which cgroup (other users' /proc/PID/exe)
//   a path          what the caller of the control socket runs
//   a file          the configuration file and the policies of the start, to be read again
//   an endpoint map a new, empty one: making a map takes CAP_BPF
//   the pins        whether they still stand
//   sockets         which processes hold them, and one process of each network namespace (other users' /proc/PID)
//   a connection    to a port of a target, to be ended (CAP_NET_ADMIN)
//
// The helper believes none of it: sizes are checked, and a path must be one of those that were configured when it was
// forked. Lifetime: start() before the first thread and before root is given up; what it hands out must not outlive it.
// Threading: any thread, one request at a time; an answer takes tens of microseconds.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>

#include "daemon/base/result.h"
#include "daemon/config/config.h"
#include "daemon/identity/process_lookup.h"
#include "daemon/interception/kernel_broker.h"
#include "daemon/interception/uncovered.h"
#include "daemon/privilege/helper.h"

namespace sluice {

class PrivilegedWork final : public interception::KernelBroker, public interception::SocketBroker {
 public:
  [[nodiscard]] static Result<std::unique_ptr<PrivilegedWork>> start(const config::Config& config);

  [[nodiscard]] privilege::Helper& helper() { return *helper_; }

  [[nodiscard]] Result<UniqueFd> make_endpoint_map() override;
  [[nodiscard]] Result<interception::PinnedObjects> look_at_pins() override;

  [[nodiscard]] std::unique_ptr<identity::ProcessLookup> process_lookup();
  [[nodiscard]] std::string executable_path(pid_t pid);  // empty where it cannot be told
  [[nodiscard]] std::vector<int32_t> namespace_members() override;
  [[nodiscard]] std::vector<int32_t> holders_of(std::span<const uint64_t> inodes) override;
  [[nodiscard]] std::string executable_of(int32_t pid) override { return executable_path(pid); }
  [[nodiscard]] int destroy(const interception::TcpSocket& socket) override;
  // A descriptor or a negated errno, as policies::FileOpener wants it. By this process where it may, else by the
  // helper.
  [[nodiscard]] int open_to_read(const std::string& path);

 private:
  explicit PrivilegedWork(std::unique_ptr<privilege::Helper> helper) : helper_(std::move(helper)) {}
  std::unique_ptr<privilege::Helper> helper_;
};

// The helper's side, apart from the process that it runs in; for start() and for tests.
[[nodiscard]] privilege::HelperHandler make_helper_handler(const config::Config& config);
enum class HelperRequest : uint32_t {
  look_at_process = 1,
  executable_path,
  open_file,
  make_endpoint_map,
  look_at_pins,
  namespace_members,
  socket_holders,
  end_connection
};

// Numbers of a look at a process, as they are sent; followed by the two paths.
struct ProcessQuestion {
  identity::ProcessFacts facts;
  uint64_t wants_cgroup = 0;
};
struct ProcessAnswer {
  uint64_t has_executable = 0;
  identity::FileStamp stamp;
  uint32_t path_bytes = 0;
  uint32_t cgroup_bytes = 0;
};

// The connection to be ended; a flag is a number here, for what comes may be any bytes.
struct EndQuestion {
  interception::SteeredEndpoint local;
  interception::SteeredEndpoint remote;
  uint64_t cookie = 0;
  uint32_t interface = 0;
  uint32_t mapped = 0;
};

}  // namespace sluice
