#include "daemon/io/timers.h"

#include <cassert>

namespace sluice::io {

Timer::~Timer() {
  cancel();
}

void Timer::cancel() {
  if (timers_ != nullptr) timers_->remove(*this);
}

void Timers::arm(Timer& timer, uint64_t deadline_ms) {
  assert(timer.timers_ == nullptr || timer.timers_ == this);
  if (timer.timers_ == this) remove(timer);
  timer.timers_ = this;
  timer.deadline_ms_ = deadline_ms;
  heap_.push_back(&timer);
  timer.position_ = heap_.size() - 1;
  sift_up(timer.position_);
}

std::optional<uint64_t> Timers::next_deadline_ms() const {
  if (heap_.empty()) return std::nullopt;
  return heap_.front()->deadline_ms_;
}

void Timers::fire(uint64_t now_ms) {
  // Only what is armed now: what a handler arms again waits for the next call, so that one of them cannot keep the
  // worker here.
  size_t budget = heap_.size();
  while (budget-- > 0 && !heap_.empty() && heap_.front()->deadline_ms_ <= now_ms) {
    Timer* timer = heap_.front();
    remove(*timer);
    timer->on_timer(now_ms);
  }
}

void Timers::remove(Timer& timer) {
  assert(timer.timers_ == this && heap_[timer.position_] == &timer);
  const size_t position = timer.position_;
  timer.timers_ = nullptr;
  Timer* last = heap_.back();
  heap_.pop_back();
  if (last == &timer) return;
  place(position, last);
  sift_up(position);
  sift_down(last->position_);
}

void Timers::place(size_t position, Timer* timer) {
  heap_[position] = timer;
  timer->position_ = position;
}

void Timers::sift_up(size_t position) {
  Timer* timer = heap_[position];
  while (position > 0) {
    const size_t parent = (position - 1) / 2;
    if (heap_[parent]->deadline_ms_ <= timer->deadline_ms_) break;
    place(position, heap_[parent]);
    position = parent;
  }
  place(position, timer);
}

void Timers::sift_down(size_t position) {
  Timer* timer = heap_[position];
  for (;;) {
    size_t child = 2 * position + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1]->deadline_ms_ < heap_[child]->deadline_ms_) ++child;
    if (timer->deadline_ms_ <= heap_[child]->deadline_ms_) break;
    place(position, heap_[child]);
    position = child;
  }
  place(position, timer);
}

}  // namespace sluice::io
