// The short-circuit of local hops (bpf/accelerate.bpf.c): payload goes from socket to socket past the loopback stack,
// where this kernel does it right and where it pays.
//
// load() makes the programs ready; try_out() runs the self-test on socket pairs of its own and decides what `auto` and
// `on` come to; attach order and life of the maps are such that nothing has to be pinned: sockets that were joined hold
// the programs, and those hold the maps, so bytes that were handed over outlive this process. Sockets join by
// themselves, in the kernel, as their connection is made: there is no call per session, and after load() no capability
// is needed (tested). What is called later are look-ups in maps that are open already, which need none on kernels
// from 5.19 on (before, kernel.unprivileged_bpf_disabled=0 or CAP_BPF). Destruction detaches: connections that come
// afterwards go by TCP, those that are short-circuited stay so. Threading: look-ups from any thread, the rest from the
// control thread. Limit: SLUICE_ENDS_MAX ends at once; more go by TCP.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bpf/abi.h"
#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/interception/acceleration.h"
#include "daemon/interception/peer_queue.h"

struct accelerate_bpf;  // the generated skeleton

namespace sluice::interception {

class Programs;

class Accelerator {
 public:
  // Loads and attaches to the cgroup of `steering`, whose maps it shares. Connections join from now on where their
  // endpoint says so; until then none does. `steering` may be destroyed first.
  [[nodiscard]] static Result<std::unique_ptr<Accelerator>> load(const Programs& steering);
  ~Accelerator();
  Accelerator(const Accelerator&) = delete;
  Accelerator& operator=(const Accelerator&) = delete;

  // Whether any direction of the connection that `fd` belongs to is short-circuited right now.
  [[nodiscard]] bool short_circuited(int fd) const;
  // The end that `fd` is, in its own or in its peer's view; empty where it did not join.
  [[nodiscard]] std::optional<sluice_end> own_end(int fd) const;
  [[nodiscard]] std::optional<sluice_end> other_end(int fd) const;
  // A number in our memory that changes when this socket of ours needs care. Either bytes for it went back to TCP:
  // until it is found empty, a short read does not mean that nothing more is there. Or the reader of what it writes
  // lags: see reader_lags(). Lives as long as the Accelerator.
  [[nodiscard]] const uint64_t* notices_of(int fd) const;
  // Whether a write on this socket of ours should wait, because its reader has not taken what was handed to it, and
  // would be handed this too. No event tells when it has. `seen`: the notices that this caller knows; from notices_of()
  // at first.
  [[nodiscard]] bool reader_lags(int fd, uint64_t& seen) const;
  // Sums over all CPUs since load().
  [[nodiscard]] sluice_short_circuits totals() const;

  // --- for the self-test ---
  // Says that a socket which is about to connect here is one of the self-test's, and stands for a socket of the daemon.
  [[nodiscard]] Status exempt_trial(int fd, uint8_t into) const;
  void forget_trial(int fd) const;
  // Replaces what is known of the end that `fd` is.
  [[nodiscard]] Status put_own_end(int fd, const sluice_end& end) const;

 private:
  Accelerator() = default;
  Status open_and_attach(const Programs& steering);

  accelerate_bpf* skeleton_ = nullptr;
  UniqueFd link_;
  UniqueFd exempt_;
  uint64_t* notices_ = nullptr;  // SLUICE_NOTICE_SLOTS, mapped
  PeerQueue peer_queue_;
};

// Runs the self-test in the calling thread, in a fraction of a second, and decides. `accelerator` is empty where load()
// failed, and `why_not` says why.
[[nodiscard]] AccelerationReport try_acceleration(const Accelerator* accelerator, const std::string& why_not);

}  // namespace sluice::interception
