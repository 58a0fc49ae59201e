// The policy set in force. A reload swaps it; every session sees that at its next command, at the price of one atomic
// load. Threading: replace() from the control thread, the rest from anywhere.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "policies/rules/policy_set.h"

namespace sluice::session {

class PolicySource {
 public:
  explicit PolicySource(std::shared_ptr<const policies::PolicySet> set) : set_(std::move(set)) {}

  // Changes with every replace().
  [[nodiscard]] uint64_t generation() const { return generation_.load(std::memory_order_acquire); }

  [[nodiscard]] std::shared_ptr<const policies::PolicySet> current() const {
    const std::lock_guard lock(mutex_);
    return set_;
  }
  void replace(std::shared_ptr<const policies::PolicySet> set) {
    const std::lock_guard lock(mutex_);
    set_ = std::move(set);
    generation_.fetch_add(1, std::memory_order_release);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const policies::PolicySet> set_;
  std::atomic<uint64_t> generation_{1};
};

}  // namespace sluice::session
