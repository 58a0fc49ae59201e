// Takes the connections that steering leads here: note, identity, and on to the worker with the fewest sessions. One
// thread. A connection without a note is reset: nobody was steered here; it is counted, and events say so, one a second
// at most, so that a flood fills no log. Where descriptors run out, the connection is refused with a reset (a
// descriptor in reserve makes that possible), counted, and the listener rests for a moment; it never spins. The daemon
// keeps descriptors for itself (kDescriptorsReserved): the log's next segment must not fail for want of one. Lifetime:
// start() to stop(); everything passed in outlives it. Limits: kAcceptsPerTurn, kRestMs, sessions_max().
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/thread.h"
#include "daemon/identity/resolver.h"
#include "daemon/interception/steering.h"
#include "daemon/io/event_loop.h"
#include "daemon/io/mailbox.h"
#include "daemon/recorder.h"
#include "daemon/session/worker.h"
#include "daemon/target_table.h"

namespace sluice {

struct AcceptorCounters {
  std::atomic<uint64_t> accepted{0};      // became sessions
  std::atomic<uint64_t> without_note{0};  // reset: nobody was steered here
  std::atomic<uint64_t> refused{0};       // no descriptor, no room, no such target any more
};

class Acceptor {
 public:
  static constexpr int kAcceptsPerTurn = 64;
  static constexpr int kRestMs = 20;
  static constexpr size_t kDescriptorsReserved = 256;
  static constexpr size_t kDescriptorsPerSession = 2;

  Acceptor(interception::Steering& steering, const TargetTable& targets, identity::Resolver& resolver,
           Recorder& recorder, std::vector<session::Worker*> workers);
  ~Acceptor();

  [[nodiscard]] Status start(const std::vector<int>& listeners);
  // Takes what is still in the listeners' queues, then ends.
  void stop();

  // As many sessions as the descriptor limit of this process allows.
  [[nodiscard]] size_t sessions_max() const { return sessions_max_; }
  [[nodiscard]] const AcceptorCounters& counters() const { return counters_; }
  [[nodiscard]] uint64_t turns() const { return turns_.load(std::memory_order_relaxed); }
  void nudge() {
    [[maybe_unused]] const bool posted = mailbox_ != nullptr && mailbox_->post([] {});
  }

 private:
  struct Listener final : io::FdHandler {
    Acceptor* acceptor = nullptr;
    int fd = -1;
    void on_ready(uint32_t) override { acceptor->accept_some(fd); }
  };

  void run();
  void accept_some(int listener);
  void take(UniqueFd client, const sockaddr_storage& peer);
  void hand_over(const std::shared_ptr<session::Arrival>& arrival);
  void out_of_descriptors(int listener, int error_number);
  void refuse(UniqueFd client, std::string_view why);
  void report_refusals();
  void report_without_note();

  interception::Steering& steering_;
  const TargetTable& targets_;
  identity::Resolver& resolver_;
  Recorder& recorder_;
  const std::vector<session::Worker*> workers_;
  std::unique_ptr<io::EventLoop> loop_;
  std::unique_ptr<io::Mailbox> mailbox_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  UniqueFd reserve_;
  const size_t sessions_max_;
  uint64_t resting_until_ms_ = 0;
  uint64_t reported_ms_ = 0;
  uint64_t unreported_ = 0;
  std::string refusal_reason_;
  uint64_t stray_reported_ms_ = 0;
  uint64_t stray_unreported_ = 0;  // connections without a note since the last event about them
  std::string stray_origin_;       // of the last one
  bool resting_ = false;
  bool stopping_ = false;
  AcceptorCounters counters_;
  std::atomic<uint64_t> turns_{0};
  Thread thread_;
};

// "10.0.0.7:51234" or "[::1]:5555".
[[nodiscard]] std::string address_text(const sockaddr_storage& address);

}  // namespace sluice
