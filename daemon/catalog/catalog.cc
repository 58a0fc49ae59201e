#include "daemon/catalog/catalog.h"

#include <algorithm>
#include <chrono>

namespace sluice::catalog {
namespace {

// Relations that are not known (temporary tables, say) do not have the catalog read more often than this.
constexpr uint64_t kMissSpacingMs = 250;

}  // namespace

Catalog::Request Catalog::wait(uint64_t wait_ms) {
  using std::chrono::milliseconds;
  using Clock = std::chrono::steady_clock;
  std::unique_lock lock(mutex_);
  const auto end = Clock::now() + milliseconds(wait_ms);
  const auto miss_served = std::min(end, Clock::now() + milliseconds(kMissSpacingMs));
  // After a failure nobody's wish makes it faster: the caller's pause holds.
  const bool failed = snapshot_ == nullptr && done_ != 0;
  const auto due = [&] { return stopping_ || (!failed && wanted_ != done_); };
  if (!wake_.wait_until(lock, miss_served, due))
    wake_.wait_until(lock, end, [&] { return due() || (!failed && missed_); });
  missed_ = false;
  return {wanted_, stopping_};
}

void Catalog::confirm(const Request& request) {
  const std::lock_guard lock(mutex_);
  settle(request);
}

void Catalog::answer(const Request& request, std::shared_ptr<const Snapshot> snapshot) {
  const std::lock_guard lock(mutex_);
  const bool same = snapshot == nullptr && snapshot_ == nullptr;
  snapshot_ = std::move(snapshot);
  if (!same) epoch_.fetch_add(1, std::memory_order_acq_rel);
  settle(request);
}

void Catalog::settle(const Request& request) {
  const bool was_fresh = fresh();
  done_ = request.stopping ? wanted_ : request.wanted;
  if (was_fresh != fresh()) epoch_.fetch_add(1, std::memory_order_acq_rel);
}

void Catalog::stop() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  wake_.notify_all();
}

}  // namespace sluice::catalog
