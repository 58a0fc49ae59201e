#include "daemon/privilege/helper.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <utility>

#include "daemon/privilege/identity_change.h"
#include "daemon/privilege/syscall_filter.h"

namespace sluice::privilege {
namespace {

constexpr long kLookNs = 5'000'000;

// In the child, before the first request: whatever fails here ends it, and the daemon sees the channel close.
Status confine(pid_t parent, CapabilitySet keep) {
  if (prctl(PR_SET_NAME, "sluice-helper", 0, 0, 0) != 0) return fail_errno("name the helper", errno);
  // Its user stays: pins belong to root. become() also says no_new_privs and no core dumps.
  if (Status confined = become({"root", geteuid(), getegid()}, keep); !confined) return confined;
  // After the change of capabilities, which would undo it.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return fail_errno("die with the daemon", errno);
  if (getppid() != parent) return fail("the daemon is gone already");
  return filter_system_calls(FilteredProcess::helper);
}

[[noreturn]] void serve(const UniqueFd& channel, const HelperHandler& handler, pid_t parent, CapabilitySet keep) {
  if (Status confined = confine(parent, keep); !confined) {
    std::fprintf(stderr, "helper: %s\n", confined.error().message.c_str());
    _exit(1);
  }
  if (!send_message(channel.get(), 0, {}, -1)) _exit(1);  // confined and ready
  for (;;) {
    const auto request = receive_message(channel.get(), -1);
    if (!request) _exit(0);  // the daemon is gone, or speaks nonsense: it is not answered again
    const Message answer = handler(request->word, request->payload);
    if (!send_message(channel.get(), answer.word, answer.payload, answer.fd.get())) _exit(0);
  }
}

}  // namespace

Result<std::unique_ptr<Helper>> Helper::start(const HelperHandler& handler, CapabilitySet keep) {
  auto channel = make_channel();
  if (!channel) return within("helper", channel.error());
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) return fail_errno("helper: fork", errno);
  if (child == 0) {
    channel->first.reset();
    serve(channel->second, handler, parent, keep);
  }
  channel->second.reset();
  std::unique_ptr<Helper> helper(new Helper(std::move(channel->first), child));
  if (const auto ready = receive_message(helper->channel_.get(), kAnswerMs); !ready)
    return within("helper", ready.error());
  return helper;
}

Helper::~Helper() {
  {
    const std::lock_guard lock(mutex_);
    channel_.reset();
  }
  // A helper that hangs in a system call is left to the kernel, which kills it with us.
  for (int waited_ms = 0; !ended_.load(std::memory_order_relaxed) && waited_ms < kEndMs;
       waited_ms += static_cast<int>(kLookNs / 1'000'000)) {
    const pid_t ended = waitpid(pid_, nullptr, WNOHANG);
    if (ended == pid_ || (ended < 0 && errno == ECHILD)) return;
    const timespec pause{0, kLookNs};
    nanosleep(&pause, nullptr);
  }
}

Result<Message> Helper::call(uint32_t request, std::string_view payload) {
  std::string why;
  {
    const std::lock_guard lock(mutex_);
    if (is_broken() || !channel_.valid()) return fail("the privileged helper is gone");
    const Status sent = send_message(channel_.get(), request, payload, -1);
    Result<Message> answer = sent ? receive_message(channel_.get(), kAnswerMs) : tl::unexpected(sent.error());
    if (answer) return answer;
    why = answer.error().message;
  }
  give_up(why);
  return fail("the privileged helper: " + why);
}

// An answer that comes too late would be taken for that of the next request: there is none.
void Helper::give_up(const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    if (broken_.exchange(true, std::memory_order_acq_rel)) return;
    why_ = why;
    channel_.reset();
  }
  if (on_broken_) on_broken_();
}

void Helper::look_after_child() {
  int status = 0;
  if (ended_.load(std::memory_order_relaxed) || waitpid(pid_, &status, WNOHANG) != pid_) return;
  ended_.store(true, std::memory_order_relaxed);
  give_up(WIFSIGNALED(status) ? "it was ended by signal " + std::to_string(WTERMSIG(status))
                              : "it ended with status " + std::to_string(WEXITSTATUS(status)));
}

std::string Helper::failure() const {
  const std::lock_guard lock(mutex_);
  return why_;
}

}  // namespace sluice::privilege
