// What sessions ask about the names of a target's columns. A target with `catalog:` in its configuration has one; it is
// read by a connection of Sluice's own (reader.h) and read again when something may have changed it.
//
// Freshness: begin_change() and end_change() stand around every change that a session sees (ALTER, DROP …). Until a
// reading that began after the last of them has ended, current() is not fresh: names in a text may mean something else.
// Relation and attribute numbers are never used for anything else, so that a result's columns stay known by them.
// Threading: any. Lifetime: outlives all who ask.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "daemon/catalog/snapshot.h"

namespace sluice::catalog {

struct Knowledge {
  std::shared_ptr<const Snapshot> snapshot;  // null: the catalog cannot be read (now)
  bool fresh = false;
  uint64_t epoch = 0;  // changes with either
};

class Catalog {
 public:
  // --- sessions
  [[nodiscard]] Knowledge current() const {
    const std::lock_guard lock(mutex_);
    return {snapshot_, fresh(), epoch_.load(std::memory_order_relaxed)};
  }
  // Cheap: has anything changed since?
  [[nodiscard]] uint64_t epoch() const { return epoch_.load(std::memory_order_acquire); }
  // A reading is under way, or asked for, whose result a command may wait for.
  [[nodiscard]] bool reading() const {
    const std::lock_guard lock(mutex_);
    return wanted_ != done_ && changing_ == 0 && (snapshot_ != nullptr || done_ == 0);
  }
  // A command that may change names is on its way; then what became of it. Nothing is fresh in between.
  void begin_change() {
    const std::lock_guard lock(mutex_);
    ++changing_;
    epoch_.fetch_add(1, std::memory_order_acq_rel);
  }
  enum class Changed : uint8_t { no, yes };  // yes: it may be committed
  void end_change(Changed changed) {
    const std::lock_guard lock(mutex_);
    --changing_;
    if (changed == Changed::yes) ++wanted_;
    epoch_.fetch_add(1, std::memory_order_acq_rel);
    wake_.notify_all();
  }
  // Something was not found: read again, once for all who ask meanwhile. What is known stays fresh.
  void note_miss() {
    const std::lock_guard lock(mutex_);
    missed_ = true;
    wake_.notify_all();
  }

  // --- the reader
  struct Request {
    uint64_t wanted = 0;
    bool stopping = false;
  };
  // Waits until somebody wants a reading, or `wait_ms` have passed.
  [[nodiscard]] Request wait(uint64_t wait_ms);
  // What the reading for `request` found; null: it failed, or there will be none any more.
  void answer(const Request& request, std::shared_ptr<const Snapshot> snapshot);
  // It found what is known already.
  void confirm(const Request& request);
  void stop();

 private:
  void settle(const Request& request);
  [[nodiscard]] bool fresh() const { return done_ == wanted_ && changing_ == 0; }

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::shared_ptr<const Snapshot> snapshot_;
  uint64_t wanted_ = 1;
  uint64_t done_ = 0;
  uint64_t changing_ = 0;  // sessions
  bool missed_ = false;
  bool stopping_ = false;
  std::atomic<uint64_t> epoch_{1};
};

}  // namespace sluice::catalog
