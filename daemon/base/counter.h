// Numbers that one thread writes and any thread reads: what the metrics are made of. Writing is a load, an add and a
// store, without a locked instruction, because there is only one writer; reading is relaxed, so a reader sees each
// number as it was a moment ago, and two numbers not necessarily of the same moment. Lifetime: part of what they count.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace sluice {

// Only rises.
class Counter {
 public:
  // The one writing thread.
  void add(uint64_t amount = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  // Any thread.
  [[nodiscard]] uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// Rises and falls.
class Level {
 public:
  void set(uint64_t value) { value_.store(value, std::memory_order_relaxed); }
  [[nodiscard]] uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// Upper borders of the buckets of every duration (ns); what is longer counts in the last bucket, which has none. From
// the 10 µs of a cached step to the seconds of a disk that does not answer.
inline constexpr std::array<uint64_t, 13> kDurationBordersNs = {
    10'000,     30'000,      100'000,     300'000,       1'000'000,     3'000'000,      10'000'000,
    30'000'000, 100'000'000, 300'000'000, 1'000'000'000, 3'000'000'000, 10'000'000'000,
};

// How often something took how long, as a copy that stands still.
struct DurationCounts {
  std::array<uint64_t, kDurationBordersNs.size() + 1> buckets{};  // not cumulative; the last one is beyond all borders
  uint64_t sum_ns = 0;

  void add(uint64_t ns) {
    size_t bucket = 0;
    while (bucket < kDurationBordersNs.size() && ns > kDurationBordersNs[bucket]) ++bucket;
    ++buckets[bucket];
    sum_ns += ns;
  }
  DurationCounts& operator+=(const DurationCounts& other) {
    for (size_t i = 0; i < buckets.size(); ++i) buckets[i] += other.buckets[i];
    sum_ns += other.sum_ns;
    return *this;
  }
};

// The same, written by one thread and read by any.
class DurationHistogram {
 public:
  void add(uint64_t ns) {
    size_t bucket = 0;
    while (bucket < kDurationBordersNs.size() && ns > kDurationBordersNs[bucket]) ++bucket;
    buckets_[bucket].add();
    sum_ns_.add(ns);
  }
  [[nodiscard]] DurationCounts get() const {
    DurationCounts counts;
    for (size_t i = 0; i < buckets_.size(); ++i) counts.buckets[i] = buckets_[i].get();
    counts.sum_ns = sum_ns_.get();
    return counts;
  }

 private:
  std::array<Counter, kDurationBordersNs.size() + 1> buckets_;
  Counter sum_ns_;
};

}  // namespace sluice
