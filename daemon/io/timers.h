// Deadlines of many owners on one worker: a binary heap with the position kept in the timer, so that arming again or
// cancelling costs O(log n) and never allocates once the heap has grown. Owners re-arm lazily: activity only moves a
// time stamp, and the owner looks at it when the timer fires; so the data path does not come here at all. Lifetime: a
// Timer cancels itself when it goes; Timers outlives every Timer armed on it. One worker only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace sluice::io {

class Timers;

class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  virtual ~Timer();

  [[nodiscard]] bool armed() const { return timers_ != nullptr; }
  [[nodiscard]] uint64_t deadline_ms() const { return deadline_ms_; }
  void cancel();

 protected:
  // The deadline has passed; the timer is no longer armed and may be armed again from here.
  virtual void on_timer(uint64_t now_ms) = 0;

 private:
  friend class Timers;
  Timers* timers_ = nullptr;
  size_t position_ = 0;
  uint64_t deadline_ms_ = 0;
};

class Timers {
 public:
  // Arms, or moves the deadline of one that is armed here.
  void arm(Timer& timer, uint64_t deadline_ms);
  [[nodiscard]] std::optional<uint64_t> next_deadline_ms() const;
  // Fires everything due. A timer that arms itself again with a deadline that has passed fires with the next call.
  void fire(uint64_t now_ms);
  [[nodiscard]] size_t armed() const { return heap_.size(); }

 private:
  friend class Timer;
  void remove(Timer& timer);
  void place(size_t position, Timer* timer);
  void sift_up(size_t position);
  void sift_down(size_t position);

  std::vector<Timer*> heap_;
};

}  // namespace sluice::io
