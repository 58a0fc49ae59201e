// `sluice try -- COMMAND`: a daemon of its own, steering attached to one new cgroup, COMMAND in that cgroup; then what
// was seen. Three processes besides COMMAND:
//
//   this one   runs COMMAND, waits for it, passes signals on, prints the summary
//   keeper     in a session of its own, so that neither Ctrl-C nor a kill of this process group reaches it; starts the
//              daemon, and removes everything once this process is gone, however that happened
//   daemon     the one that `sluice run` would be, with other directories
//
// Should the keeper be killed too, the next `sluice try` removes what is left (try_scratch.h).
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "daemon/cli/commands.h"
#include "daemon/cli/table.h"
#include "daemon/cli/try_scratch.h"
#include "daemon/cli/try_summary.h"
#include "daemon/config/problem_format.h"
#include "daemon/control/client.h"
#include "policies/rules/policy_set.h"

// glibc 2.36 declares these without C linkage for C++.
extern "C" {
#include <sys/pidfd.h>
}

namespace sluice::cli {
namespace {

constexpr int kReadyLookMs = 20;
constexpr std::chrono::seconds kReadyWait{60};
constexpr int kStopWaitMs = 40'000;  // a drain takes up to 25 s
constexpr int kExitNotExecutable = 126;
constexpr int kExitNotFound = 127;
constexpr int kExitSignalBase = 128;

// What this process and the keeper say to each other, a byte at a time; end of file means that the other is gone.
constexpr char kStop = 's';     // to the keeper: end the daemon
constexpr char kStopped = 'x';  // from it: done, or it had ended by itself
constexpr char kEnded = 'd';    // from it: the daemon ended unasked

bool say(int channel, char word) {
  return ::send(channel, &word, 1, MSG_NOSIGNAL) == 1;
}

// The daemon's end by signal, then by force.
void end_daemon(pid_t daemon, int daemon_fd) {
  for (const int signal : {SIGTERM, SIGKILL}) {
    if (::pidfd_send_signal(daemon_fd, signal, nullptr, 0) != 0) break;
    pollfd ended = {daemon_fd, POLLIN, 0};
    if (::poll(&ended, 1, kStopWaitMs) > 0) break;
  }
  (void)::waitpid(daemon, nullptr, 0);
}

[[noreturn]] void be_daemon(TryScratch& scratch, const config::Config& config, const Environment& environment) {
  scratch.drop_lock();
  const int log = ::open(scratch.daemon_log().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (log < 0 || null < 0 || ::dup2(null, STDIN_FILENO) < 0 || ::dup2(log, STDOUT_FILENO) < 0 ||
      ::dup2(log, STDERR_FILENO) < 0) {
    ::_exit(1);
  }
  const int status = environment.run_daemon(config);
  ::fflush(nullptr);
  ::_exit(status);
}

[[noreturn]] void be_keeper(TryScratch& scratch, const config::Config& config, const Environment& environment,
                            UniqueFd channel) {
  ::setsid();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ::signal(signal, SIG_IGN);
  const pid_t daemon = ::fork();
  if (daemon == 0) {
    channel.reset();
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ::signal(signal, SIG_DFL);
    be_daemon(scratch, config, environment);
  }
  const UniqueFd daemon_fd(daemon > 0 ? ::pidfd_open(daemon, 0) : -1);
  bool alive = daemon_fd.valid() && scratch.note_daemon(daemon).has_value();
  if (!alive) (void)say(channel.get(), kEnded);
  for (bool asked = true; asked;) {
    pollfd polled[2] = {{channel.get(), POLLIN, 0}, {alive ? daemon_fd.get() : -1, POLLIN, 0}};
    if (::poll(polled, 2, -1) < 0 && errno != EINTR) break;
    if (polled[1].revents != 0) {
      alive = false;
      (void)::waitpid(daemon, nullptr, 0);
      (void)say(channel.get(), kEnded);
    }
    if (polled[0].revents == 0) continue;
    char word = 0;
    asked = ::recv(channel.get(), &word, 1, 0) == 1;
    if (alive) end_daemon(daemon, daemon_fd.get());
    alive = false;
    if (asked) (void)say(channel.get(), kStopped);
  }
  if (const Status removed = scratch.remove(); !removed) {
    complain("try: not everything could be removed: " + removed.error().message);
    ::_exit(1);
  }
  ::_exit(0);
}

// True once the daemon enforces. False where it ended, or did not come in time.
bool wait_until_ready(const TryScratch& scratch, int channel) {
  const control::ControlClient client(scratch.control_socket());
  const auto deadline = std::chrono::steady_clock::now() + kReadyWait;
  while (std::chrono::steady_clock::now() < deadline) {
    pollfd said = {channel, POLLIN, 0};
    if (::poll(&said, 1, kReadyLookMs) > 0) return false;
    if (const auto reply = client.call("GET", "/v1/status"); reply && reply->status == 200) return true;
  }
  return false;
}

void show_daemon_log(const TryScratch& scratch) {
  std::ifstream log(scratch.daemon_log());
  for (std::string line; std::getline(log, line);) complain(printable(line));
}

[[noreturn]] void be_command(const TryScratch& scratch, const std::vector<std::string>& command,
                             const sigset_t& signals_before) {
  const int procs = ::open((scratch.cgroup() + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
  // Not in the cgroup means not steered: COMMAND must not run then.
  if (procs < 0 || ::write(procs, "0", 1) != 1) {
    complain("try: enter the cgroup: " + std::error_code(errno, std::generic_category()).message());
    ::_exit(kUsage);
  }
  ::sigprocmask(SIG_SETMASK, &signals_before, nullptr);
  std::vector<std::string> words = command;
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  const int why = errno;
  complain(printable(command[0]) + ": " + std::error_code(why, std::generic_category()).message());
  ::_exit(why == ENOENT ? kExitNotFound : kExitNotExecutable);
}

// COMMAND's exit status as a shell gives it. Signals that were meant for it are passed on; those of the terminal reach
// it by themselves.
int wait_for_command(pid_t command, const sigset_t& signals) {
  for (;;) {
    int status = 0;
    if (::waitpid(command, &status, WNOHANG) == command) {
      if (WIFEXITED(status)) return WEXITSTATUS(status);
      if (WIFSIGNALED(status)) return kExitSignalBase + WTERMSIG(status);
    }
    siginfo_t info = {};
    const int received = ::sigwaitinfo(&signals, &info);
    if (received <= 0 || received == SIGCHLD) continue;
    const bool from_terminal = info.si_code > 0;
    if (!from_terminal) ::kill(command, received);
  }
}

// The configuration of the daemon that is tried: the targets and policies of the given one, everything else its own.
config::Config configuration_of(const config::Config& given, const TryScratch& scratch, const std::string& policies) {
  config::Config config = given;
  if (!policies.empty()) config.policies_directory = policies;
  config.state_directory = scratch.directory() + "/state";
  config.audit.directory = scratch.audit_directory();
  config.control_socket = scratch.control_socket();
  config.bpf_directory = scratch.bpf_directory();
  config.cgroup_path = scratch.cgroup();
  config.metrics.clear();
  return config;
}

bool policies_are_usable(const config::Config& config) {
  policies::Problems problems;
  const auto set = policies::load_policies(config.policies_directory, config::target_names(config), problems);
  if (!problems.empty()) std::fputs(config::format_text(problems).c_str(), stderr);
  return set != nullptr;
}

}  // namespace

int try_command(const Context& context, const TryOptions& options) {
  if (::geteuid() != 0) {
    complain("try needs root: it attaches eBPF programs to a cgroup of its own (sudo sluice try -- …)");
    return kUsage;
  }
  const std::optional<config::Config> given = context.configuration(Context::Warnings::show);
  if (!given) return kUsage;
  std::string policies = options.policies;
  if (!policies.empty() && policies[0] != '/') {
    std::error_code error;
    policies = std::filesystem::absolute(policies, error).lexically_normal();
  }
  Result<TryScratch> scratch = TryScratch::make();
  if (!scratch) {
    complain("try: " + scratch.error().message);
    return kUsage;
  }
  const config::Config config = configuration_of(*given, *scratch, policies);
  int channel[2];
  if (!policies_are_usable(config) || ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) != 0) {
    if (const Status removed = scratch->remove(); !removed) complain("try: " + removed.error().message);
    return kUsage;
  }
  UniqueFd ours(channel[0]), keepers(channel[1]);
  ::fflush(nullptr);  // or the children would print it again
  const pid_t keeper = ::fork();
  if (keeper == 0) {
    ours.reset();
    be_keeper(*scratch, config, context.environment(), std::move(keepers));
  }
  keepers.reset();
  scratch->drop_lock();  // the keeper has it: it lives as long as what it keeps
  if (keeper < 0) {
    complain("try: fork: " + std::error_code(errno, std::generic_category()).message());
    if (const Status removed = scratch->remove(); !removed) complain("try: " + removed.error().message);
    return kUsage;
  }
  const auto leave = [&](int status) {
    ours.reset();
    int kept = 0;
    (void)::waitpid(keeper, &kept, 0);
    return status;
  };
  if (!wait_until_ready(*scratch, ours.get())) {
    show_daemon_log(*scratch);
    complain("try: the daemon did not start; the command was not run");
    return leave(kUsage);
  }

  sigset_t signals, before;
  sigemptyset(&signals);
  for (const int signal : {SIGCHLD, SIGINT, SIGQUIT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  ::sigprocmask(SIG_BLOCK, &signals, &before);
  const pid_t command = ::fork();
  if (command == 0) be_command(*scratch, options.command, before);
  if (command < 0) return leave(kUsage);
  const int status = wait_for_command(command, signals);

  char word = 0;
  pollfd said = {ours.get(), POLLIN, 0};
  const bool stopped =
      say(ours.get(), kStop) && ::poll(&said, 1, 2 * kStopWaitMs) > 0 && ::recv(ours.get(), &word, 1, 0) == 1;
  if (!stopped || word == kEnded) {
    show_daemon_log(*scratch);
    complain("try: the daemon ended before the command did; connections were refused from then on");
  }
  print_try_summary(context, *scratch, *given);
  return leave(status);
}

}  // namespace sluice::cli
