#include "daemon/scan/ordered_report.h"

#include <utility>

#include "daemon/scan/limits.h"

namespace sluice::scan {

std::unique_ptr<Slip> OrderedReport::open() {
  std::unique_lock lock(mutex_);
  turn_.wait(lock, [&] { return failed_ || opened_ - head_ < kFilesAheadMax; });
  if (failed_) return nullptr;
  auto slip = std::make_unique<Slip>();
  slip->number = opened_++;
  return slip;
}

// REQUIRES: the lock.
void OrderedReport::write(Slip& slip) {
  if (!failed_ && !(slip.out.empty() && slip.err.empty()) && !sink_(slip.out, slip.err)) failed_ = true;
  slip.out.clear();
  slip.err.clear();
}

void OrderedReport::added(Slip& slip) {
  if (slip.out.size() + slip.err.size() < kReportAheadBytesMax) return;
  std::unique_lock lock(mutex_);
  turn_.wait(lock, [&] { return failed_ || head_ == slip.number; });
  write(slip);
  if (failed_) turn_.notify_all();  // nobody's turn comes any more
}

void OrderedReport::finish(std::unique_ptr<Slip> slip) {
  {
    const std::lock_guard lock(mutex_);
    finished_.emplace(slip->number, std::move(slip));
    while (!finished_.empty() && finished_.begin()->first == head_) {
      write(*finished_.begin()->second);
      finished_.erase(finished_.begin());
      ++head_;
    }
  }
  turn_.notify_all();
}

bool OrderedReport::failed() const {
  const std::lock_guard lock(mutex_);
  return failed_;
}

}  // namespace sluice::scan
