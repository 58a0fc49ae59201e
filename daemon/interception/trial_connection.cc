#include "daemon/interception/trial_connection.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <memory>
#include <utility>
#include <vector>

namespace sluice::interception {
namespace {

// Steering of the trial's own, pinned in a directory of its own; both are gone with it.
class TrialSteering {
 public:
  static Result<std::unique_ptr<TrialSteering>> start(TrialHost& host) {
    if (host.cgroup().empty()) return fail(host.why_not());
    SteeringOptions options;
    options.bpf_directory = host.pin_directory();
    options.cgroup_path = host.cgroup();
    auto trial = std::make_unique<TrialSteering>(options);
    auto steering = Steering::start(options);
    if (!steering) return tl::unexpected(steering.error());
    trial->steering_ = std::move(*steering);
    SteeredTarget target;
    target.name = "trial";
    SteeredEndpoint four;
    four.address[0] = 127;
    four.address[3] = 1;
    four.port = kTrialPort;
    SteeredEndpoint six;
    six.family = AF_INET6;
    six.address[15] = 1;
    six.prefix_bits = 128;
    six.port = kTrialPort;
    target.endpoints = {four, six};
    if (Status set = trial->steering_->set_targets({&target, 1}); !set) return tl::unexpected(set.error());
    auto listeners = trial->steering_->open_listeners();
    if (!listeners) return tl::unexpected(listeners.error());
    trial->listeners_ = std::move(*listeners);
    if (Status live = trial->steering_->go_live(); !live) return tl::unexpected(live.error());
    return trial;
  }
  explicit TrialSteering(SteeringOptions options) : options_(std::move(options)) {}
  ~TrialSteering() {
    steering_.reset();
    // What could not be taken away is in the way of the next trial, which then says so.
    [[maybe_unused]] const auto removed = unload(options_);
  }
  Steering& steering() { return *steering_; }
  [[nodiscard]] const std::vector<int>& listeners() const { return listeners_; }
  void daemon_goes() { steering_.reset(); }

 private:
  SteeringOptions options_;
  std::unique_ptr<Steering> steering_;
  std::vector<int> listeners_;
};

// Forks a client into the trial cgroup.
Result<pid_t> start_client(const TrialHost& host, ConnectWay way) {
  const pid_t client = fork();
  if (client < 0) return fail_errno("fork", errno);
  if (client > 0) return client;
  // Before the socket is made: hooks run by the cgroup in which a socket was created.
  std::ofstream(host.cgroup() + "/cgroup.procs") << getpid() << std::flush;
  _exit(way());
}

int status_of(pid_t client) {
  int status = 0;
  while (waitpid(client, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

// The connection that came to one of the listeners; invalid where none came in time.
UniqueFd accept_one(const std::vector<int>& listeners) {
  std::vector<pollfd> waits;
  waits.reserve(listeners.size());
  for (const int fd : listeners) waits.push_back({fd, POLLIN, 0});
  if (poll(waits.data(), waits.size(), kTrialPatienceMs) < 1) return {};
  for (const pollfd& wait : waits) {
    if ((wait.revents & POLLIN) != 0) return UniqueFd(accept4(wait.fd, nullptr, nullptr, SOCK_CLOEXEC));
  }
  return {};
}

}  // namespace

int connect_plainly() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(kTrialPort);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0 ? 0 : errno;
}

Result<TrialConnection> connect_steered(TrialHost& host, ConnectWay way, bool& not_possible) {
  not_possible = false;
  auto trial = TrialSteering::start(host);
  if (!trial) return tl::unexpected(trial.error());
  const auto client = start_client(host, way);
  if (!client) return tl::unexpected(client.error());
  // A client that failed never arrives: its end is waited for first, and what it connected stays in the queue.
  siginfo_t ended = {};
  while (waitid(P_PID, static_cast<id_t>(*client), &ended, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  TrialConnection result;
  result.child = *client;
  std::ifstream stat("/proc/" + std::to_string(*client) + "/stat");
  std::getline(stat, result.stat);
  const int failed = status_of(*client);
  if (failed == kTrialNotPossible) {
    not_possible = true;
    return fail("this kernel has no such socket");
  }
  if (failed != 0) return fail("connect: " + error_text(failed));
  const UniqueFd accepted = accept_one((*trial)->listeners());
  if (!accepted.valid()) return fail("the connection did not arrive");
  const auto note = (*trial)->steering().take_note(accepted.get());
  if (!note) return fail("the connection arrived without a note");
  if (note->pid != *client) return fail("the note names process " + std::to_string(note->pid) + " instead");
  result.note = *note;
  result.capabilities = (*trial)->steering().capability_line();
  return result;
}

Result<int> connect_without_daemon(TrialHost& host) {
  auto trial = TrialSteering::start(host);
  if (!trial) return tl::unexpected(trial.error());
  (*trial)->daemon_goes();
  const auto client = start_client(host, connect_plainly);
  if (!client) return tl::unexpected(client.error());
  return status_of(*client);
}

}  // namespace sluice::interception
