// The helper: a second process of the same binary, forked before the daemon has threads and before it gives up root. It
// keeps the few capabilities that the daemon must not have, does nothing but answer a closed set of requests one after
// the other, and cannot outlive the daemon (the kernel kills it with its parent, and it ends when the channel closes).
//
// What it holds: its end of the channel, and what stood open at fork; no listener, no log, no lock, no map. Every
// request is checked by its handler as if an attacker had sent it. Where it is gone or does not answer in time, it is
// given up for good: call() fails from then on, on_broken is called once, and the daemon has to end (it cannot make
// another: root is gone). Threading: start() on the only thread; call() from any, one at a time. Limits:
// kPayloadBytesMax, kAnswerMs.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/privilege/capability_set.h"
#include "daemon/privilege/channel.h"

namespace sluice::privilege {

inline constexpr int kAnswerMs = 2'000;  // an answer takes microseconds; the file system behind it may be slow
inline constexpr int kEndMs = 1'000;     // for the helper to end with its channel

// Answers one request in the helper. The word of the answer is 0 or an errno.
using HelperHandler = std::function<Message(uint32_t request, std::string_view payload)>;

class Helper {
 public:
  // Returns in the daemon only; the child answers requests until the channel closes, then exits.
  [[nodiscard]] static Result<std::unique_ptr<Helper>> start(const HelperHandler& handler, CapabilitySet keep);
  ~Helper();  // closes the channel and waits for the child's end

  // Fails where there is no answer; an answer of an errno is a success here.
  [[nodiscard]] Result<Message> call(uint32_t request, std::string_view payload);

  // Called once, from the thread that notices. Set before the first other thread starts.
  void on_broken(std::function<void()> callback) { on_broken_ = std::move(callback); }
  [[nodiscard]] bool is_broken() const { return broken_.load(std::memory_order_acquire); }
  // Asks the system whether the child has ended; for whoever gets SIGCHLD.
  void look_after_child();
  // Why it is broken, as a sentence; empty where it is not.
  [[nodiscard]] std::string failure() const;
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  Helper(UniqueFd channel, pid_t pid) : channel_(std::move(channel)), pid_(pid) {}
  void give_up(const std::string& why);

  mutable std::mutex mutex_;  // guards the channel, and why_
  UniqueFd channel_;
  const pid_t pid_;
  std::atomic<bool> ended_{false};
  std::atomic<bool> broken_{false};
  std::string why_;
  std::function<void()> on_broken_;
};

}  // namespace sluice::privilege
